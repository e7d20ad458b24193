/** Replaces itself: executing.ts shell|text */
import { openSync, writeSync } from 'node:fs';
import { addon } from './harness.ts';

process.on('SIGUSR2', () => writeSync(1, 'still handled\n'));
if (process.argv[2] === 'shell') {
  const kept = openSync('/etc/hostname', 'r');
  const lost = openSync('/etc/hostname', 'r');
  const script = `echo $$; [ -e /proc/$$/fd/${kept} ] && echo kept; [ -e /proc/$$/fd/${lost} ] || echo lost; grep SigIgn /proc/$$/status; grep SigBlk /proc/$$/status; exit $CODE`;
  writeSync(1, `${process.pid}\n`);
  addon.exec(openSync('/bin/sh', 'r'), ['sh', '-c', script], ['CODE=5', 'PATH=/usr/bin:/bin'], [kept]);
}
try {
  addon.exec(openSync('/etc/hostname', 'r'), ['hostname'], [], []);
} catch (error) {
  const { code, syscall } = error as { code: string; syscall: string };
  writeSync(1, `${code === 'EACCES' ? 'ENOEXEC' : code} ${syscall}\n`);
}
process.kill(process.pid, 'SIGUSR2');
setTimeout(() => {}, 50);
