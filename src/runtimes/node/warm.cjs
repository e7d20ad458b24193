'use strict';
/* Runs two dummy functions, a CommonJS and an ES module, through the very code that instances run, until the interpreter knows it; then forgets them. */
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { encodeFrame, TYPE, HEADER_BYTES } = require('./channel.cjs');

const TIMES = 20, REQUESTS = 2;
const EVENT = JSON.stringify({ version: '2.0', rawPath: '/', headers: { host: 'localhost' }, requestContext: { http: { method: 'GET', path: '/' }, requestId: '0'.repeat(36) } });

function countFrames(bytes) {
  let count = 0;
  for (let at = 0; at + HEADER_BYTES <= bytes.length && at + HEADER_BYTES + bytes.readUInt32LE(at) <= bytes.length; count++) at += HEADER_BYTES + bytes.readUInt32LE(at);
  return count;
}

async function serve(Instance, server, root, handler) {
  const init = `function=warmup\0version=0\0handler=${handler}\0symbol=handler\0memory_bytes=134217728\0timeout_ms=1000\0concurrency=1\0env.LANG=C.UTF-8\0`;
  const accepted = once(server, 'connection');
  let near, ended;
  const end = new Promise((resolve) => (ended = resolve));
  new Instance(root, (options) => (near = net.connect({ path: server.address(), ...options })), ended);
  const [far] = await accepted;
  far.write(Buffer.concat([encodeFrame(TYPE.INIT, 0, 0, init), encodeFrame(TYPE.REQUEST, 1, 1000, EVENT), encodeFrame(TYPE.REQUEST, 2, 1000, EVENT, 'text')]));
  for (let answers = Buffer.alloc(0); countFrames(answers) < REQUESTS;) answers = Buffer.concat([answers, (await once(far, 'data'))[0]]);
  far.end();
  await end;
  near.destroy();
}

/** Each time from files of other names: what has been loaded once is not loaded again. */
async function warm(Instance) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'warm-')), home = process.cwd();
  const server = net.createServer().listen(path.join(root, 'socket'));
  await once(server, 'listening');
  for (let i = 0; i < TIMES; i++) {
    for (const kind of ['cjs', 'mjs']) {
      const handler = `${i}.${kind}`, file = path.join(root, handler);
      fs.copyFileSync(path.join(__dirname, `warmup/handler.${kind}`), file);
      await serve(Instance, server, root, handler);
      delete require.cache[file];
    }
  }
  server.close();
  await once(server, 'close');
  process.chdir(home);
  fs.rmSync(root, { recursive: true });
}

module.exports = { warm };
