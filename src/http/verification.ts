/**
 * `flashd verify NAME`: calls a function with random events and has sandboxd compare, after each restore and before the instance goes on, all of it with its snapshot: memory and registers byte
 * for byte, mappings, descriptors and whatever else the kernel tells. What the function answers does not matter.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { VerifyReply } from '../deploy/management-api.ts';
import { FlashdError } from '../errors/index.ts';
import type { Dispatcher } from '../invocation/dispatcher.ts';
import { invokeLocally } from './local-invocation.ts';

/** Most restores of one call, and how long it may take. */
export const VERIFY_RESTORES_MAX = 10_000;
const VERIFY_MS = 120_000;
const PAUSE_MS = 2;
const BODY_BYTES_MAX = 4096;
const METHODS = ['GET', 'POST', 'PUT', 'DELETE'] as const;

export async function verifyRewinds(dispatcher: Dispatcher, name: string, restores: number, maxBodyBytes: number, signal: AbortSignal): Promise<VerifyReply> {
  const pool = dispatcher.find(name)?.pool;
  if (pool === undefined) throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
  if (pool.spec.requestIsolation !== 'restore') {
    throw new FlashdError('bad_request', { message: `instances of ${name} are not rewound`, hint: 'deploy it with {"requestIsolation": "restore"}' });
  }
  const proof = pool.rewinds.prove();
  let requests = 0;
  try {
    for (const end = performance.now() + VERIFY_MS; proof.proven < restores && proof.failure === undefined && performance.now() < end && !signal.aborted; requests++) {
      if (pool.rewinds.refusal !== undefined) return { requests, restores: proof.proven, failure: pool.rewinds.refusal };
      await invokeLocally(dispatcher, name, randomCall(), maxBodyBytes, signal).catch(() => undefined);
      await sleep(PAUSE_MS);
    }
  } finally {
    pool.rewinds.trust();
  }
  return { requests, restores: proof.proven, failure: proof.failure ?? null };
}

/** Content types with a body that keeps to them: what only refuses garbage has seen little of its code. */
const BODIES: readonly (readonly [type: string, body: () => Buffer])[] = [
  ['application/octet-stream', () => randomBytes(randomInt(BODY_BYTES_MAX))],
  ['text/plain', () => Buffer.from(randomBytes(randomInt(BODY_BYTES_MAX / 2)).toString('hex').replaceAll('0', ' '))],
  ['text/csv', () => Buffer.from(Array.from({ length: 1 + randomInt(20) }, () => `${randomInt(1000)},${randomBytes(6).toString('hex')}`).join('\r\n'))],
  ['application/json', () => Buffer.from(JSON.stringify(Object.fromEntries(Array.from({ length: randomInt(20) }, () => [randomBytes(4).toString('hex'), randomInt(2) === 0 ? randomInt(1000) : [randomBytes(6).toString('hex')]]))))],
];

function randomCall(): Parameters<typeof invokeLocally>[2] {
  const method = METHODS[randomInt(METHODS.length)]!;
  const [type, bodyOf] = BODIES[randomInt(BODIES.length)]!;
  const body = method === 'GET' || method === 'DELETE' ? Buffer.alloc(0) : bodyOf();
  const headers: [string, string][] = [['x-random', randomBytes(8).toString('hex')], ...(body.length > 0 ? [['content-type', type] as [string, string]] : [])];
  return { method, path: `/${randomBytes(randomInt(24)).toString('hex')}`, query: `q=${randomBytes(randomInt(24)).toString('hex')}`, headers, bodyBase64: body.toString('base64') };
}
