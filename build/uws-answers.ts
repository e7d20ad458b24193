/**
 * uWebSockets.js answers what it cannot parse by itself, before anybody here hears of it, out of three texts in its binary. Each becomes one of the same length that has an error code, as every other answer of
 * flashd's has: there is no room for more. The binary is pinned by its hash, so the texts are where they are; one that is not found, or found twice, ends the build.
 */
import { Buffer } from 'node:buffer';
import type { ErrorCode } from '../src/errors/index.ts';

type Answer = { readonly status: string; readonly html: string; readonly headers: readonly string[]; readonly code: ErrorCode };

const MARK = '<hr><i>uWebSockets/20 Server</i>';
const CLOSE = 'Connection: close';
const JSON_TYPE = 'Content-Type: application/json';
const ANSWERS: readonly Answer[] = [
  // Without a length the end of the connection is the end of the body, said or not.
  { status: '400 Bad Request', html: '<h1>Bad Request</h1>', headers: [JSON_TYPE], code: 'bad_request' },
  { status: '431 Request Header Fields Too Large', html: '<h1>Request Header Fields Too Large</h1>', headers: [JSON_TYPE, CLOSE], code: 'headers_too_large' },
  { status: '505 HTTP Version Not Supported', html: '<h1>HTTP Version Not Supported</h1><p>This server does not support HTTP/1.0.</p>', headers: [JSON_TYPE, CLOSE], code: 'http_not_supported' },
];

const text = (status: string, headers: readonly string[], body: string): string => [`HTTP/1.1 ${status}`, ...headers, '', body].join('\r\n');

export function withErrorCodes(binary: Uint8Array): Buffer {
  const patched = Buffer.from(binary);
  for (const { status, html, headers, code } of ANSWERS) {
    const theirs = text(status, [CLOSE], html + MARK);
    const ours = text(status, headers, JSON.stringify({ error: { code } }));
    const at = patched.indexOf(`${theirs}\0`, 0, 'latin1');
    if (at === -1 || patched.indexOf(theirs, at + 1, 'latin1') !== -1 || ours.length > theirs.length) throw new Error(`uWebSockets.js: its answer ${status} cannot be replaced`);
    patched.write(ours.padEnd(theirs.length), at, 'latin1');
  }
  return patched;
}
