/**
 * What the systems under test share: programs downloaded or compiled once below build/cache/bench, and a temporary directory of this run with the
 * root filesystem that all sandboxes of other systems get. Nothing is installed on the machine; remove() takes the directory away.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { cache, out, root, run, stepIfChanged } from '../../build/steps.ts';
import { makeRootfs } from './rootfs.ts';

const own = join(cache, 'bench');
const source = import.meta.dirname;
const PACKAGES = ['docker.io', 'containerd', 'runc', 'bubblewrap'];

/** Debian's packages, unpacked: none of them is installed or started. */
const debian = join(own, 'debian');
export const DEBIAN_ENVIRONMENT = {
  PATH: ['usr/sbin', 'usr/bin', 'sbin', 'bin'].map(folder => join(debian, folder)).join(':') + ':/usr/sbin:/usr/bin:/sbin:/bin',
  LD_LIBRARY_PATH: join(debian, 'usr/lib/x86_64-linux-gnu'),
};
export const programs = {
  docker: join(debian, 'usr/bin/docker'),
  runc: join(debian, 'usr/sbin/runc'),
  bwrap: join(debian, 'usr/bin/bwrap'),
  firstOutput: join(own, 'first-output'),
  httpClient: join(own, 'http-client'),
  wake: join(own, 'wake'),
  filterCost: join(own, 'filter-cost'),
  filterFiles: join(own, 'filter-files'),
};
export const peers = join(own, 'peers');

export const GREETING = 'Hello, world!';

export class Workspace {
  /** Searchable by everybody, for sandboxes with a user namespace. */
  readonly directory = mkdtempSync(join(tmpdir(), 'flashd-bench-'));
  readonly rootfs = join(this.directory, 'rootfs');

  constructor() {
    chmodSync(this.directory, 0o755);
  }

  async prepare(needs: { readonly debian: boolean; readonly peers: boolean; readonly rootfs: boolean }): Promise<void> {
    mkdirSync(own, { recursive: true });
    for (const name of ['first-output', 'http-client', 'wake']) await compileTool(name);
    if (needs.debian) await unpackPackages();
    if (needs.peers) await installPeers();
    if (needs.rootfs) await makeRootfs(this.rootfs);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A tool that has parts of sandboxd inside, as they were built. */
export async function compileAgainstCore(tool: string): Promise<void> {
  const from = join(source, 'tools', `${tool}.c`), to = join(own, tool), native = join(root, 'native'), core = join(out, 'obj/plain/libflashd.a');
  await stepIfChanged(`bench: compile ${basename(from)}`, to, `${to}.stamp`, [readFileSync(from), readFileSync(core)], async () => {
    await run('gcc', ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE=', `-I${native}/include`, `-I${native}`, '-o', to, from, core, '-lseccomp']);
  });
}

export async function compileTool(tool: string): Promise<void> {
  const from = join(source, 'tools', `${tool}.c`), to = join(own, tool);
  await stepIfChanged(`bench: compile ${basename(from)}`, to, `${to}.stamp`, [readFileSync(from)], async () => {
    await run('gcc', ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE', '-o', to, from]);
  });
}

async function unpackPackages(): Promise<void> {
  await stepIfChanged(`bench: unpack the Debian packages ${PACKAGES.join(' ')}`, debian, `${debian}.stamp`, PACKAGES, async () => {
    const archives = join(own, 'archives');
    mkdirSync(join(archives, 'partial'), { recursive: true });
    const download = () => run('apt-get', [
      'install', '-y', '-qq', '--no-install-recommends', '--download-only', '--reinstall', '-o', `Dir::Cache::archives=${archives}`,
      '-o', 'APT::Sandbox::User=root', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', ...PACKAGES,
    ]);
    // A fresh machine's package lists are empty or stale: they are fetched only when the first try fails.
    await download().catch(async () => {
      await run('apt-get', ['update', '-qq', '-o', 'Acquire::Retries=3']);
      await download();
    });
    rmSync(debian, { recursive: true, force: true });
    await run('sh', ['-c', `for archive in ${archives}/*.deb; do dpkg-deb -x "$archive" ${debian} || exit; done`]);
    rmSync(archives, { recursive: true });
  });
}

async function installPeers(): Promise<void> {
  const files = ['package.json', 'package-lock.json', 'functions-framework.cjs', 'workerd.js', 'workerd.capnp'];
  const inputs = files.map(name => readFileSync(join(source, 'peers', name)));
  await stepIfChanged('bench: install the npm packages to compare with', peers, `${peers}.stamp`, inputs, async () => {
    mkdirSync(peers, { recursive: true });
    for (const name of files) cpSync(join(source, 'peers', name), join(peers, name));
    await run('npm', ['ci', '--prefix', peers, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
  });
}
