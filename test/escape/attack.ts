/** The targets of the attempts on the host, alive and reachable for everybody who is not in a sandbox, and how an attempt is made. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type ListenOptions, type Server } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Flashd, startOf, type HttpAnswer } from '../conformance/packaged.ts';
import { family, isBuilder, isGateway, isInit, isSandboxd, member } from '../e2e/footprint.ts';

export const HERE = import.meta.dirname;
export const LIMITS = { pids: 24, descriptors: 128, tmpMb: 2 };
const MIB = 1024 * 1024;
const BYTES_PER_INODE = 4096;
/** The init counts as one more process, and some inodes are the layer's own directories. */
const SLACK = 64;
const SETTLED_MS = 300;

export type Answers = Record<string, string>;

export class Attack {
  readonly flashd: Flashd;
  readonly folder = mkdtempSync(join(tmpdir(), 'flashd-escape-'));
  readonly #servers: Server[] = [];
  readonly #setuid = `/usr/local/bin/flashd-escape-${process.pid}`;
  #targets: Record<string, string | number> = {};

  private constructor(flashd: Flashd) {
    this.flashd = flashd;
  }

  static async start(environment: Record<string, string> = {}): Promise<Attack> {
    const attack = new Attack(await Flashd.start({ FLASHD_FUNCTION_STANDBY: '0', FLASHD_FUNCTION_KEEP_WARM_SECONDS: '0', ...environment }));
    try {
      await attack.#prepare();
      return attack;
    } catch (error) {
      await attack.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) server.close();
    rmSync(this.#setuid, { force: true });
    rmSync(this.folder, { recursive: true, force: true });
    await this.flashd.stop();
  }

  /** A function out of these sources; executable: they are one program, compiled as its author would. */
  async deploy(name: string, fill: (directory: string) => void, manifest: object = {}): Promise<void> {
    const directory = join(this.folder, name);
    mkdirSync(directory);
    fill(directory);
    writeFileSync(join(directory, 'function.json'), JSON.stringify({ timeoutMs: 60_000, ...manifest }));
    await this.flashd.cli('deploy', directory);
  }

  get targets(): Readonly<Record<string, string | number>> {
    return this.#targets;
  }

  /** Runs a group of attempts; start: where its instance must have come from; instead: other targets of these names. */
  async attempt(name: string, group: string, start: string, instead: Readonly<Record<string, string | number>> = {}): Promise<Answers> {
    const lines = Object.entries({ ...this.#targets, ...instead }).map(([key, value]) => `${key}=${value}\n`).join('');
    const answer = await this.flashd.http('POST', `/function/${name}/${group}`, { 'content-type': 'text/plain' }, Buffer.from(lines));
    assert.equal(answer.status, 200, `${name} ${group}: ${answer.body.toString()}`);
    assert.equal(startOf(answer), start, `${name} ${group}`);
    const pairs = answer.body.toString().trim().split('\n').map((line) => line.split('\t') as [string, string]);
    assert.equal(new Set(pairs.map(([attempt]) => attempt)).size, pairs.length, 'each attempt is made once');
    return Object.fromEntries(pairs);
  }

  async holds(): Promise<string> {
    const answer: HttpAnswer = await this.flashd.http('GET', '/function/victim/hold');
    return answer.body.toString().trim();
  }

  /** Everybody who was a target is still there: with the same process, answering. */
  async unharmed(): Promise<void> {
    for (const [name, pid] of Object.entries(this.#targets).filter(([, value]) => typeof value === 'number')) {
      if (!/port|pids|descriptors|inodes|MiB/.test(name)) assert.doesNotThrow(() => process.kill(pid as number, 0), `${name} is alive`);
    }
    assert.equal(await this.holds(), 'held');
    assert.equal((await this.flashd.http('GET', '/healthz')).status, 200);
  }

  async #prepare(): Promise<void> {
    const { flashd } = this;
    const canary = join(this.folder, 'canary');
    writeFileSync(canary, 'of the host');
    chmodSync(this.folder, 0o755);
    chmodSync(canary, 0o644);
    await this.#prepareSetuid();

    const abstract = `flashd-escape-${process.pid}`;
    const socketFile = join(this.folder, 'socket');
    await this.#listen({ path: `\0${abstract}` });
    await this.#listen({ path: socketFile });
    const port = await this.#listen({ port: 0, host: '::' });
    const address = Object.values(networkInterfaces()).flat().find((each) => each?.family === 'IPv4' && !each.internal)?.address ?? '127.0.0.1';
    for (const options of [{ path: `\0${abstract}` }, { path: socketFile }, { port, host: address }]) await reached(options);

    await this.deploy('victim', (directory) => cpSync(join(HERE, 'attempts'), directory, { recursive: true }), { keepWarmSeconds: 3600, maxInstances: 1, functionTemplate: 0 });
    assert.equal(await this.holds(), 'held', 'the victim is reachable where it should be');
    const [init, victim] = victimOf(flashd.pid);
    await this.deploy('frozen', (directory) => writeFileSync(join(directory, 'handler.py'), 'def handler(event, context):\n  return 1\n'), { functionTemplate: 1 });
    await flashd.frozen('frozen');
    const sandboxd = member(flashd.pid, isSandboxd).pid;
    const before = templatesOf(flashd.pid);
    await sleep(SETTLED_MS); // a fork looks like its template for a moment
    const templates = templatesOf(flashd.pid).filter((pid) => before.includes(pid));
    assert.ok(templates.length >= 2, 'a language template and a function template');
    this.#targets = {
      'supervisor': flashd.pid, 'sandboxd': sandboxd, 'gateway': member(flashd.pid, isGateway).pid, 'builder': member(flashd.pid, isBuilder).pid,
      'template': templates[0]!, 'function template': templates.at(-1)!, 'victim': victim, "victim's init": init, 'test': process.pid,
      canary, 'state directory': flashd.stateDirectory, 'management socket': join(flashd.stateDirectory, 'flashd.sock'), "victim's file": `/proc/${victim}/root/tmp/victim`,
      '/proc of the gateway': `/proc/${member(flashd.pid, isGateway).pid}/status`, 'setuid': this.#setuid, 'abstract socket': abstract, 'socket file': socketFile, 'port': flashd.port, 'host port': port, 'host address': address,
      'pids': LIMITS.pids + 1, 'descriptors': LIMITS.descriptors + 1, 'inodes': (LIMITS.tmpMb * MIB) / BYTES_PER_INODE + SLACK, 'tmp MiB': LIMITS.tmpMb + 1,
    };
    for (const path of [canary, this.#targets['management socket'], this.#targets["victim's file"], this.#targets['/proc of the gateway']]) assert.doesNotThrow(() => execFileSync('test', ['-e', String(path)]), `${path} is there`);
  }

  /** On the host it makes anybody root. */
  async #prepareSetuid(): Promise<void> {
    copyFileSync('/usr/bin/id', this.#setuid);
    chmodSync(this.#setuid, 0o4755);
    const child = spawn(this.#setuid, ['-u'], { uid: 65534, stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    assert.equal(said.toString().trim(), '0', 'set-user-id works on the host');
  }

  async #listen(options: ListenOptions): Promise<number> {
    const server = createServer((socket) => socket.on('error', () => {}).end());
    this.#servers.push(server);
    await once(server.listen(options), 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }
}

async function reached(options: { path: string } | { port: number; host: string }): Promise<void> {
  const socket = connect(options as { path: string });
  await once(socket, 'connect');
  socket.destroy();
}

/** Python's, of the language and of functions: root of the host, unlike what is forked from them. */
function templatesOf(supervisor: number): number[] {
  return family(supervisor).filter(({ pid, command }) => command.includes('bootstrap.py') && attempted(() => /^Uid:\t0\t/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) === true).map(({ pid }) => pid);
}

/** The init and the instance, as the host sees them: the ones that hold the victim's port, by their network namespace. */
function victimOf(supervisor: number): [number, number] {
  const sandboxd = member(supervisor, isSandboxd).pid;
  const inits = family(supervisor).filter(isInit);
  for (const { pid } of family(supervisor).filter((process) => process.parent === sandboxd && !isInit(process))) {
    const sockets = attempted(() => readFileSync(`/proc/${pid}/net/unix`, 'utf8'));
    if (sockets?.includes('@victim') !== true) continue;
    const own = attempted(() => execFileSync('readlink', [`/proc/${pid}/ns/pid`]).toString());
    const init = inits.find((each) => attempted(() => execFileSync('readlink', [`/proc/${each.pid}/ns/pid`]).toString()) === own);
    if (init !== undefined) return [init.pid, pid];
  }
  throw new Error('the victim is not found');
}

function attempted<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
