/**
 * A request as its runtime takes it: AWS Lambda's function-URL event, payload version 2.0, as JSON text without body and isBase64Encoded (the instance adds
 * them), or the block of NUL-terminated strings of native/include/flashd/frame.h. Written by hand: this runs for every request.
 */
import type { RequestHead } from './head.ts';

export type RequestFacts = {
  readonly functionName: string;
  readonly requestId: string;
  /** What follows /function/NAME, as it was sent; "/" when nothing does. */
  readonly path: string;
  readonly sourceIp: string;
  readonly head: RequestHead;
};

export function httpBlock(facts: RequestFacts): string {
  const { head } = facts;
  let block = head.method + '\0' + facts.path + '\0' + head.query + '\0' + facts.sourceIp + '\0' + facts.requestId + '\0';
  const headers = head.headers;
  for (let index = 0; index < headers.length; index++) block += headers[index]! + '\0';
  return block;
}

export function eventJson(facts: RequestFacts, now: number): string {
  const { head } = facts;
  const path = quote(facts.path);
  const name = '"' + facts.functionName + '"';
  let json = '{"version":"2.0","routeKey":"$default","rawPath":' + path + ',"rawQueryString":' + quote(head.query);
  json += headersJson(head.headers);
  if (head.query !== '') json += queryJson(head.query);
  json += ',"requestContext":{"accountId":"anonymous","apiId":' + name + ',"domainName":' + quote(domainName(head.host)) + ',"domainPrefix":' + name;
  json += ',"http":{"method":"' + head.method + '","path":' + path + ',"protocol":"HTTP/1.1","sourceIp":"' + facts.sourceIp;
  json += '","userAgent":' + quote(head.userAgent) + '},"requestId":"' + facts.requestId;
  return json + '","routeKey":"$default","stage":"$default","time":"' + clfTime(now) + '","timeEpoch":' + now + '}}';
}

/** Whether the body goes to the handler as text, as Lambda decides: text/*, JSON, XML, JavaScript and forms. All else, no type included, is base64. */
export function isTextual(contentType: string | undefined): boolean {
  if (contentType === undefined) return false;
  const semicolon = contentType.indexOf(';');
  const type = (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  if (type.startsWith('text/')) return true;
  if (!type.startsWith('application/')) return false;
  switch (type.slice(12)) {
    case 'json':
    case 'xml':
    case 'javascript':
    case 'x-www-form-urlencoded':
      return true;
    default:
      return type.endsWith('+json') || type.endsWith('+xml');
  }
}

/**
 * ,"cookies":[…],"headers":{…}. A repeated header's values are joined by commas. Names need no escaping: uWebSockets.js takes only tokens. Cookies have a place
 * of their own, and what concerns only the connection is left out.
 */
function headersJson(headers: readonly string[]): string {
  let json = ',"headers":{';
  let cookies = '';
  let lengths = 0;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (name === 'cookie') {
      cookies += cookiesJson(headers[index + 1]!, cookies === '');
      continue;
    }
    if (name === 'connection' || name === 'transfer-encoding') continue;
    // Only names of a length that was seen before can be repeated ones.
    const bit = 1 << (name.length & 31);
    if ((lengths & bit) !== 0 && isName(headers, name, index)) continue;
    lengths |= bit;
    json += (json.length === 12 ? '"' : ',"') + name + '":' + quote(joined(headers, name, index));
  }
  return (cookies === '' ? '' : ',"cookies":[' + cookies + ']') + json + '}';
}

/** Whether the name stands at an even place before `before`. */
function isName(headers: readonly string[], name: string, before: number): boolean {
  for (let index = 0; index < before; index += 2) if (headers[index] === name) return true;
  return false;
}

function joined(headers: readonly string[], name: string, first: number): string {
  let value = headers[first + 1]!;
  for (let index = first + 2; index < headers.length; index += 2) {
    const other = headers[index]!;
    if (other.length === name.length && other === name) value += ',' + headers[index + 1]!;
  }
  return value;
}

function cookiesJson(header: string, first: boolean): string {
  let json = '';
  for (let start = 0; start < header.length;) {
    let end = header.indexOf(';', start);
    if (end === -1) end = header.length;
    const cookie = header.slice(start, end).trim();
    if (cookie !== '') json += (first && json === '' ? '' : ',') + quote(cookie);
    start = end + 1;
  }
  return json;
}

/** Decoded; a repeated name's values are joined by commas. */
function queryJson(query: string): string {
  const parameters = new Map<string, string>();
  for (let start = 0; start < query.length;) {
    let end = query.indexOf('&', start);
    if (end === -1) end = query.length;
    if (end > start) {
      const equals = query.indexOf('=', start);
      const split = equals === -1 || equals > end ? end : equals;
      const name = decodeQuery(query.slice(start, split));
      const value = decodeQuery(query.slice(Math.min(split + 1, end), end));
      const before = parameters.get(name);
      parameters.set(name, before === undefined ? value : before + ',' + value);
    }
    start = end + 1;
  }
  let json = '';
  for (const [name, value] of parameters) json += (json === '' ? '' : ',') + quote(name) + ':' + quote(value);
  return json === '' ? '' : ',"queryStringParameters":{' + json + '}';
}

/** What is no valid encoding stays as it was sent: a query is data, and handlers see it raw as well. */
function decodeQuery(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

/** The host without its port. */
function domainName(host: string): string {
  const colon = host.lastIndexOf(':');
  return colon === -1 || host.charCodeAt(host.length - 1) === 93 ? host : host.slice(0, colon);
}

/** A JSON string. Most need no escaping, and looking is cheaper than JSON.stringify. */
export function quote(text: string): string {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 32 || code === 34 || code === 92) return JSON.stringify(text);
  }
  return '"' + text + '"';
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
let clfSecond = -1;
let clfText = '';

/** "12/Mar/2026:19:03:58 +0000", made once per second. */
function clfTime(now: number): string {
  const second = Math.floor(now / 1000);
  if (second === clfSecond) return clfText;
  const date = new Date(now);
  const two = (value: number) => String(value).padStart(2, '0');
  const day = two(date.getUTCDate()) + '/' + MONTHS[date.getUTCMonth()]! + '/' + date.getUTCFullYear();
  clfText = day + ':' + two(date.getUTCHours()) + ':' + two(date.getUTCMinutes()) + ':' + two(date.getUTCSeconds()) + ' +0000';
  clfSecond = second;
  return clfText;
}
