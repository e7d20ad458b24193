/** Archives made by hand, so that they can be hostile, and temporary directories that end with their test. */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { Header, type HeaderData } from 'tar';

export type Member = { path: string; type?: HeaderData['type']; content?: string; mode?: number; linkpath?: string };

export function archive(members: Member[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { path, type = 'File', content = '', mode = 0o644, linkpath } of members) {
    const header = Buffer.alloc(512);
    const body = Buffer.from(content);
    new Header({ path, type, mode, size: body.length, ...(linkpath === undefined ? {} : { linkpath }) }).encode(header, 0);
    blocks.push(header, body, Buffer.alloc((512 - (body.length % 512)) % 512));
  }
  blocks.push(Buffer.alloc(1024));
  return Buffer.concat(blocks);
}

export async function* chunks(buffer: Buffer, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < buffer.length; at += size) yield buffer.subarray(at, at + size);
}

export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'flashd-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function writeFiles(directory: string, files: Record<string, string>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}
