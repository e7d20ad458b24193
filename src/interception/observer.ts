/**
 * Hears of system calls: counts them by function, call and verdict, writes them into the functions' logs, and gives what is being learnt to whoever learns. The numbers of a removed function go with it.
 */
import { constants } from 'node:os';
import { type InterceptionManifest, type InterceptionPolicy, learning, learnt } from './policy.ts';
import { EXEMPT, SYSCALLS, syscallName } from './syscalls.ts';

/** As sandbox/interception.ts tells them. */
export type SyscallReport = {
  readonly number: number;
  readonly verdict: 'audited' | 'denied' | 'allowed' | 'seen';
  readonly errno: number;
  readonly pid: number;
  readonly dropped: number;
  readonly denied: number;
  readonly arguments: readonly bigint[];
  readonly detail: string;
};

/** In a function's log. */
export type SyscallEntry = {
  readonly call: string;
  readonly verdict: 'audited' | 'denied' | 'allowed';
  readonly errno?: string;
  readonly pid: number;
  /** Hexadecimal, as the registers held them. */
  readonly arguments: readonly string[];
  /** The path or address that it names. */
  readonly detail?: string;
  /** How many before it were too many to be told. */
  readonly dropped?: number;
};

type Labels = { readonly function: string; readonly version: string; readonly instance: number; readonly invocation: string };

/** Different calls and verdicts of one function that are counted apart; the others are counted as "other". */
const SERIES_MAX = 64;

export class SyscallObserver {
  readonly #write: (labels: Labels, message: string, entry: SyscallEntry) => void;
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #learners = new Map<string, Learner>();

  constructor(write: (labels: Labels, message: string, entry: SyscallEntry) => void) {
    this.#write = write;
  }

  syscall(labels: Labels, report: SyscallReport): void {
    const learner = this.#learners.get(labels.function);
    if (report.verdict !== 'denied') learner?.saw(report.number);
    if (report.verdict === 'seen') return;
    const call = syscallName(report.number);
    this.#count(labels.function, call, report.verdict, 1);
    if (report.dropped > 0) {
      this.#count(labels.function, 'untold', 'denied', report.denied);
      this.#count(labels.function, 'untold', 'audited', report.dropped - report.denied);
    }
    if (learner !== undefined && report.verdict === 'allowed') return;
    const entry: SyscallEntry = {
      call,
      verdict: report.verdict,
      ...(report.errno === 0 ? {} : { errno: errnoName(report.errno) }),
      pid: report.pid,
      arguments: report.arguments.map((value) => `0x${value.toString(16)}`),
      ...(report.detail === '' ? {} : { detail: report.detail }),
      ...(report.dropped === 0 ? {} : { dropped: report.dropped }),
    };
    this.#write(labels, textOf(entry), entry);
  }

  /** What the function's instances get while it is learnt; undefined: nobody learns it. */
  learning(functionName: string): InterceptionPolicy | undefined {
    return this.#learners.get(functionName)?.policy;
  }

  /** False: it is being learnt already. */
  beginLearning(functionName: string, manifest: InterceptionManifest | undefined): boolean {
    if (this.#learners.has(functionName)) return false;
    this.#learners.set(functionName, new Learner(manifest));
    return true;
  }

  /** The names of what was seen. */
  endLearning(functionName: string): string[] {
    const learner = this.#learners.get(functionName);
    this.#learners.delete(functionName);
    return learner === undefined ? [] : learner.names;
  }

  forget(functionName: string): void {
    this.#counts.delete(functionName);
  }

  *counts(): Generator<{ functionName: string; call: string; verdict: string; value: number }> {
    for (const [functionName, counts] of this.#counts) {
      for (const [key, value] of counts) {
        const [call, verdict] = key.split(' ') as [string, string];
        yield { functionName, call, verdict, value };
      }
    }
  }

  #count(functionName: string, call: string, verdict: string, by: number): void {
    if (by === 0) return;
    let counts = this.#counts.get(functionName);
    if (counts === undefined) this.#counts.set(functionName, (counts = new Map()));
    const own = `${call} ${verdict}`;
    const key = counts.has(own) || counts.size < SERIES_MAX ? own : `other ${verdict}`;
    counts.set(key, (counts.get(key) ?? 0) + by);
  }
}

class Learner {
  readonly policy: InterceptionPolicy;
  readonly #seen = new Set<number>();

  constructor(manifest: InterceptionManifest | undefined) {
    this.policy = learning(manifest);
  }

  saw(number: number): void {
    this.#seen.add(number);
    learnt(this.policy, number);
  }

  get names(): string[] {
    return [...this.#seen].map(syscallName).filter((name) => Object.hasOwn(SYSCALLS, name) && !EXEMPT.has(name)).sort();
  }
}

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value as number, name]));
const errnoName = (value: number): string => ERRNO_NAMES.get(value) ?? String(value);

function textOf({ call, verdict, errno, detail, dropped }: SyscallEntry): string {
  return `${call}${detail === undefined ? '' : ` ${detail}`} ${verdict}${errno === undefined ? '' : ` (${errno})`}${dropped === undefined ? '' : `, ${dropped} before it not told`}`;
}
