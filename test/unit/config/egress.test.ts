import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { EGRESS_NAMES_BYTES, EGRESS_NAMES_MAX, EGRESS_NAMES_PORTS_MAX, EGRESS_RULES_MAX, EgressProblem, parseEgress, parsePrefix } from '../../../src/config/egress.ts';
import { egressOf, resolveConfig } from '../../../src/config/index.ts';
import { PROTOCOL } from '../../../src/sandbox/protocol.ts';

test('a bandwidth above its maximum is refused', () => {
  assert.throws(() => resolveConfig({ environment: { FLASHD_EGRESS_MBIT: '50', FLASHD_EGRESS_MBIT_MAX: '20' } }), /egressMbit \(50\) is above egressMbitMax \(20\)/);
});

test('addresses, prefixes and ports are read', () => {
  assert.deepEqual(parseEgress(['public']), { public: true, rules: [], names: [] });
  assert.deepEqual(parseEgress(['10.0.0.5:5432', '203.0.113.0/24:443', '0.0.0.0/0', '192.168.0.0/16']), {
    public: false,
    rules: [
      { address: 0x0a000005, prefix: 32, port: 5432 },
      { address: 0xcb007100, prefix: 24, port: 443 },
      { address: 0, prefix: 0, port: 0 },
      { address: 0xc0a80000, prefix: 16, port: 0 },
    ],
    names: [],
  });
});

test('host names and wildcards are read, in lower case', () => {
  assert.deepEqual(parseEgress(['API.example.org:443', '*.example.org:8443', '10.0.0.5', 'localhost:80', '_dmarc.xn--bcher-kva.example:1']), {
    public: false,
    rules: [{ address: 0x0a000005, prefix: 32, port: 0 }],
    names: [
      { name: 'api.example.org', wildcard: false, port: 443 },
      { name: 'example.org', wildcard: true, port: 8443 },
      { name: 'localhost', wildcard: false, port: 80 },
      { name: '_dmarc.xn--bcher-kva.example', wildcard: false, port: 1 },
    ],
  });
});

test('host names have limits, which are the protocol\'s', () => {
  assert.deepEqual([EGRESS_NAMES_MAX, EGRESS_NAMES_BYTES, EGRESS_NAMES_PORTS_MAX], [PROTOCOL.FL_NAMES_MAX, PROTOCOL.FL_NAMES_TEXT_BYTES, PROTOCOL.FL_NAMES_PORTS_MAX]);
  const many = (count: number, name: (at: number) => string): string[] => Array.from({ length: count }, (_, at) => name(at));
  assert.equal(parseEgress(many(EGRESS_NAMES_MAX, (at) => `n${at}.example:443`)).names.length, EGRESS_NAMES_MAX);
  assert.throws(() => parseEgress(many(EGRESS_NAMES_MAX + 1, (at) => `n${at}.example:443`)), /more than 32/);
  assert.throws(() => parseEgress(many(EGRESS_NAMES_PORTS_MAX + 1, (at) => `a.example:${at + 1}`)), /more than 8 different ports/);
  const long = `${`${'a'.repeat(62)}.`.repeat(3)}${'a'.repeat(64)}`;
  assert.throws(() => parseEgress(many(9, (at) => `${at}${long.slice(1, 250)}:443`)), /63 at most|characters together, more than 2048/);
  assert.throws(() => parseEgress(many(9, (at) => `${at}${`${'a'.repeat(61)}.`.repeat(4).slice(0, -1)}:443`)), /characters together, more than 2048/);
});

for (const [entry, words] of [
  ['pypi.org', /without a port/],
  ['*.pypi.org', /without a port/],
  ['pypi.org:0', /1 … 65535/],
  ['pypi.org:65536', /1 … 65535/],
  ['a..b:80', /not a host name/],
  ['.example:80', /not a host name/],
  ['example.:80', /not a host name/],
  [`${'a'.repeat(64)}.example:80`, /63 at most/],
  ['*:80', /NAME:PORT/],
  ['*.*.example:80', /NAME:PORT/],
  ['a.*.example:80', /NAME:PORT/],
  ['bücher.example:80', /NAME:PORT/],
  ['example.org/x:80', /NAME:PORT/],
  ['::1', /IPv4/],
  ['10.0.0.256', /too large/],
  ['10.0.0.0/33', /too large/],
  ['10.0.0.1:65536', /too large/],
  ['10.0.0.1:0', /port 0/],
  ['10.0.0.1/8', /bits set beyond/],
  ['127.0.0.1:80', /127\.0\.0\.0\/8/],
  ['169.254.169.254', /169\.254\.0\.0\/16/],
  ['255.255.255.255', /224\.0\.0\.0\/3/],
  ['', /not "public"/],
  ['10.0.0.1:80 ', /not "public"/],
] as const) {
  test(`${JSON.stringify(entry)} is refused`, () => {
    assert.throws(() => parseEgress([entry]), (error) => error instanceof EgressProblem && words.test(error.message));
  });
}

test('host names beside "public" would have no effect', () => {
  assert.throws(() => parseEgress(['public', 'pypi.org:443']), /opens every public address already/);
});

test('a list has a limit, which is the protocol\'s', () => {
  assert.equal(EGRESS_RULES_MAX, PROTOCOL.FL_EGRESS_RULES_MAX);
  assert.equal(parseEgress(Array.from({ length: EGRESS_RULES_MAX }, (_, at) => `10.0.0.${at}`)).rules.length, EGRESS_RULES_MAX);
  assert.throws(() => parseEgress(Array.from({ length: EGRESS_RULES_MAX + 1 }, (_, at) => `10.0.0.${at}`)), /more than 32/);
});

test('the configuration holds together', () => {
  const refused = { code: 'config_invalid' };
  assert.equal(egressOf(resolveConfig({ environment: { FLASHD_BUILD_EGRESS: 'none' } }).buildEgress), undefined);
  assert.deepEqual(egressOf('public, 10.0.0.0/8:443'), { public: true, rules: [{ address: 0x0a000000, prefix: 8, port: 443 }], names: [] });
  for (const environment of [{ FLASHD_BUILD_EGRESS: 'pypi.org' }, { FLASHD_BUILD_EGRESS: 'public,' }, { FLASHD_EGRESS_RANGE: '10.0.0.0' }, { FLASHD_EGRESS_RANGE: '10.0.0.1/12' }, { FLASHD_EGRESS_RANGE: '10.0.0.0/28' },
    { FLASHD_EGRESS_DNS: '1.2.3.400' }, { FLASHD_EGRESS_DNS: 'dns.example' }]) assert.throws(() => resolveConfig({ environment }), refused, JSON.stringify(environment));
  assert.deepEqual(parsePrefix('172.16.0.0/12'), { address: 0xac100000, prefix: 12 });
});

test('what is closed here is closed in native/network/rules.c', () => {
  const text = (name: string): string => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8');
  const native = [...text('native/network/rules.c').split('closed[] = {')[1]!.split('};')[0]!.matchAll(/\{ 0x([0-9a-f]{8}), (\d+) \}/g)].map(([, address, prefix]) => ({ address: parseInt(address!, 16), prefix: Number(prefix) }));
  const ours = [...text('src/config/egress.ts').match(/CLOSED = (.*)/)![1]!.matchAll(/'([^']+)'/g)].map(([, prefix]) => parsePrefix(prefix!));
  assert.equal(native.length, 4);
  assert.deepEqual(ours, native);
});
