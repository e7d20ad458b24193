'use strict';
/*
 * Loads a function that nobody is waiting for with all its code compiled, where V8 would compile each function when it is first called: in the first request. Only small ones of
 * one file: what packages bring is mostly never called.
 */
const fs = require('node:fs');
const path = require('node:path');
const v8 = require('node:v8');

const FILE_BYTES_MAX = 1 << 20;

const isSmall = (file) => (fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) <= FILE_BYTES_MAX && !fs.existsSync(path.join(path.dirname(file), 'node_modules'));

function eagerly(file, load) {
  if (!isSmall(file)) return load(file);
  v8.setFlagsFromString('--no-lazy');
  try {
    return load(file);
  } finally {
    v8.setFlagsFromString('--lazy');
  }
}

module.exports = { eagerly };
