'use strict';
/* Runs two dummy functions, one that is required and one that is imported, through the very code that instances run, until the interpreter knows it; then forgets them. */
const net = require('node:net');
const path = require('node:path');
const { once } = require('node:events');
const { encodeFrame, TYPE, HEADER_BYTES } = require('./channel.cjs');

const TIMES = 20, REQUESTS = 2;
const ROOT = path.join(__dirname, 'warmup');
const EVENT = JSON.stringify({ version: '2.0', rawPath: '/', headers: { host: 'localhost' }, requestContext: { http: { method: 'GET', path: '/' }, requestId: '0'.repeat(36) } });

function countFrames(bytes) {
  let count = 0;
  for (let at = 0; at + HEADER_BYTES <= bytes.length && at + HEADER_BYTES + bytes.readUInt32LE(at) <= bytes.length; count++) at += HEADER_BYTES + bytes.readUInt32LE(at);
  return count;
}

async function serve(Instance, server, handler, query) {
  const init = `function=warmup\0version=0\0handler=${handler}\0symbol=handler\0memory_bytes=134217728\0timeout_ms=1000\0concurrency=1\0env.LANG=C.UTF-8\0`;
  const accepted = once(server, 'connection');
  let near, ended;
  const end = new Promise((resolve) => (ended = resolve));
  new Instance(ROOT, (options) => (near = net.connect({ path: server.address(), ...options })), ended, undefined, query);
  const [far] = await accepted;
  far.write(Buffer.concat([encodeFrame(TYPE.INIT, 0, 0, init), encodeFrame(TYPE.REQUEST, 1, 1000, EVENT), encodeFrame(TYPE.REQUEST, 2, 1000, EVENT, 'text')]));
  for (let answers = Buffer.alloc(0); countFrames(answers) < REQUESTS;) answers = Buffer.concat([answers, (await once(far, 'data'))[0]]);
  far.end();
  await end;
  near.destroy();
}

async function warm(Instance) {
  const server = net.createServer().listen(path.join(process.env.TMPDIR ?? '/tmp', `warm-${process.pid}`));
  const home = process.cwd();
  await once(server, 'listening');
  for (let i = 0; i < TIMES; i++) {
    await serve(Instance, server, 'handler.cjs', '');
    delete require.cache[path.join(ROOT, 'handler.cjs')];
    await serve(Instance, server, 'handler.mjs', `?${i}`);
  }
  server.close();
  await once(server, 'close');
  process.chdir(home);
}

module.exports = { warm };
