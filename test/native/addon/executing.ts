/** Replaces itself: executing.ts shell|text */
import { openSync, writeSync } from 'node:fs';
import { addon } from './harness.ts';

process.on('SIGUSR2', () => writeSync(1, 'still handled\n'));
if (process.argv[2] === 'shell') {
  const kept = openSync('/etc/hostname', 'r');
  const lost = openSync('/etc/hostname', 'r');
  // Builtins only: while the shell waits for a child it blocks signals itself.
  const script = `cd /proc/$$; echo $$; [ -e fd/${kept} ] && echo kept; [ -e fd/${lost} ] || echo lost
    while read -r name value; do case $name in SigIgn:|SigBlk:) echo "$name $value";; esac; done < status; exit $CODE`;
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
