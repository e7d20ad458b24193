/**
 * A Debian with its own kernel, emulated by qemu without hardware's help: for what this machine's kernel does not have or has otherwise, such as cgroups of version 2 with their controllers. Four to
 * twenty times slower, so nothing is timed there. It boots, does one job and switches itself off.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cache, run, stepIfChanged } from '../../../build/steps.ts';
import { mirror } from '../../vm/machine.ts';

const RELEASE = 'bookworm';
const PACKAGES = ['systemd', 'systemd-sysv', 'udev', 'dbus', 'curl', 'kmod', 'libstdc++6', 'perl', 'php-cli', 'procps', 'python3', 'ruby', 'linux-image-cloud-amd64'];
const IMAGE_SIZE = '4G';
const MEMORY_MB = 3072, PROCESSORS = 4;
const RUN_TIMEOUT_MS = 30 * 60_000;
/** The job comes on a disk of its own, as a bare tar archive; what it prints goes to the second serial port. */
const UNIT = `[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'exec >/dev/ttyS1 2>&1; tar xf /dev/nvme1n1 -C /root && /root/job.sh'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
`;
const own = join(cache, 'kernel');

async function build(): Promise<{ image: string; kernel: string }> {
  const image = join(own, 'root.ext4'), kernel = join(own, 'vmlinuz');
  mkdirSync(own, { recursive: true });
  await stepIfChanged('soak: make a Debian with its own kernel', image, `${image}.stamp`, [RELEASE, UNIT, IMAGE_SIZE, ...PACKAGES], async () => {
    const root = join(own, 'root');
    rmSync(root, { recursive: true, force: true });
    rmSync(image, { force: true });
    await run('mmdebstrap', ['--quiet', '--variant=minbase', `--include=${PACKAGES.join(',')}`, RELEASE, root, ...mirror()]);
    writeFileSync(join(root, 'etc/systemd/system/job.service'), UNIT);
    await run('chroot', [root, 'systemctl', 'enable', 'job.service']);
    writeFileSync(join(root, 'etc/fstab'), '');
    const boot = join(root, 'boot');
    await run('cp', [join(boot, readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))!), kernel]);
    await run('/sbin/mkfs.ext4', ['-q', '-F', '-O', '^has_journal', '-d', root, image, IMAGE_SIZE]);
    rmSync(root, { recursive: true, force: true });
  });
  return { image, kernel };
}

/** folder: what is in the guest's /root, job.sh among it. Returns what that printed. */
export async function runOnDebiansKernel(folder: string): Promise<string> {
  const { image, kernel } = await build();
  const work = mkdtempSync(join(tmpdir(), 'flashd-kernel-'));
  try {
    const job = join(work, 'job.tar'), output = join(work, 'output'), console = join(work, 'console');
    await run('tar', ['cf', job, '-C', folder, '.']);
    const disk = (file: string, id: string): string[] => ['-drive', `file=${file},format=raw,if=none,id=${id},snapshot=on,cache=unsafe`, '-device', `nvme,serial=${id},drive=${id}`];
    const qemu = spawn('qemu-system-x86_64', [
      // cx16=off: 6.12 fails with it. mitigations=off: there is nobody to be protected from.
      '-machine', 'q35', '-accel', 'tcg,thread=multi,tb-size=256', '-cpu', 'max,cx16=off', '-smp', `${PROCESSORS}`, '-m', `${MEMORY_MB}`, '-display', 'none', '-vga', 'none', '-nodefaults', '-no-reboot',
      '-kernel', kernel, '-append', 'root=/dev/nvme0n1 rw console=ttyS0 panic=-1 mitigations=off', ...disk(image, 'root'), ...disk(job, 'job'), '-serial', `file:${console}`, '-serial', `file:${output}`,
    ], { stdio: 'inherit', timeout: RUN_TIMEOUT_MS, killSignal: 'SIGKILL' });
    const [status] = await once(qemu, 'exit');
    if (status !== 0) throw new Error(`the emulated machine did not end by itself:\n${readFileSync(console, 'utf8').slice(-4000)}`);
    return readFileSync(output, 'utf8').replaceAll('\r', '');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
