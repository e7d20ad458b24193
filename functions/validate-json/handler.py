"""
Validates and stores JSON: POST a document, and it is checked against schema.json beside this file (the part of JSON Schema below) and kept, or told what is wrong, and where. GET /ID has it back.

  curl -H 'content-type: application/json' -d '{"name":"Ada","age":36}' http://127.0.0.1:8080/function/validate-json
  curl http://127.0.0.1:8080/function/validate-json/ID

Kept in /tmp, that is: as long as this one instance lives. function.json lets there be one only, so that all requests meet the same /tmp, and keeps it warm for an hour after the last of them;
but it ends earlier with a new deployment, an error, or when its memory is needed for others. What has to stay belongs into a database.
"""
import base64
import errno
import json
import os
import re
import tempfile
import uuid

with open('schema.json', encoding='utf-8') as file:
  SCHEMA = json.load(file)

RECORDS = os.path.join(tempfile.gettempdir(), 'records')
TYPES = {'object': dict, 'array': list, 'string': str, 'integer': int, 'number': (int, float), 'boolean': bool}


def check(value, schema, path='$'):
  wanted = schema.get('type')
  if wanted and (not isinstance(value, TYPES[wanted]) or (isinstance(value, bool) and wanted != 'boolean')):
    return [f'{path} is not of type {wanted}']
  problems = []
  if 'enum' in schema and value not in schema['enum']:
    problems.append(f'{path} is none of {", ".join(map(str, schema["enum"]))}')
  if 'minimum' in schema and value < schema['minimum']:
    problems.append(f'{path} is less than {schema["minimum"]}')
  if isinstance(value, dict):
    properties = schema.get('properties', {})
    problems += [f'{path}.{name} is missing' for name in schema.get('required', []) if name not in value]
    if schema.get('additionalProperties') is False:
      problems += [f'{path}.{name} is unknown' for name in value if name not in properties]
    for name, inner in properties.items():
      if name in value:
        problems += check(value[name], inner, f'{path}.{name}')
  if isinstance(value, list) and 'items' in schema:
    for index, item in enumerate(value):
      problems += check(item, schema['items'], f'{path}[{index}]')
  return problems


def answer(status, content):
  return {'statusCode': status, 'headers': {'content-type': 'application/json'}, 'body': json.dumps(content)}


def store(document):
  """Whole or not at all: a record has its name when it is complete."""
  record = {'id': uuid.uuid4().hex, 'document': document}
  path = os.path.join(RECORDS, record['id'])
  os.makedirs(RECORDS, exist_ok=True)
  try:
    with open(path + '.new', 'w', encoding='utf-8') as file:
      json.dump(record, file)
    os.rename(path + '.new', path)
  except OSError as error:
    if os.path.exists(path + '.new'):
      os.unlink(path + '.new')
    if error.errno != errno.ENOSPC:
      raise
    return None
  return record


def stored(path):
  if not re.fullmatch('/[0-9a-f]{32}', path) or not os.path.exists(RECORDS + path):
    return None
  with open(RECORDS + path, encoding='utf-8') as file:
    return json.load(file)


def handler(event, context):
  if event['requestContext']['http']['method'] == 'GET':
    record = stored(event['rawPath'])
    return answer(200, record) if record else answer(404, {'error': 'there is no such record (any more)'})
  body = event.get('body', '')
  if event['isBase64Encoded']:
    body = base64.b64decode(body)
  try:
    document = json.loads(body)
  except ValueError as error:
    return answer(400, {'valid': False, 'problems': [f'not JSON: {error}']})
  problems = check(document, SCHEMA)
  if problems:
    return answer(422, {'valid': False, 'problems': problems})
  record = store(document)
  return answer(201, {'valid': True, **record}) if record else answer(507, {'valid': True, 'error': '/tmp is full'})
