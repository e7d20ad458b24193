'use strict';
/*
 * The Node runtime's shim: boots once as a template, warms its own request loop, writes READY and waits in the event loop for descriptor 3. Every instance is a fork that
 * wakes up there and reads INIT and REQUEST frames (native/include/flashd/frame.h is the protocol). The time from INIT to the first response is the cold start: the path is
 * short, synchronous where Node allows it, and has run in the template before.
 * usage: bootstrap.cjs FUNCTION_DIRECTORY
 */
const net = require('node:net');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const v8 = require('node:v8');
const vm = require('node:vm');
const { Channel, TYPE, FAULT, BODY_BINARY } = require('./channel.cjs');
const { eagerly } = require('./eager.cjs');
const { Context, decode, encode, describe } = require('./payload.cjs');
const { prepare, forget, renew } = require('./process.cjs');
const { warm } = require('./warm.cjs');

/* What functions import most is there when they do. */
const PRELOAD = ['assert', 'async_hooks', 'child_process', 'crypto', 'dns', 'events', 'fs/promises', 'http', 'https', 'os', 'querystring', 'stream/promises', 'string_decoder',
  'timers/promises', 'tls', 'util', 'zlib'];

class Instance {
  #root;
  #channel;
  #config;
  #handler;
  #failure;
  #waiting;  // requests that came while the handler was being imported
  #loadUs = 0;
  #unanswered = new Set();

  constructor(root, open, onEnd, fd) {
    this.#root = root;
    this.#channel = new Channel(open, (header, meta, body) => this.#take(header, meta, body), onEnd, fd);
  }

  ready() {
    this.#channel.send(TYPE.READY, 0, 0);
  }

