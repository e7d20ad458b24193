/**
 * A machine with a real systemd as its init, in a systemd-nspawn container on this kernel: boots in under a second, can be rebooted, and shares nothing with
 * its host but the kernel. Its cgroups are version 2, without controllers (the host may hold those in version 1 hierarchies).
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const cache = join(import.meta.dirname, '../../build/cache');
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'curl', 'libstdc++6', 'procps', 'python3'];
const BOOT_TIMEOUT_MS = 60_000;
/** A mirror may be out of reach for a moment. */
const FETCH_TRIES = 3;
const FETCH_PAUSE_S = 10;
/** The host needs no systemd of its own: no registration, no unit, no journal, no machine id. */
const WITHOUT_SYSTEMD = ['--register=no', '--keep-unit', '--link-journal=no'];
/** What nspawn returns when the machine inside asked for a reboot. */
const STATUS_REBOOT = 133;
/** Where the host has its version-2 hierarchy: beside those of version 1, or alone. */
const HIERARCHY = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find(path => existsSync(join(path, 'cgroup.procs')));
/**
 * nspawn arranges cgroups around itself and reads where the host's init stands. It gets a cgroup of our own ($1) as the root of all it sees, and is its own
 * init: so the host's cgroups stay as they are, and so it works inside a container too.
 */
const ENTER = `echo $$ >"$1/cgroup.procs" && shift && exec unshare --cgroup --mount --propagation private --pid --fork --kill-child --mount-proc \\
  /bin/sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' sh "$@"`;

export type Result = { status: number; stdout: string; stderr: string };

/** $0: where the machine's files are to be, and they are made beside it first; the arguments are mmdebstrap's. */
const MAKE_BASE = 'test -d "$0" || { rm -rf "$0.part" && mmdebstrap "$@" && mv "$0.part" "$0"; }';

/** A minimal Debian of the host's release, made once, whoever else wants it at the same time. */
function baseDirectory(): string {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))![1]!;
  const key = createHash('sha256').update(JSON.stringify([release, PACKAGES])).digest('hex').slice(0, 12);
  const base = join(cache, `vm-${key}`);
  mkdirSync(cache, { recursive: true });
  const how = ['--quiet', '--variant=minbase', '--aptopt=Acquire::Retries "3"', `--include=${PACKAGES.join(',')}`, release, `${base}.part`, ...mirror()];
  for (let tries = 1; ; tries++) {
    const made = spawnSync('flock', [`${base}.lock`, 'sh', '-c', MAKE_BASE, base, ...how], { encoding: 'utf8' });
    if (made.status === 0) return base;
    if (tries === FETCH_TRIES) throw new Error(`mmdebstrap, ${tries} times: ${made.error ?? made.stderr}`);
    spawnSync('sleep', [String(FETCH_PAUSE_S)]);
  }
}

/** The host's own mirror, in either format of apt; mmdebstrap's default when there is none. */
export function mirror(): string[] {
  const deb822 = '/etc/apt/sources.list.d/debian.sources';
  const found = existsSync(deb822)
    ? /^URIs:\s*(\S+)/m.exec(readFileSync(deb822, 'utf8'))
    : existsSync('/etc/apt/sources.list') && /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)/m.exec(readFileSync('/etc/apt/sources.list', 'utf8'));
  return found ? [found[1]!] : [];
}

export class Machine implements AsyncDisposable {
  readonly #root: string;
  readonly #cgroup: string;
  #nspawn: ChildProcess | undefined;
  #console = '';

  private constructor(root: string) {
    this.#root = root;
    if (HIERARCHY === undefined) throw new Error('this host has no cgroup version 2 hierarchy');
    this.#cgroup = join(HIERARCHY, `flashd-vm-${process.pid}`);
  }

  static create(): Machine {
    const base = baseDirectory();
    const root = mkdtempSync(join(cache, 'machine-'));
    execFileSync('cp', ['-a', '--reflink=auto', `${base}/.`, root]);
    writeFileSync(join(root, 'etc/machine-id'), '');
    return new Machine(root);
  }

