/** One way for a process with open channels to end: ending.ts stop|exit|throw|supervisor */
import { addon, events, next, open, request, start } from './harness.ts';

const how = process.argv[2];
const control = await start();
const channels = [open('echo'), open('silent'), open('logFlood')].map(({ channel }) => channel);
for (const channel of channels) request(channel, 1, '{}', [new Uint8Array(4 << 20)]);
await next('response');
console.log(how);
if (how === 'stop') {
  addon.stop();
  addon.stop();
  for (const channel of channels) addon.closeChannel(channel);
  events.length = 0;
  setTimeout(() => process.exit(events.length), 100);
} else if (how === 'exit') {
  for (const channel of channels) request(channel, 2);
  process.exit(0);
} else if (how === 'throw') {
  events.push = () => { throw new Error('thrown in onResponse'); };
} else {
  process.kill(addon.peer(control).pid);
  const { fd } = await next('lifeline');
  await next('controlEnd');
  process.exit(fd === -1 ? 0 : 1);
}