  /** The end of the process that nobody has caught: every request gets an answer. */
  abandon(fault, meta) {
    for (const id of this.#unanswered) this.#fail(id, fault, meta, 0);
  }

  #take(header, meta, body) {
    if (header.type === TYPE.INIT) return this.#start(header, meta);
    this.#unanswered.add(header.id);
    const event = decode(meta, body, (header.flags & BODY_BINARY) !== 0);
    if (this.#waiting) this.#waiting.push([header, event]);
    else this.#answer(header, event);
  }

  #start(header, meta) {
    const started = performance.now();
    if (this.#handler || this.#failure) {  // in a fork of a function template it is loaded, and the rest is as this INIT says
      renew();
      this.#restored();
      this.#loadUs = Math.max(1, Math.round((performance.now() - started) * 1000));
      return;
    }
    const config = {};
    for (const item of meta.toString().split('\0')) {
      const equals = item.indexOf('='), key = item.slice(0, equals);
      if (key.startsWith('env.')) process.env[key.slice(4)] = item.slice(equals + 1);
      else config[key] = item.slice(equals + 1);
    }
    this.#config = config;
    process.chdir(this.#root);
    try {
      const file = path.join(this.#root, config.handler), module = header.next === TYPE.PING || header.next === TYPE.FREEZE ? eagerly(file, load) : load(file);
      if (!(module instanceof Promise)) return this.#loaded(module, started);
      this.#waiting = [];
      module.then((imported) => this.#loaded(imported, started), (error) => this.#unloadable(error, this.#waiting.length === 0, started));
    } catch (error) {
      this.#unloadable(error, header.last, started);
    }
  }

  #restored() {
    try {
      process.emit('afterRestore');
    } catch (error) {
      this.#failure = [FAULT.LOAD, describe(error, __dirname)];
    }
  }

  #loaded(module, started) {
    const { handler, symbol } = this.#config;
    this.#handler = module[symbol];
    if (typeof this.#handler !== 'function') this.#failure = [FAULT.NO_HANDLER, describe(new Error(`${handler} exports no function ${symbol}`), __dirname)];
    this.#proceed(started);
  }

  #unloadable(error, nobodyAsked, started) {
    const missing = error?.code === 'MODULE_NOT_FOUND' ? error.requireStack?.[0] === __filename : error?.code === 'ERR_MODULE_NOT_FOUND' && error.url?.endsWith(this.#config.handler);
    this.#failure = [missing ? FAULT.NO_HANDLER : FAULT.LOAD, describe(error, __dirname)];
    if (nobodyAsked) this.#fail(0, ...this.#failure, 0);  // a request that comes nevertheless is told the same
    this.#proceed(started);
  }

  #proceed(started) {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.#loadUs = Math.max(1, Math.round((performance.now() - started) * 1000));
    for (const [header, event] of waiting) this.#answer(header, event);
  }

  #answer({ id, type, aux }, event) {
    if (this.#failure) return this.#fail(id, ...this.#failure, 0);
    const started = performance.now();
    const failed = (error) => this.#fail(id, FAULT.CALL, describe(error, __dirname), started);
    try {
      if (type === TYPE.FREEZE) process.emit('beforeSnapshot');
      const context = new Context(this.#config, event.requestContext.requestId, aux);
      if (type !== TYPE.REQUEST) return this.#respond(id, event, started);  // a ping goes all the way but through the handler
      const result = this.#call(event, context);
      if (typeof result?.then !== 'function') this.#respond(id, result, started);
      else Promise.resolve(result).then((value) => this.#respond(id, value, started), failed);
    } catch (error) {
      failed(error);
    }
  }

  /** A handler with a third parameter may call that back instead of returning a promise. */
  #call(event, context) {
    if (this.#handler.length < 3) return (0, this.#handler)(event, context);
    return new Promise((resolve, reject) => {
      const result = (0, this.#handler)(event, context, (error, value) => (error === null || error === undefined ? resolve(value) : reject(error)));
      if (typeof result?.then === 'function') resolve(result);
    });
  }

  #respond(id, result, started) {
    const handlerUs = Math.round((performance.now() - started) * 1000);
    let response;
    try {
      response = encode(result);
    } catch (error) {
      return this.#fail(id, FAULT.RESPONSE, describe(error, __dirname), started);
    }
    if (this.#unanswered.delete(id)) this.#channel.send(TYPE.RESPONSE, id, ...response, this.#told(), handlerUs);
  }

  #fail(id, fault, meta, started) {
    const handlerUs = started && Math.round((performance.now() - started) * 1000);
    if (this.#unanswered.delete(id) || id === 0) this.#channel.send(TYPE.ERROR, id, fault, meta, '', this.#told(), handlerUs);
  }

  /** The time of loading is told once. */
  #told() {
    const loadUs = this.#loadUs;
    this.#loadUs = 0;
    return loadUs;
  }
}

/** A module, or the promise of one that can only be imported: on top-level await, or because this Node cannot require ES modules. require() waits for no other thread. */
function load(file) {
  try {
    return require(file);
  } catch (error) {
    if (error?.code !== 'ERR_REQUIRE_ESM' && error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
  }
  return import(pathToFileURL(file).href);
}

/** Twice: what the first finds unreachable may have kept more alive. The function does not see gc. */
function collect() {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  gc();
  gc();
}

async function main(root) {
  v8.setFlagsFromString('--no-flush-bytecode');
  delete process.env.GLIBC_TUNABLES;  // it was this process's own
  prepare();
  for (const name of PRELOAD) require(`node:${name}`);
  await warm(Instance);
  const instance = new Instance(root, (options) => new net.Socket({ fd: 3, ...options }), () => process.exit(0), 3);
  process.on('exit', (code) => instance.abandon(FAULT.EXIT, `exit\0the process was asked to exit with status ${code}\0\0`));
  process.on('uncaughtExceptionMonitor', (error) => {
    if (process.listenerCount('uncaughtException') === 0) instance.abandon(FAULT.CALL, describe(error, __dirname));
  });
  collect();
  forget();
  setImmediate(() => instance.ready());
}

main(process.argv[2]);
