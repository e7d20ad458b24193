"""
POST an image, get it smaller: ?width=320 (and height), never larger than it was; PNG, JPEG, GIF and WebP in, the same kind out (GIF as PNG). Uses Debian's python3-pil.
  printf iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQAAAACCEkxzAAAAD0lEQVR42mNgGAWjgHwAAAJAAAHgTR1EAAAAAElFTkSuQmCC | base64 -d | curl --data-binary @- -H 'content-type: image/png' 'http://127.0.0.1:8080/function/resize-image?width=16' -o /tmp/small.png
  curl --data-binary @photo.jpg -H 'content-type: image/jpeg' 'http://127.0.0.1:8080/function/resize-image?width=320' -o small.jpg
"""
import base64
import io

from PIL import Image, JpegImagePlugin, PngImagePlugin, GifImagePlugin, WebPImagePlugin

KINDS = {'PNG': 'image/png', 'JPEG': 'image/jpeg', 'GIF': 'image/png', 'WEBP': 'image/webp'}
SIDE_MAX, PIXELS_MAX = 4096, 50_000_000
Image.MAX_IMAGE_PIXELS = PIXELS_MAX


def refused(status, text):
  return {'statusCode': status, 'headers': {'content-type': 'text/plain'}, 'body': text + '\n'}


def side(query, name, otherwise):
  text = query.get(name)
  if text is None:
    return otherwise
  if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= SIDE_MAX:
    raise ValueError(f'{name} is not a number from 1 to {SIDE_MAX}')
  return int(text)


def handler(event, context):
  if event['requestContext']['http']['method'] != 'POST':
    return refused(405, 'POST an image')
  body = event.get('body', '')
  data = base64.b64decode(body) if event['isBase64Encoded'] else body.encode()
  query = event.get('queryStringParameters', {})
  try:
    image = Image.open(io.BytesIO(data), formats=list(KINDS))
    kind = image.format
    image.thumbnail((side(query, 'width', SIDE_MAX), side(query, 'height', SIDE_MAX)))
  except ValueError as error:
    return refused(400, str(error))
  except (OSError, SyntaxError, Image.DecompressionBombError) as error:
    return refused(415, f'not an image that can be read: {error}')
  out = io.BytesIO()
  image.save(out, format='PNG' if kind == 'GIF' else kind)
  return {'statusCode': 200, 'headers': {'content-type': KINDS[kind]}, 'isBase64Encoded': True, 'body': base64.b64encode(out.getvalue()).decode()}
