/** Answers any request with a greeting: the smallest function there is. */
type Event = { rawPath: string; queryStringParameters?: Record<string, string> };
type Context = { awsRequestId: string };

export const handler = async (event: Event, context: Context) => {
  const name = event.queryStringParameters?.name ?? 'world';
  return { message: `Hello, ${name}!`, path: event.rawPath, requestId: context.awsRequestId };
};
