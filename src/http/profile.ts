/**
 * Learns the system calls of a function from its traffic: its instances are replaced by ones that tell of each call that they use, until enough requests have been answered or enough time has passed;
 * then they are replaced again. Its own rules and refusals hold meanwhile.
 */
import type { ProfileCall, ProfileReply } from '../deploy/management-api.ts';
import { FlashdError } from '../errors/index.ts';
import { EXEMPT, GROUPS, SYSCALLS, type InterceptionManifest, type SyscallObserver } from '../interception/index.ts';
import type { Dispatcher } from '../invocation/dispatcher.ts';

export const PROFILE_REQUESTS_MAX = 1_000_000;
export const PROFILE_SECONDS_MAX = 86_400;
const DEFAULT_REQUESTS = 20;
/** What is told of the last request's calls is on its way. */
const SETTLE_MS = 250;
const LOOK_MS = 100;

const OWN: ReadonlySet<string> = new Set(GROUPS['self']);

type Parts = { readonly syscalls: SyscallObserver; readonly dispatcher: Dispatcher };

/** signal: nobody waits for the result any more. */
export async function profile({ syscalls, dispatcher }: Parts, name: string, manifest: InterceptionManifest | undefined, call: ProfileCall, signal: AbortSignal): Promise<ProfileReply> {
  const before = answered(dispatcher, name);
  if (!syscalls.beginLearning(name, manifest)) throw new FlashdError('bad_request', { message: `${name} is being profiled already`, hint: 'wait for the other one' });
  const began = performance.now();
  let calls: string[] = [];
  try {
    dispatcher.renew(name);
    const deadline = call.seconds === undefined ? Infinity : began + call.seconds * 1000;
    const wanted = call.requests ?? (call.seconds === undefined ? DEFAULT_REQUESTS : Infinity);
    while (!signal.aborted && performance.now() < deadline && answered(dispatcher, name) - before < wanted) await pause(LOOK_MS);
    await pause(SETTLE_MS);
  } finally {
    calls = syscalls.endLearning(name);
    dispatcher.renew(name);
  }
  return {
    function: name,
    calls,
    allowed: new Set([...calls, ...OWN, ...EXEMPT]).size,
    base: Object.keys(SYSCALLS).length,
    requests: answered(dispatcher, name) - before,
    seconds: Math.round((performance.now() - began) / 100) / 10,
    interception: { ...manifest, enforce: ['self', ...calls.filter((call) => !OWN.has(call))] },
  };
}

function answered(dispatcher: Dispatcher, name: string): number {
  const queue = dispatcher.find(name);
  if (queue === undefined) throw new FlashdError('function_not_found', { message: `there is no function "${name}"` });
  return [...queue.tally.failures.values()].reduce((sum, count) => sum + count, queue.tally.succeeded);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
