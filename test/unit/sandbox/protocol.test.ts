import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { decode, encodeCreate, encodeDestroy, encodeForget, encodeFreeze, encodeHello, encodeLearn, encodeNames, encodePulse, encodeStats, encodeUsage } from '../../../src/sandbox/codec.ts';
import { FEATURE_NAMES, FRAME, LAYOUT, PROTOCOL } from '../../../src/sandbox/protocol.ts';
import { INTERCEPT, INTERCEPT_LAYOUT } from '../../../src/sandbox/interception.ts';
import { packet } from './fake-addon.ts';

const include = resolve(import.meta.dirname, '../../../native/include');

/** What the C compiler makes of the headers: every constant, offset and size that we claim to know. */
function compilerSays(): Record<string, number> {
  const lines: string[] = [];
  for (const name of [...Object.keys(PROTOCOL), ...Object.keys(FRAME), ...Object.keys(INTERCEPT)]) lines.push(`printf("${name} %lld\\n", (long long)${name});`);
  for (const [struct, fields] of Object.entries({ ...LAYOUT, ...INTERCEPT_LAYOUT })) {
    for (const field of Object.keys(fields)) {
      const value = field === '$size' ? `sizeof(struct ${struct})` : `offsetof(struct ${struct}, ${field})`;
      lines.push(`printf("${struct}.${field} %zu\\n", ${value});`);
    }
  }
  const directory = mkdtempSync(join(tmpdir(), 'flashd-protocol-'));
  try {
    const source = `#include <stddef.h>\n#include <stdio.h>\n#include <flashd/protocol.h>\n#include <flashd/frame.h>\n#include <flashd/intercept.h>\nint main(void) {\n${lines.join('\n')}\nreturn 0;\n}\n`;
    writeFileSync(join(directory, 'says.c'), source);
    execFileSync('gcc', ['-I', include, '-o', join(directory, 'says'), join(directory, 'says.c')]);
    const output = execFileSync(join(directory, 'says'), { encoding: 'utf8' });
    return Object.fromEntries(
      output
        .trim()
        .split('\n')
        .map((line) => line.split(' '))
        .map(([name, value]) => [name, Number(value)]),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Names of all enumerators and macros with a value in a header, comments removed. */
function constants(header: string): string[] {
  const text = readFileSync(join(include, 'flashd', header), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
  const enumerators = [...text.matchAll(/enum[^{;]*\{([^}]*)\}/g)].flatMap((match) => [...match[1]!.matchAll(/\b(FL_[A-Z0-9_]+)\s*=/g)]);
  return [...enumerators, ...text.matchAll(/^#define (FL_[A-Z0-9_]+) \S/gm)].map((match) => match[1]!);
}

function structs(header: string): string[] {
  const text = readFileSync(join(include, 'flashd', header), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
  return [...text.matchAll(/struct (fl_\w+) \{/g)].map((match) => match[1]!);
}

describe('control protocol', () => {
  test('every constant, offset and size agrees with the C headers', () => {
    const says = compilerSays();
    for (const [name, value] of [...Object.entries(PROTOCOL), ...Object.entries(FRAME), ...Object.entries(INTERCEPT)]) assert.equal(value, says[name], name);
    for (const [struct, layout] of Object.entries({ ...LAYOUT, ...INTERCEPT_LAYOUT })) {
      for (const [field, value] of Object.entries(layout)) assert.equal(value, says[`${struct}.${field}`], `${struct}.${field}`);
    }
  });

  test('no constant and no struct of the headers is missing here', () => {
    assert.deepEqual(constants('protocol.h').toSorted(), Object.keys(PROTOCOL).toSorted());
    assert.deepEqual(constants('frame.h').toSorted(), Object.keys(FRAME).toSorted());
    assert.deepEqual(structs('protocol.h').toSorted(), Object.keys(LAYOUT).toSorted());
    assert.deepEqual(constants('intercept.h').toSorted(), Object.keys(INTERCEPT).toSorted());
    assert.deepEqual(structs('intercept.h').toSorted(), Object.keys(INTERCEPT_LAYOUT).toSorted());
  });

  test('features are named in the order of the header', () => {
    const named = (prefix: string) => Object.keys(PROTOCOL).filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length).toLowerCase());
    assert.deepEqual(named('FL_FEATURE_').map((name) => name.replaceAll('_', '-')), [...FEATURE_NAMES]);
  });

  test('requests carry their fields', () => {
    const limits = { memoryBytes: 5 * 2 ** 32 + 7, tmpBytes: 65536, tmpInodes: 16, pids: 3, cpuMillis: 500, descriptors: 64 };
    const language = { template: 0 };
    const create = encodeCreate(2 ** 40 + 1, 2, { limits }, language);
    assert.equal(create.length, 344);
    assert.equal(create.readBigUInt64LE(8), 2n ** 40n + 1n);
    assert.equal(create.readUInt32LE(16), 2);
    assert.equal(create.readBigUInt64LE(24), 5n * 2n ** 32n + 7n);
    assert.equal(create.readUInt32LE(52), 64);
    assert.ok(create.subarray(64).every((byte) => byte === 0));
    const egress = encodeCreate(1, 2, { limits, egress: { public: true, rules: [{ address: 0xcb007150, prefix: 32, port: 443 }, { address: 0x0a000000, prefix: 8, port: 0 }], names: [], bytesPerSecond: 125_000 } }, language);
    assert.deepEqual([64, 68, 72, 76, 80, 88, 96].map((at) => egress.readUInt32LE(at)), [1, 0, 1, 2, 125_000, 0xcb007150, 0x0a000000]);
    assert.deepEqual([egress.readUInt16LE(92), egress[94], egress[95], egress.readUInt16LE(100), egress[102]], [443, 32, 0, 0, 8]);
    assert.ok(egress.subarray(104).every((byte) => byte === 0));
    const listed = [{ name: 'api.example.org', wildcard: false, port: 443 }, { name: 'cdn.net', wildcard: true, port: 8443 }];
    assert.equal(encodeCreate(1, 2, { limits, egress: { public: false, rules: [], names: listed, bytesPerSecond: 125_000 } }, language).readUInt32LE(72), 2);
    const names = encodeNames(7, listed);
    assert.deepEqual([names.length, names.readUInt16LE(4), names.readUInt32LE(8), names.readUInt32LE(16), names.readUInt32LE(20)], [2200, 16, 7, 2, 22]);
    assert.deepEqual([names.readUInt16LE(24), names[26], names[27], names.readUInt16LE(28), names[30], names[31]], [443, 15, 0, 8443, 7, 1]);
    assert.equal(names.toString('latin1', 152, 174), 'api.example.orgcdn.net');
    assert.ok(names.subarray(174).every((byte) => byte === 0));
    const candidate = encodeCreate(1, 2, { limits }, { template: 2 ** 33, candidate: true });
    assert.deepEqual([candidate.readUInt32LE(20), candidate.readBigUInt64LE(56)], [1, 2n ** 33n]);
    const learns = [true, false].map((idle) => encodeLearn(1, 2 ** 33, idle));
    assert.deepEqual(learns.map((learn) => [learn.readBigUInt64LE(16), learn.readBigUInt64LE(24)]), [[2n ** 33n, 1n], [2n ** 33n, 0n]]);
    const pulse = encodePulse(1, 7, 3);
    assert.deepEqual([pulse.readBigUInt64LE(16), pulse.readUInt32LE(24), pulse.length], [7n, 3, 32]);
    assert.deepEqual([encodeFreeze(1, 2 ** 33).readBigUInt64LE(16), encodeForget(1, 7).readBigUInt64LE(16)], [2n ** 33n, 7n]);
    const destroy = encodeDestroy(9, 2 ** 33, 'expect-exit');
    assert.equal(destroy.readBigUInt64LE(16), 2n ** 33n);
    assert.equal(destroy.readUInt32LE(24), 1);
    assert.deepEqual([encodeDestroy(9, 1, 'kill').readUInt32LE(24), encodeDestroy(9, 1, 'rest').readUInt32LE(24)], [0, 2]);
    const flags = ['candidate', 'ahead', 'rewound', 'across', 'yields', 'aside'].map((flag) => encodeCreate(1, 2, { limits }, { ...language, [flag]: true }).readUInt32LE(20));
    assert.deepEqual(flags, [1, 2, 4, 8, 16, 32]);
    assert.deepEqual([encodeHello(1).length, encodeStats(1).length, encodeUsage(1, 5).length], [16, 16, 24]);
  });

  test('a reply is decoded field by field', () => {
    const bytes = packet(PROTOCOL.FL_MSG_ENDED, LAYOUT.fl_ended.$size, 77);
    bytes.writeBigUInt64LE(2n ** 41n, LAYOUT.fl_ended.instance);
    bytes.writeUInt32LE(PROTOCOL.FL_END_SIGNALED, LAYOUT.fl_ended.how);
    bytes.writeInt32LE(11, LAYOUT.fl_ended.status);
    bytes.writeUInt32LE(1, LAYOUT.fl_ended.oom_kills);
    bytes.writeBigUInt64LE(123456n, LAYOUT.fl_ended.cpu_us);
    bytes.writeUInt32LE(9, LAYOUT.fl_ended.sockets);
    assert.deepEqual(decode(bytes), {
      type: 'ended',
      request: 77,
      instance: 2 ** 41,
      how: 'signaled',
      status: 11,
      oomKills: 1,
      pidsRefused: 0,
      sockets: 9,
      memoryPeakBytes: 0,
      cpuUs: 123456,
    });
  });

  test('a runtime event carries name and detail without their padding', () => {
    const bytes = packet(PROTOCOL.FL_MSG_RUNTIME, LAYOUT.fl_runtime.$size, 0);
    bytes.writeUInt32LE(PROTOCOL.FL_RUNTIME_FAILED, LAYOUT.fl_runtime.state);
    bytes.write('python', LAYOUT.fl_runtime.name);
    bytes.fill('x', LAYOUT.fl_runtime.detail);
    const message = decode(bytes);
    assert.ok(message.type === 'runtime');
    assert.deepEqual([message.name, message.state, message.detail.length], ['python', 'failed', 256]);
  });

  test('a packet of another protocol, version, type or size is refused', () => {
    const good = packet(PROTOCOL.FL_MSG_HELLO_OK, LAYOUT.fl_hello_ok.$size, 1);
    const broken = [good.subarray(0, 8), good.subarray(0, 31), Buffer.from(good).fill(0, 0, 2), Buffer.from(good).fill(9, 2, 4), Buffer.from(good).fill(1, 4, 6)];
    for (const packet of broken) assert.throws(() => decode(packet), { code: 'internal_error' });
    assert.equal(decode(good).type, 'hello-ok');
  });
});
