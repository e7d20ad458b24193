export const handler = async (event, context) => ({ message: `Hello, ${event.queryStringParameters?.name ?? 'world'}!`, path: event.rawPath, id: context.awsRequestId });
