'use strict';
/*
 * Math.random, in the main context and in those of node:vm. V8's own generators cannot be reseeded, and a new context's is seeded from one that all forks share; these are seeded from
 * the system's, when an instance first asks or makes a context.
 */
const crypto = require('node:crypto');
const vm = require('node:vm');

/** xoshiro128**, 53 bits of two steps. Stands alone: a context gets its source, since a function of ours would lead out of it. */
function generator(...seed) {
  const state = new Uint32Array(seed);
  const step = () => {
    const [, second] = state, times5 = Math.imul(second, 5), result = Math.imul((times5 << 7) | (times5 >>> 25), 9), shifted = second << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = (state[3] << 11) | (state[3] >>> 21);
    return result;
  };
  return function random() {
    return ((step() >>> 5) * 0x4000000 + (step() >>> 6)) / 0x20000000000000;
  };
}

const seeds = () => crypto.randomFillSync(new Uint32Array(4));

let draw;

function random() {
  draw ??= generator(...seeds());
  return draw();
}

const { createContext } = vm;
const contexts = new Set();  // WeakRefs of the contexts' objects
const made = new WeakMap();  // a context's object: its Math.random, as we made it
const registry = new FinalizationRegistry((reference) => contexts.delete(reference));

function randomize(context) {
  made.set(context, vm.runInContext(`Math.random = (${generator})(${seeds()})`, context));
}

function newContext(...options) {
  const context = createContext(...options);
  if (typeof context !== 'object' || made.has(context)) return context;
  const reference = new WeakRef(context);
  contexts.add(reference);
  registry.register(context, reference);
  randomize(context);
  return context;
}

function runInNewContext(code, object, options) {
  const { contextName: name, contextOrigin: origin, contextCodeGeneration: codeGeneration, microtaskMode } = options ?? {};
  const given = Object.entries({ name, origin, codeGeneration, microtaskMode }).filter(([, value]) => value !== undefined);
  const context = newContext(object, Object.fromEntries(given));
  return code instanceof vm.Script ? code.runInContext(context, options) : vm.runInContext(code, context, options);
}

/** In the template, once. own replaces a property. */
function prepare(own) {
  own(Math, 'random', random);
  own(vm, 'createContext', newContext);
  own(vm, 'runInNewContext', runInNewContext);
  own(vm.Script.prototype, 'runInNewContext', function (object, options) {
    return runInNewContext(this, object, options);
  });
}

/** At the end of a template, and in its forks. */
function forget() {
  draw = undefined;
  for (const reference of contexts) {
    const context = reference.deref();
    if (context !== undefined && vm.runInContext('Math.random', context) === made.get(context)) randomize(context);
  }
}

module.exports = { prepare, forget };
