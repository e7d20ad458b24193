"""
How events, responses and errors look to a Python function: Lambda's function URLs, payload 2.0. Pure: no descriptors, no state.

What a handler returns     what the client gets
  dict with statusCode     that status, headers (a list repeats the header), cookies as set-cookie, body: str, or base64 with isBase64Encoded, or JSON
  anything else            200, content-type application/json, its JSON text: a str comes with its quotes, None is null
Without a content-type it is application/json. NaN, bytes and other things without a JSON form are the function's error.
"""
import base64, binascii, decimal, json, re, time, traceback

META_MAX, BODY_MAX = 1 << 20, 64 << 20
JSON_TYPE = 'content-type\0application/json\0'
HEADERS = re.compile("(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+\0[^\0-\x08\x0a-\x1f\x7f]*\0)*")


class Context:
  """A handler's second argument, with Lambda's names. `common` is what is the same for every invocation of the instance."""
  identity = client_context = None

  def __init__(self, common, request_id, left_ms):
    self.function_name, self.function_version, self.memory_limit_in_mb, self.invoked_function_arn, self.log_group_name, self.log_stream_name = common
    self.aws_request_id = request_id
    self.deadline = time.monotonic() + left_ms / 1000

  def get_remaining_time_in_millis(self):
    return max(0, int((self.deadline - time.monotonic()) * 1000))


def common(config):
  name, version = config['function'], config['version']
  return name, version, str(int(config['memory_bytes']) >> 20), f'arn:flashd:lambda:local:000000000000:function:{name}', name, version


def plain(value):
  if isinstance(value, decimal.Decimal):
    return float(value)
  raise TypeError(f'an object of type {type(value).__qualname__} has no JSON form')


# The C halves of json.loads and json.dumps, without the layers above them: these touch a third of the pages.
scan = json.JSONDecoder().scan_once
chunks = json.encoder.c_make_encoder(None, plain, json.encoder.encode_basestring, None, ': ', ', ', False, False, False)


def dumps(value):
  return ''.join(chunks(value, 0))


def decode(meta, body, binary):
  event = scan(meta.decode(), 0)[0]
  event['isBase64Encoded'] = binary
  if body:
    event['body'] = (binascii.b2a_base64(body, newline=False) if binary else body).decode(errors='replace')
  return event


def encode(result):
  """Status, meta and body of a RESPONSE frame. Raises when the result breaks the rules."""
  if not isinstance(result, dict) or 'statusCode' not in result:
    status, meta, body = 200, JSON_TYPE, dumps(result).encode()
  else:
    status, meta, body = int(result['statusCode']), encode_headers(result), result.get('body')
    if not 200 <= status <= 599:
      raise ValueError(f'statusCode {status} is not between 200 and 599')
    if body is None:
      body = b''
    elif result.get('isBase64Encoded'):
      body = base64.b64decode(body, validate=True)
    else:
      body = (body if isinstance(body, str) else dumps(body)).encode()
  meta = meta.encode()
  if len(meta) > META_MAX or len(body) > BODY_MAX:
    raise ValueError(f'the response is too large: {len(meta)} bytes of headers, {len(body)} of body')
  return status, meta, body


def encode_headers(result):
  meta, typed = '', False
  for name, value in (result.get('headers') or {}).items():
    typed = typed or name.lower() == 'content-type'
    for one in value if isinstance(value, (list, tuple)) else (value,):
      meta += f'{name}\0{one if isinstance(one, str) else dumps(one)}\0'
  for cookie in result.get('cookies') or ():
    meta += f'set-cookie\0{cookie}\0'
  meta = meta if typed else meta + JSON_TYPE
  if not HEADERS.fullmatch(meta):
    raise ValueError('a header or a cookie has characters that HTTP does not allow')
  return meta


def describe(error, own_files):
  """ERROR meta: type, message, and the stack from the first frame of the function's own code on."""
  trace = error.__traceback__
  while trace and trace.tb_frame.f_code.co_filename in own_files:
    trace = trace.tb_next
  try:
    parts = type(error).__qualname__, str(error), ''.join(traceback.format_tb(trace) + traceback.format_exception_only(error)[:-1])
  except BaseException as broken:  # __str__ is the function's code as well
    parts = type(error).__qualname__, f'its text could not be made: {type(broken).__qualname__}', ''
  return b''.join(part.replace('\0', ' ').encode(errors='replace')[:META_MAX // 4] + b'\0' for part in parts)
