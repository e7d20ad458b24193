/** A hello server of somebody else, as a warm peer: started on a port of its own, warmed up, measured at one connection and under load, and ended. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Series, System } from '../series.ts';
import { latencySeries, throughputSeries, warmUp, type HttpTarget } from './warm.ts';

const READY_MS = 20_000;

export type HttpPeer = {
  readonly name: string;
  command(port: number): readonly string[];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
};

/** series: what is measured of it; when it is warm, unless others are given. */
export function httpPeerSystem({ name, command, cwd, env }: HttpPeer, series?: (target: HttpTarget) => readonly Series[]): System {
  let server: ChildProcess | undefined;
  let port = 0;
  const target = { port: () => port, path: '/' };
  return {
    name,
    series: series?.(target) ?? [latencySeries(`warm/${name}/latency`, target), throughputSeries(`warm/${name}/throughput`, target)],
    async prepare() {
      port = await freePort();
      const [program, ...args] = command(port);
      let said = '';
      server = spawn(program!, args, { cwd, env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      for (const stream of [server.stdout!, server.stderr!]) stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4096)));
      server.on('error', error => (said += error.message));
      await answering(port).catch(() => { throw new Error(`${name} did not become ready:\n${said}`); });
      await warmUp(target);
    },
    async cleanup() {
      const running = server;
      server = undefined;
      if (running?.pid === undefined || running.exitCode !== null || running.signalCode !== null) return;
      const ended = new Promise(resolve => running.once('exit', resolve));
      running.kill('SIGKILL');
      await ended;
    },
  };
}

async function answering(port: number): Promise<void> {
  for (const end = Date.now() + READY_MS; Date.now() < end; await sleep(50)) {
    if (await fetch(`http://127.0.0.1:${port}/`).then(response => response.ok, () => false)) return;
  }
  throw new Error('no answer');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
