'use strict';
/*
 * How events, responses and errors look to a Node function: Lambda's function URLs, payload 2.0. Pure: no descriptors, no state.
 *
 * What a handler returns     what the client gets
 *   object with statusCode   that status, headers (a list repeats the header), cookies as set-cookie, body: a string, or base64 with isBase64Encoded, or JSON
 *   anything else            200, content-type application/json, its JSON text: a string comes with its quotes, undefined is null
 * Without a content-type it is application/json. What has no JSON form (a BigInt, a circle) is the function's error.
 */
const META_MAX = 1 << 20, BODY_MAX = 64 << 20, TEXT_MAX = 1 << 16;
const JSON_TYPE = 'content-type\0application/json\0';
const HEADERS = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+\0[^\0-\x08\x0a-\x1f\x7f]*\0)*$/;

/** A handler's second argument, with Lambda's names. */
class Context {
  callbackWaitsForEmptyEventLoop = false;
  #deadline;

  constructor(config, requestId, leftMs) {
    this.functionName = config.function;
    this.functionVersion = config.version;
    this.memoryLimitInMB = String(Number(config.memory_bytes) >>> 20);
    this.invokedFunctionArn = `arn:flashd:lambda:local:000000000000:function:${config.function}`;
    this.logGroupName = config.function;
    this.logStreamName = config.version;
    this.awsRequestId = requestId;
    this.#deadline = performance.now() + leftMs;
  }

  getRemainingTimeInMillis() {
    return Math.max(0, Math.floor(this.#deadline - performance.now()));
  }
}

function decode(meta, body, binary) {
  const event = JSON.parse(meta.toString());
  event.isBase64Encoded = binary;
  if (body.length > 0) event.body = body.toString(binary ? 'base64' : 'utf8');
  return event;
}

const dumps = (value) => {
  const text = JSON.stringify(value);
  if (text === undefined && value !== undefined) throw new TypeError(`a ${typeof value} has no JSON form`);
  return text ?? 'null';
};

/** Status, meta and body of a RESPONSE frame. Throws when the result breaks the rules. */
function encode(result) {
  if (typeof result !== 'object' || result === null || !('statusCode' in result)) return [200, JSON_TYPE, checked(dumps(result))];
  const status = Number(result.statusCode), meta = encodeHeaders(result);
  let body = result.body ?? '';
  if (!(Number.isInteger(status) && status >= 200 && status <= 599)) throw new RangeError(`statusCode ${result.statusCode} is not between 200 and 599`);
  if (typeof body !== 'string') body = dumps(body);
  if (result.isBase64Encoded && body !== '') {
    const bytes = Buffer.from(body, 'base64');
    if (bytes.length !== Buffer.byteLength(body, 'base64')) throw new TypeError('body is not base64');
    body = bytes;
  }
  return [status, meta, checked(body)];
}

function checked(body) {
  if (Buffer.byteLength(body) > BODY_MAX) throw new RangeError(`the response is too large: a body of ${Buffer.byteLength(body)} bytes`);
  return body;
}

function encodeHeaders({ headers, cookies }) {
  let meta = '', typed = false;
  for (const name in headers) {
    typed ||= name.toLowerCase() === 'content-type';
    for (const value of [headers[name]].flat()) meta += `${name}\0${typeof value === 'string' ? value : dumps(value)}\0`;
  }
  for (const cookie of cookies ?? []) meta += `set-cookie\0${cookie}\0`;
  if (!typed) meta += JSON_TYPE;
  if (!HEADERS.test(meta)) throw new TypeError('a header or a cookie has characters that HTTP does not allow');
  if (Buffer.byteLength(meta) > META_MAX) throw new RangeError(`the response is too large: ${Buffer.byteLength(meta)} bytes of headers`);
  return meta;
}

/** ERROR meta: type, message, and the stack without our own frames and Node's. */
function describe(error, ownFolder) {
  let parts;
  try {
    const stack = error instanceof Error ? String(error.stack).split('\n').filter((line) => !line.includes(ownFolder) && !line.includes('(node:internal/') && !line.includes('at node:internal/')) : [];
    parts = error instanceof Error ? [error.name, error.message, stack.join('\n')] : [typeof error, typeof error === 'string' ? error : dumps(error), ''];
  } catch (broken) {  // toString and getters are the function's code as well
    parts = ['Error', `its text could not be made: ${broken instanceof Error ? broken.name : typeof broken}`, ''];
  }
  return parts.map((part) => `${String(part).slice(0, TEXT_MAX).replaceAll('\0', ' ')}\0`).join('');
}

module.exports = { Context, decode, encode, describe };
