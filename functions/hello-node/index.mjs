/** Answers any request with a greeting: the smallest function there is. */
export const handler = async (event, context) => {
  const name = event.queryStringParameters?.name ?? 'world';
  return { message: `Hello, ${name}!`, path: event.rawPath, requestId: context.awsRequestId };
};
