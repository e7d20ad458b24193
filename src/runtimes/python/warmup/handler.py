"""The function a template runs while it boots: what most handlers do, so that this has been done before."""
import json
import os


def handler(event, context):
  print(end='')
  if 'body' in event:
    return {'statusCode': 200, 'headers': {'content-type': 'text/plain'}, 'cookies': ['a=b'], 'body': json.dumps({'left': context.get_remaining_time_in_millis()})}
  return {'path': event['rawPath'], 'home': os.environ.get('HOME')}
