import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERROR_TABLE, exitCode, FlashdError, fromErrorBody, toFlashdError, type ErrorCode } from '../../../src/errors/index.ts';
import { errorsMarkdown } from '../../../src/errors/markdown.ts';
import { FUNCTION_FAULTS, NATIVE_ERRORS } from '../../../src/errors/native.ts';
import { editDistance, nearest } from '../../../src/errors/nearest.ts';

const root = new URL('../../../', import.meta.url);
const codes = Object.keys(ERROR_TABLE) as ErrorCode[];

test("a function's fault is always 502, and only an internal error is 500", () => {
  for (const code of codes) {
    const { kind, status } = ERROR_TABLE[code];
    if (kind === 'function') assert.equal(status, 502, code);
    else if (kind === 'internal') assert.equal(status, 500, code);
    // 505 is the one above 500 that says what the client sent.
    else if (kind === 'client') assert.ok((status >= 400 && status < 500) || status === 505, code);
    else assert.ok([429, 503, 504].includes(status), code);
  }
});

test('every code has a message and a hint', () => {
  for (const code of codes) {
    assert.match(code, /^[a-z]+(_[a-z]+)*$/);
    assert.ok(ERROR_TABLE[code].message.length > 0 && ERROR_TABLE[code].hint.length > 0, code);
  }
});

test('src/errors/README.md is what the table says', () => {
  assert.equal(readFileSync(new URL('src/errors/README.md', root), 'utf8'), errorsMarkdown());
});

function enumOf(header: string, prefix: string): Record<string, { name: string }> {
  const text = readFileSync(new URL(`native/include/flashd/${header}`, root), 'utf8');
  const found = [...text.matchAll(new RegExp(`^\\s*(${prefix}\\w+) = (\\d+)`, 'gm'))];
  assert.ok(found.length > 0);
  return Object.fromEntries(found.map(([, name, number]) => [number!, { name: name! }]));
}

const names = (table: Readonly<Record<number, { name: string }>>) =>
  Object.fromEntries(Object.entries(table).map(([number, { name }]) => [number, { name }]));

test('the native numbers are those of the headers', () => {
  assert.deepEqual(names(NATIVE_ERRORS), enumOf('error.h', 'FL_ERR_'));
  assert.deepEqual(names(FUNCTION_FAULTS), enumOf('frame.h', 'FL_FAULT_'));
});

test('an error takes kind, status and hint from the table, and its own words where it has some', () => {
  const error = new FlashdError('function_timeout', { message: 'after 5 ms', details: { ms: 5 } });
  assert.deepEqual([error.kind, error.status, error.retryable], ['timeout', 504, true]);
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {
    code: 'function_timeout',
    message: 'after 5 ms',
    hint: ERROR_TABLE.function_timeout.hint,
    details: { ms: 5 },
  });
  assert.deepEqual(Object.keys(new FlashdError('not_found').toJSON()), ['code', 'message', 'hint']);
});

test('what is thrown becomes a coded error with its cause', () => {
  const own = new FlashdError('not_found');
  assert.equal(toFlashdError(own), own);
  const bug = new TypeError('x is undefined');
  assert.equal(toFlashdError(bug).code, 'internal_error');
  assert.equal(toFlashdError(bug).cause, bug);
  const system = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
  assert.deepEqual(toFlashdError(system).details, { errno: 'ENOSPC' });
  assert.equal(toFlashdError('text').message, 'text');
});

test('an error survives the way through JSON; an unknown code is ours', () => {
  const error = new FlashdError('no_handler', { message: 'm', hint: 'h', details: { a: 1 } });
  assert.deepEqual(fromErrorBody(JSON.parse(JSON.stringify(error))).toJSON(), error.toJSON());
  assert.equal(fromErrorBody({ code: 'toString' }).code, 'internal_error');
  assert.equal(fromErrorBody({}).code, 'internal_error');
});

test('exit codes tell whose turn it is', () => {
  assert.equal(exitCode(new FlashdError('usage')), 100);
  assert.equal(exitCode(new FlashdError('function_not_found')), 100);
  assert.equal(exitCode(new FlashdError('internal_error')), 101);
  for (const code of ['system_error', 'gateway_unreachable', 'function_error', 'overloaded', 'function_timeout'] as const)
    assert.equal(exitCode(new FlashdError(code)), 111);
});

test('the nearest word is found for a typing mistake and not for another word', () => {
  assert.equal(editDistance('kitten', 'sitting'), 3);
  assert.equal(nearest('memroyMb', ['memoryMb', 'timeoutMs']), 'memoryMb');
  assert.equal(nearest('banana', ['memoryMb', 'timeoutMs']), undefined);
});
