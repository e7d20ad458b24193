/**
 * A Docker daemon of the benchmark's own. It runs in mount, network and pid namespaces of its own with /etc, /opt and /run overlaid, so that its mounts, keys,
 * links and processes are gone with the one process that is killed to stop it; that process dies with the benchmark. What is left to remove are its cgroups.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, openSync, closeSync, readFileSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEBIAN_ENVIRONMENT, programs, type Workspace } from '../workspace.ts';
import { output } from './program.ts';

const CGROUP = 'flashd-bench-docker';
const READY_MS = 20_000;
const IMAGE = 'hello';

export class DockerDaemon {
  readonly #workspace: Workspace;
  readonly #directory: string;
  #process: ChildProcess | undefined;
  /** Systems that have started it and not stopped it. */
  #users = 0;

  constructor(workspace: Workspace) {
    this.#workspace = workspace;
    this.#directory = join(workspace.directory, 'docker');
  }

  /** What comes before the subcommand. */
  get client(): readonly string[] {
    return [programs.docker, '--host', this.#host];
  }

  /** Until the first stop(): each start needs one. */
  async start(): Promise<void> {
    if (this.#users++ > 0) return;
    for (const folder of ['etc', 'opt', 'run']) for (const layer of ['upper', 'work']) mkdirSync(join(this.#directory, folder, layer), { recursive: true });
    const log = openSync(join(this.#directory, 'log'), 'w');
    // The death signal first: it outlives exec, not fork.
    this.#process = spawn('setpriv', [
      '--pdeathsig', 'KILL', 'unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-ec', this.#script(),
    ], { env: DEBIAN_ENVIRONMENT, stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    await this.#ready();
    await output('sh', ['-ec', `tar -c -C '${this.#workspace.rootfs}' . | '${programs.docker}' --host '${this.#host}' import - ${IMAGE}`]);
  }

  async stop(): Promise<void> {
    if (this.#users === 0 || --this.#users > 0) return;
    const ended = new Promise(resolve => this.#process!.once('close', resolve));
    if (this.#process!.exitCode === null && this.#process!.signalCode === null) {
      this.#process!.kill('SIGKILL');
      await ended;
    }
    await removeCgroups(CGROUP);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** The filter of a container that was started without any option about it. */
  async defaultSeccomp(): Promise<unknown> {
    await this.start();
    try {
      const id = (await this.#run(['run', '--detach', '--network', 'none', IMAGE, '/usr/bin/python3', '-c', 'import time; time.sleep(60)'])).trim();
      const bundle = join(this.#directory, 'exec/containerd/daemon/io.containerd.runtime.v2.task/moby', id, 'config.json');
      const { linux } = JSON.parse(readFileSync(bundle, 'utf8')) as { linux: { seccomp: unknown } };
      await this.#run(['rm', '--force', id]);
      return linux.seccomp;
    } finally {
      await this.stop();
    }
  }

  get #host(): string {
    return `unix://${this.#directory}/docker.sock`;
  }

  #run(args: readonly string[]): Promise<string> {
    const [command, ...rest] = [...this.client, ...args];
    return output(command!, rest);
  }

  #script(): string {
    const at = (path: string) => `'${join(this.#directory, path)}'`;
    const overlay = (folder: string) => `mount -t overlay -o lowerdir=/${folder},upperdir=${at(`${folder}/upper`)},workdir=${at(`${folder}/work`)} overlay /${folder}`;
    const daemon = [
      'dockerd', '--host', `'${this.#host}'`, '--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('docker.pid'), '--cgroup-parent', `/${CGROUP}`,
      '--iptables=false', '--ip6tables=false', '--ip-masq=false', '--ip-forward=false', '--bridge=none', '--log-level=warn',
    ];
    return [...['etc', 'opt', 'run'].map(overlay), `exec docker-init -- ${daemon.join(' ')}`].join('\n');
  }

  async #ready(): Promise<void> {
    for (const end = Date.now() + READY_MS; Date.now() < end; await sleep(100)) {
      if (this.#process!.exitCode !== null || this.#process!.signalCode !== null) break;
      if (existsSync(join(this.#directory, 'docker.sock')) && await this.#run(['version']).then(() => true, () => false)) return;
    }
    const log = readFileSync(join(this.#directory, 'log'), 'utf8');
    await this.stop();
    throw new Error(`dockerd did not become ready:\n${log.slice(-4000)}`);
  }
}

/** In every hierarchy, from the leaves up. A cgroup stays busy for a moment after its last process. */
export async function removeCgroups(name: string): Promise<void> {
  const base = '/sys/fs/cgroup';
  const hierarchies = existsSync(join(base, 'cgroup.controllers')) ? [base] : readdirSync(base).map(entry => join(base, entry));
  for (const directory of new Set(hierarchies.map(hierarchy => join(hierarchy, name)))) {
    for (let attempt = 0; existsSync(directory); attempt++) {
      try {
        removeTree(directory);
      } catch (error) {
        if (attempt === 50) throw error;
        await sleep(20);
      }
    }
  }
}

function removeTree(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(directory, entry.name));
  rmdirSync(directory);
}
