/** What function.json says of system calls, checked and made into what sandboxd takes: an entry for each call (native/include/flashd/intercept.h). */
import { constants } from 'node:os';
import { EgressProblem, parseRules } from '../config/index.ts';
import { nearest } from '../errors/nearest.ts';
import { EXEMPT, GROUPS, SYSCALLS } from './syscalls.ts';

export type InterceptionManifest = {
  /** Calls or groups: carried out, and told. */
  readonly audit?: readonly string[];
  /** Calls or groups: refused, with EPERM or with the errno beside the name. */
  readonly deny?: readonly string[] | Readonly<Record<string, string>>;
  readonly allow?: {
    readonly connect?: readonly string[];
    readonly read?: readonly string[];
    readonly write?: readonly string[];
    readonly exec?: readonly string[];
  };
  /** The only calls that are carried out. */
  readonly enforce?: readonly string[];
  /** False: what deny and enforce refuse is not told, and costs no more than any refusal. */
  readonly log?: boolean;
};

export type InterceptionPolicy = {
  readonly learn: boolean;
  readonly calls: Uint16Array;
  readonly connects: readonly { readonly address: number; readonly prefix: number; readonly port: number }[];
  readonly paths: readonly { readonly path: string; readonly kind: 'read' | 'write' | 'execute' }[];
};

/** What is wrong is the message. */
export class InterceptionProblem extends Error {}

/** FL_INTERCEPT_CALLS, enum fl_intercept_entry */
const CALLS = 464;
const DENY = 1;
const RULE = 2;
const VERDICT = 3;
const LOG = 4;
const ERRNO_SHIFT = 4;
const PATHS_MAX = 32;
const PATHS_BYTES_MAX = 2048;
const CONNECTS_MAX = 32;

const { EPERM, EACCES, ENOSYS } = constants.errno;

export function compile({ audit = [], deny = [], allow = {}, enforce, log = true }: InterceptionManifest): InterceptionPolicy {
  const calls = new Uint16Array(CALLS);
  const told = log ? LOG : 0;
  if (enforce !== undefined) {
    const listed = new Set(expand(enforce));
    for (const [name, number] of Object.entries(SYSCALLS)) if (!listed.has(name) && !EXEMPT.has(name)) calls[number] = refusal(EPERM) | told;
  }
  const rule = (names: readonly string[], entry: number): void => {
    for (const name of names) if ((calls[SYSCALLS[name]!]! & VERDICT) !== DENY) calls[SYSCALLS[name]!] = entry;
  };
  if (allow.connect !== undefined) {
    rule(['connect', 'sendto'], RULE | (EACCES << ERRNO_SHIFT));
    // An address in memory cannot be judged without a race: who sends without a connection uses sendto, of which the kernel tells whether there is one.
    rule(['sendmsg'], refusal(EACCES) | LOG);
    rule(['sendmmsg'], refusal(ENOSYS));
  }
  if (allow.read !== undefined || allow.write !== undefined) {
    rule(['open', 'openat', 'creat'], RULE | (EACCES << ERRNO_SHIFT));
    rule(['truncate'], refusal(EACCES) | LOG);
    // Libraries fall back to openat.
    rule(['openat2'], refusal(ENOSYS));
  }
  if (allow.exec !== undefined) rule(['execve', 'execveat'], RULE | (EACCES << ERRNO_SHIFT));
  for (const name of expand(audit)) if ((calls[SYSCALLS[name]!]! & VERDICT) !== DENY) calls[SYSCALLS[name]!]! |= LOG;
  for (const [name, errno] of Array.isArray(deny) ? deny.map((each: string) => [each, 'EPERM'] as const) : Object.entries(deny)) {
    for (const each of expand([name])) calls[SYSCALLS[each]!] = refusal(errnoOf(errno as string)) | told;
  }
  return { learn: false, calls, connects: connectsOf(allow.connect ?? []), paths: pathsOf(allow) };
}

const refusal = (errno: number): number => DENY | (errno << ERRNO_SHIFT);

function errnoOf(name: string): number {
  const value = (constants.errno as Readonly<Record<string, number>>)[name];
  if (value === undefined || !/^E[A-Z0-9]+$/.test(name)) throw new InterceptionProblem(`${JSON.stringify(name)} is not the name of an errno, such as "EPERM"`);
  return value;
}

function expand(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const calls = Object.hasOwn(GROUPS, name) ? GROUPS[name]! : [name];
    if (Object.hasOwn(GROUPS, name) || (Object.hasOwn(SYSCALLS, name) && !EXEMPT.has(name))) return calls;
    if (EXEMPT.has(name)) throw new InterceptionProblem(`${name} cannot be intercepted: no instance comes about or ends without it`);
    const meant = nearest(name, [...Object.keys(SYSCALLS), ...Object.keys(GROUPS)]);
    throw new InterceptionProblem(`${JSON.stringify(name)} is neither a system call that functions have nor one of the groups ${Object.keys(GROUPS).join(', ')}${meant === undefined ? '' : `; did you mean "${meant}"?`}`);
  });
}

function connectsOf(entries: readonly string[]): InterceptionPolicy['connects'] {
  if (entries.length > CONNECTS_MAX) throw new InterceptionProblem(`allow.connect has more than ${CONNECTS_MAX} addresses`);
  try {
    return parseRules(entries);
  } catch (error) {
    if (error instanceof EgressProblem) throw new InterceptionProblem(`allow.connect: ${error.message}`);
    throw error;
  }
}

function pathsOf({ read = [], write = [], exec = [] }: NonNullable<InterceptionManifest['allow']>): InterceptionPolicy['paths'] {
  const paths = [
    ...read.map((path) => ({ path, kind: 'read' as const })),
    ...write.map((path) => ({ path, kind: 'write' as const })),
    ...exec.map((path) => ({ path, kind: 'execute' as const })),
  ];
  for (const { path } of paths) {
    if (!/^\/$|^(\/[^/\0]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
      throw new InterceptionProblem(`${JSON.stringify(path)} is not an absolute path without ".", ".." and a slash at its end`);
    }
  }
  if (paths.length > PATHS_MAX) throw new InterceptionProblem(`allow has more than ${PATHS_MAX} paths`);
  if (paths.reduce((sum, { path }) => sum + Buffer.byteLength(path) + 1, 0) > PATHS_BYTES_MAX) throw new InterceptionProblem(`allow's paths take more than ${PATHS_BYTES_MAX} bytes`);
  return paths;
}

/** What learns: of all calls that nothing else is said about, each instance tells which it has used, but for those that are known. Rules and refusals stay, and what is enforced is not. */
export function learning(manifest: InterceptionManifest | undefined): InterceptionPolicy {
  const { enforce: _, ...rest } = manifest ?? {};
  const policy = compile(rest);
  for (const [name, number] of Object.entries(SYSCALLS)) if (!EXEMPT.has(name)) policy.calls[number]! |= (policy.calls[number]! & VERDICT) === 0 ? LOG : 0;
  return { ...policy, learn: true };
}

/** From now on instances need not tell of it. */
export function learnt(policy: InterceptionPolicy, number: number): void {
  if (number < CALLS && (policy.calls[number]! & VERDICT) === 0) policy.calls[number] = 0;
}
