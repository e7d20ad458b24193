"""
Accepts a webhook only when its X-Hub-Signature-256 header is the HMAC-SHA256 of the body under WEBHOOK_SECRET (set it in function.json).

  curl -d '{"action":"opened"}' -H 'X-Hub-Signature-256: sha256=d6533b662bae23f6a8a30542c010af079b0ac48872ba2acea401b3dd311cc031' http://127.0.0.1:8080/function/verify-webhook
  for another body or secret: printf %s "$body" | openssl dgst -sha256 -hmac "$secret"
"""
import base64
import hashlib
import hmac
import json
import os


def handler(event, context):
  body = base64.b64decode(event['body']) if event['isBase64Encoded'] else event.get('body', '').encode()
  expected = 'sha256=' + hmac.new(os.environ['WEBHOOK_SECRET'].encode(), body, hashlib.sha256).hexdigest()
  sent = event['headers'].get('x-hub-signature-256', '')
  if not hmac.compare_digest(expected.encode(), sent.encode()):
    return {'statusCode': 401, 'headers': {'content-type': 'application/json'}, 'body': json.dumps({'accepted': False})}
  print(f'accepted {len(body)} bytes in {context.aws_request_id}')
  return {'accepted': True, 'bytes': len(body)}
