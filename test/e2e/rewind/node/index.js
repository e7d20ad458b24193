const fs = require('node:fs');

let kept = null;
const PLACES = {
  variable: [() => { kept = 'kept'; }, () => kept],
  global: [() => { globalThis.kept = 'kept'; }, () => globalThis.kept ?? null],
  prototype: [() => { Array.prototype.kept = 'kept'; }, () => [].kept ?? null],
  environment: [() => { process.env.KEPT = 'kept'; }, () => process.env.KEPT ?? null],
  memory: [() => { globalThis.much = Array.from({ length: 64 }, () => Buffer.alloc(1 << 20, 'kept')); }, () => globalThis.much?.length ?? null],
  code: [() => { let sum = 0; const add = (by) => { sum += by; }; for (let i = 0; i < 2e6; i++) add(i); globalThis.sum = sum; }, () => globalThis.sum ?? null],
  file: [async () => { await fs.promises.mkdir('/tmp/kept'); await fs.promises.writeFile('/tmp/kept/file', 'kept'); }, () => (fs.existsSync('/tmp/kept') ? 'kept' : null)],
  descriptor: [() => { globalThis.fd = fs.openSync('/tmp', 'r'); }, () => fs.readdirSync('/proc/self/fd').map(Number).filter((fd) => { try { return fs.readlinkSync(`/proc/self/fd/${fd}`) === '/tmp'; } catch { return false; } })[0] ?? null],
  timer: [() => { globalThis.timer = setInterval(() => fs.writeFileSync('/tmp/beat', ''), 1); }, () => (fs.existsSync('/tmp/beat') ? 'kept' : null)],
  signal: [() => { process.on('SIGUSR2', () => {}); }, () => process.listenerCount('SIGUSR2') || null],
  shared: [() => { fs.writeFileSync('/dev/shm/kept', ''); }, () => (fs.existsSync('/dev/shm/kept') ? 'kept' : null)],
  umask: [() => { process.umask(0o70); }, () => (process.umask(0o22) === 0o70 ? 'kept' : null)],
  title: [() => { process.title = 'kept'; }, () => (process.title === 'kept' ? 'kept' : null)],
  directory: [() => { process.chdir('/usr'); }, () => (process.cwd() === '/function' ? null : process.cwd())],
};

exports.handler = async ({ rawPath }) => {
  const [, what, place] = rawPath.split('/');
  if (what === 'list') return Object.keys(PLACES);
  const [hide, find] = PLACES[place];
  if (what === 'hide') await hide();
  return { pid: process.pid, found: what === 'hide' ? null : find() };
};
