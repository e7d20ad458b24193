# Answers any request with a greeting: the smallest function there is.
def handler(event:, context:)
  name = event.dig('queryStringParameters', 'name') || 'world'
  { message: "Hello, #{name}!", path: event['rawPath'], requestId: context.aws_request_id }
end
