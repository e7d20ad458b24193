/** The unit says twice what stands in code: these must not drift apart. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { INSTALLED_BINARY, INSTALLED_ROOT, INSTALLED_STATE_DIR, INSTALLED_USER, SANDBOXD_USER } from '../../src/cli/installation.ts';
import { resolveConfig } from '../../src/config/index.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const unit = read('systemd/flashd.service');
const values = (key: string): string[] => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].flatMap(match => match[1]!.split(' '));

/** The unit has a /dev of its own and limits instead. */
const ELSEWHERE = ['CAP_MKNOD', 'CAP_SYS_RESOURCE'];

test('the unit bounds the service to exactly the capabilities that sandboxd keeps', () => {
  const list = /sandboxd_capabilities\[\] = \{([^}]*)\}/.exec(read('native/sandboxd/supervisor.c'))![1]!;
  const kept = list.replaceAll(/\/\*.*?\*\//g, '').match(/CAP_[A-Z_]+/g)!;
  assert.deepEqual([...values('CapabilityBoundingSet'), ...ELSEWHERE].sort(), kept.sort());
  assert.deepEqual(values('AmbientCapabilities').sort(), values('CapabilityBoundingSet').sort());
});

test('the unit waits longer for a stop than the supervisor does', () => {
  const source = read('native/sandboxd/supervisor.c');
  const limits = [/GATEWAY_STOP_MS = (\d+)/, /SANDBOXD_STOP_MS = (\d+)/].map(pattern => Number(pattern.exec(source)![1]));
  assert.ok(Number(values('TimeoutStopSec')[0]) * 1000 > limits.reduce((sum, limit) => sum + limit));
  assert.ok(resolveConfig({}).drainSeconds * 1000 < limits[0]!);
});

test('unit, sysusers, tmpfiles, installer and configuration name the same user, program and directory', () => {
  const config = resolveConfig({});
  assert.deepEqual([config.user, config.stateDir], [INSTALLED_USER, INSTALLED_STATE_DIR]);
  assert.deepEqual(values('ExecStart'), [INSTALLED_BINARY, 'serve']);
  assert.deepEqual([values('BindPaths')[0], values('ReadWritePaths')[0], values('RootDirectory')[0]], [INSTALLED_STATE_DIR, `+${INSTALLED_STATE_DIR}`, INSTALLED_ROOT]);
  assert.deepEqual(values('User'), [SANDBOXD_USER]);
  assert.match(read('systemd/flashd.sysusers'), new RegExp(`^u ${SANDBOXD_USER} `, 'm'));
  assert.match(read('systemd/flashd.tmpfiles'), new RegExp(`^d ${INSTALLED_ROOT} 0755 root root `, 'm'));
  assert.match(read('systemd/flashd.sysusers'), new RegExp(`^u ${INSTALLED_USER} .* ${INSTALLED_STATE_DIR} `, 'm'));
  assert.match(read('systemd/flashd.tmpfiles'), new RegExp(`^d ${INSTALLED_STATE_DIR} 0750 ${INSTALLED_USER} ${INSTALLED_USER} `, 'm'));
});

test('every hardening directive has its reason above it', () => {
  const lines = unit.split('\n');
  const bare = ['Description', 'After', 'Type', 'ExecStart', 'Restart', 'RestartSec', 'TimeoutStartSec', 'WantedBy', 'TimeoutStopSec'];
  const commented = (index: number): boolean => {
    const above = lines[index - 1]!;
    return above.startsWith('#') || (/^[A-Z]\w+=/.test(above) && above.split('=')[0] === lines[index]!.split('=')[0] && commented(index - 1));
  };
  const unexplained = lines.flatMap((line, index) => (/^[A-Z]\w+=/.test(line) && !bare.includes(line.split('=')[0]!) && !commented(index) ? [line] : []));
  assert.deepEqual(unexplained, []);
});
