"""
Checks the JSON document in the request's body against schema.json beside this file (the part of JSON Schema below) and says what is wrong, and where.

  curl -d '{"name":"Ada","age":"36"}' http://localhost:8080/function/validate-json
"""
import base64
import json

with open('schema.json', encoding='utf-8') as file:
  SCHEMA = json.load(file)

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


def handler(event, context):
  body = event.get('body', '')
  if event['isBase64Encoded']:
    body = base64.b64decode(body)
  try:
    document = json.loads(body)
  except ValueError as error:
    return answer(400, {'valid': False, 'problems': [f'not JSON: {error}']})
  problems = check(document, SCHEMA)
  return answer(422 if problems else 200, {'valid': not problems, 'problems': problems})
