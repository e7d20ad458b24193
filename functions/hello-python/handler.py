"""Answers any request with a greeting: the smallest function there is."""


def handler(event, context):
  name = (event.get('queryStringParameters') or {}).get('name', 'world')
  return {'message': f'Hello, {name}!', 'path': event['rawPath'], 'requestId': context.aws_request_id}
