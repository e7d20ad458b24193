exports.handler = async (event, context) => ({ statusCode: 200, headers: { 'content-type': 'text/plain' }, body: `${event.rawPath} ${context.awsRequestId} ${event.body ?? ''}` });
