import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { unpack } from '../../../src/deploy/unpack.ts';
import { archive, chunks, temporaryDirectory, type Member } from './archive.ts';

const LIMITS = { maxBytes: 1_000_000, maxFiles: 50 };

test('files, directories and inner links are unpacked with normal modes', async (t) => {
  const directory = temporaryDirectory(t);
  const members: Member[] = [
    { path: './', type: 'Directory', mode: 0o777 },
    { path: './run', content: 'program', mode: 0o4711 },
    { path: './deep/er/data.txt', content: 'x'.repeat(70_000), mode: 0o600 },
    { path: './deep/link', type: 'SymbolicLink', linkpath: '../run' },
    { path: './same', type: 'Link', linkpath: 'run' },
  ];
  await unpack(chunks(archive(members)), directory, LIMITS);
  assert.equal(readFileSync(join(directory, 'deep/er/data.txt'), 'utf8').length, 70_000);
  assert.equal(lstatSync(join(directory, 'run')).mode & 0o7777, 0o755);
  assert.equal(lstatSync(join(directory, 'deep/er/data.txt')).mode & 0o7777, 0o644);
  assert.equal(lstatSync(join(directory, 'deep')).mode & 0o7777, 0o755);
  assert.equal(readlinkSync(join(directory, 'deep/link')), '../run');
  assert.equal(readFileSync(join(directory, 'same'), 'utf8'), 'program');
});

test('a compressed archive is unpacked as well', async (t) => {
  const directory = temporaryDirectory(t);
  await unpack(chunks(gzipSync(archive([{ path: 'handler.py', content: 'pass' }])), 7), directory, LIMITS);
  assert.equal(readFileSync(join(directory, 'handler.py'), 'utf8'), 'pass');
});

const hostile: [string, Member[]][] = [
  ['an absolute path', [{ path: '/etc/evil', content: 'x' }]],
  ['a path that leads up', [{ path: 'a/../../evil', content: 'x' }]],
  ['an absolute link', [{ path: 'link', type: 'SymbolicLink', linkpath: '/etc/passwd' }]],
  ['a link that leads out', [{ path: 'a/link', type: 'SymbolicLink', linkpath: '../../etc' }]],
  [
    'a link that leads up through another link',
    [
      { path: 'a/b/c', type: 'SymbolicLink', linkpath: '../..' },
      { path: 'l', type: 'SymbolicLink', linkpath: 'a/b/c/../x' },
    ],
  ],
  [
    'a file below a link',
    [
      { path: 'a', type: 'SymbolicLink', linkpath: 'b' },
      { path: 'a/evil', content: 'x' },
    ],
  ],
  ['a hard link to what is not in the archive', [{ path: 'a', type: 'Link', linkpath: 'etc/passwd' }]],
  ['a hard link that leads out', [{ path: 'a', type: 'Link', linkpath: '../passwd' }]],
  [
    'a hard link to a link',
    [
      { path: 'l', type: 'SymbolicLink', linkpath: 'x' },
      { path: 'a', type: 'Link', linkpath: 'l' },
    ],
  ],
  ['a character device', [{ path: 'null', type: 'CharacterDevice' }]],
  ['a block device', [{ path: 'disk', type: 'BlockDevice' }]],
  ['a named pipe', [{ path: 'pipe', type: 'FIFO' }]],
  [
    'a path twice',
    [
      { path: 'a', content: 'x' },
      { path: './a', content: 'y' },
    ],
  ],
  [
    'a file below a file',
    [
      { path: 'a', content: 'x' },
      { path: 'a/b', content: 'y' },
    ],
  ],
  ['the root as a file', [{ path: '.', content: 'x' }]],
];
for (const [what, members] of hostile) {
  test(`${what} is refused`, async (t) => {
    const directory = join(temporaryDirectory(t), 'in');
    mkdirSync(directory);
    await assert.rejects(unpack(chunks(archive(members)), directory, LIMITS), { code: 'bundle_invalid' });
    assert.ok(!existsSync(join(directory, '..', 'evil')));
  });
}

test('more bytes than allowed are refused', async (t) => {
  const members = [
    { path: 'a', content: 'x'.repeat(600_000) },
    { path: 'b', content: 'x'.repeat(600_000) },
  ];
  await assert.rejects(unpack(chunks(archive(members), 65_536), temporaryDirectory(t), LIMITS), { code: 'bundle_too_large' });
  await assert.rejects(unpack(chunks(gzipSync(archive(members))), temporaryDirectory(t), LIMITS), { code: 'bundle_too_large' });
});

test('more files than allowed are refused, implied directories included', async (t) => {
  const members = Array.from({ length: 30 }, (_, index) => ({ path: `d${index}/file`, content: '' }));
  await assert.rejects(unpack(chunks(archive(members)), temporaryDirectory(t), LIMITS), { code: 'bundle_too_large' });
});

test('garbage, an empty upload and a truncated archive are refused', async (t) => {
  const whole = archive([{ path: 'a', content: 'x'.repeat(5000) }]);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('garbage'),
    Buffer.alloc(4000, 'z'),
    whole.subarray(0, 2000),
    gzipSync(whole).subarray(0, 60),
  ]) {
    await assert.rejects(unpack(chunks(bytes), temporaryDirectory(t), LIMITS), { code: 'bundle_invalid' });
  }
});

test('a source that breaks off ends the unpacking with its error', async (t) => {
  const whole = archive([{ path: 'a', content: 'x'.repeat(5000) }]);
  async function* broken() {
    yield whole.subarray(0, 1500);
    throw new Error('client went away');
  }
  await assert.rejects(unpack(broken(), temporaryDirectory(t), LIMITS), /client went away/);
});