  /** What systemd printed so far: for the message of a failed assertion. */
  get console(): string {
    return this.#console;
  }

  /** A path inside the machine, as the host sees it. */
  path(inside: string): string {
    return join(this.#root, inside);
  }

  put(source: string, inside: string): void {
    mkdirSync(dirname(this.path(inside)), { recursive: true });
    cpSync(source, this.path(inside), { recursive: true });
  }

  async boot(): Promise<void> {
    mkdirSync(this.#cgroup, { recursive: true });
    const nspawn = ['systemd-nspawn', '-q', '-D', this.#root, '--boot', '--capability=all', '--private-network', '--console=pipe', ...WITHOUT_SYSTEMD];
    this.#nspawn = spawn('/bin/sh', ['-c', ENTER, 'sh', this.#cgroup, ...nspawn], {
      // Its default seccomp filter blocks seccomp's own user notification; its default read-only /proc/sys would forbid a fresh /proc in a sandbox.
      env: { PATH: process.env['PATH'], SYSTEMD_SECCOMP: '0', SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1', SYSTEMD_NSPAWN_API_VFS_WRITABLE: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#nspawn.stdout!, this.#nspawn.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => { this.#console += text; });
    for (const end = Date.now() + BOOT_TIMEOUT_MS; Date.now() < end; await sleep(50)) {
      if (this.#nspawn.exitCode !== null) break;
      // "degraded": some unit of the base does not suit a container; ours are asked about one by one.
      if (this.#init() !== undefined && /^(running|degraded)/.test(this.run('systemctl', 'is-system-running').stdout)) return;
    }
    throw new Error(`the machine does not boot:\n${this.#console}`);
  }

  /** Runs a command inside, as root, in all of init's namespaces. */
  run(...command: string[]): Result {
    const init = this.#init();
    if (init === undefined) return { status: 111, stdout: '', stderr: 'the machine is down' };
    const result = spawnSync('nsenter', ['-t', String(init), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w', '--', ...command], {
      encoding: 'utf8',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' },
    });
    return { status: result.status ?? 111, stdout: result.stdout ?? '', stderr: result.stderr ?? String(result.error) };
  }

  /** Through systemd, as an administrator's `reboot` would. */
  async reboot(): Promise<void> {
    const ended = once(this.#nspawn!, 'exit');
    this.run('systemctl', '--no-block', 'reboot');
    const [status] = await ended;
    if (status !== STATUS_REBOOT) throw new Error(`the machine ended with ${status} instead of rebooting:\n${this.#console}`);
    await this.boot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#nspawn && this.#nspawn.exitCode === null && this.#nspawn.signalCode === null) {
      const ended = once(this.#nspawn, 'exit');
      const init = this.#init();
      // The death of a pid namespace's init ends everything in it.
      if (init !== undefined) process.kill(init, 'SIGKILL');
      else this.#nspawn.kill('SIGKILL');
      await ended;
    }
    removeCgroups(this.#cgroup);
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** Host pid of the machine's init, once it has become systemd: unshare's child is nspawn, and its child is the machine. */
  #init(): number | undefined {
    const nspawn = childOf(this.#nspawn?.pid);
    const init = childOf(nspawn);
    return init !== undefined && readFileSync(`/proc/${init}/comm`, 'utf8').trim() === 'systemd' ? init : undefined;
  }
}

function childOf(pid: number | undefined): number | undefined {
  if (pid === undefined || !existsSync(`/proc/${pid}`)) return undefined;
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  return child ? Number(child) : undefined;
}

function removeCgroups(top: string): void {
  if (!existsSync(top)) return;
  const below = execFileSync('find', [top, '-mindepth', '1', '-depth', '-type', 'd'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  for (const path of [...below, top]) rmdirSync(path);
}
