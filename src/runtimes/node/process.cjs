'use strict';
/*
 * What a process has of its own and a fork would inherit: Math.random's state, the process id that Node keeps, output streams that were made for the template's descriptors.
 */
const { Writable } = require('node:stream');
const crypto = require('node:crypto');
const fs = require('node:fs');
const { syncBuiltinESMExports } = require('node:module');
const random = require('./random.cjs');

/* lib/internal/crypto/random.js: kCacheSize and kBatchSize */
const INTEGERS_AHEAD = 1024, UUIDS_AHEAD = 128;

const drawing = new Set();

/** stdout and stderr: a write is over when it returns, as Node does it for files; so nothing is lost and nothing is to be flushed. */
class Output extends Writable {
  constructor(fd) {
    super({ decodeStrings: false });
    this.fd = fd;
  }

  _write(chunk, encoding, callback) {
    try {
      if (typeof chunk === 'string') chunk = Buffer.from(chunk, encoding);
      for (let at = 0; at < chunk.length;) at += fs.writeSync(this.fd, chunk, at);
      callback();
    } catch (error) {
      callback(error);
    }
  }

  _destroy(error, callback) {
    callback(error);
  }
}

function own(object, name, value) {
  Object.defineProperty(object, name, { value, configurable: true, enumerable: Object.getOwnPropertyDescriptor(object, name).enumerable, writable: true });
}

/** In the template, once. */
function prepare() {
  random.prepare(own);
  watch('randomInt');
  watch('randomUUID');
  syncBuiltinESMExports();
  own(process, 'stdout', new Output(1));
  own(process, 'stderr', new Output(2));
}

/** At the end of the template: whatever has been drawn or looked up so far is forgotten. */
function forget() {
  random.forget();
  Object.defineProperty(process, 'pid', {
    configurable: true, enumerable: true,
    get() {
      const pid = Number(fs.readlinkSync('/proc/self'));
      own(process, 'pid', pid);
      return pid;
    },
  });
}

/** Node draws for these ahead: their first use is noted, so that a fork can use up what there is. */
function watch(name) {
  const original = crypto[name];
  own(crypto, name, (...values) => {
    drawing.add(name);
    return original(...values);
  });
}

/** In a fork of a function template. */
function renew() {
  forget();
  if (drawing.has('randomInt')) for (let drawn = 0; drawn < INTEGERS_AHEAD; drawn++) crypto.randomInt(2);
  if (drawing.has('randomUUID')) for (let drawn = 0; drawn < UUIDS_AHEAD; drawn++) crypto.randomUUID();
}

module.exports = { prepare, forget, renew };
