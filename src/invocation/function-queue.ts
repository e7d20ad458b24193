/**
 * One function: its live version's pool, the invocations that wait for an instance (first come, first served, bounded), and the rules of an invocation's life:
 * one deadline over everything, one retry and only if no byte reached user code, every interruption mapped to its error. A redeploy swaps the pool under
 * the queue: what waits is served by the new version, what runs finishes in the old one.
 */
import { FlashdError, toFlashdError } from '../errors/index.ts';
import type { PooledInstance, WorkEnd } from '../pool/pooled-instance.ts';
import type { Demand, PoolSpec, VersionPool } from '../pool/version-pool.ts';
import type { Broken, ResponseBody } from '../sandbox/contract.ts';
import { Deadlines } from './deadlines.ts';
import type { EventKind, Invocation } from './invocation.ts';
import { endError, failedError, faultError } from './outcome.ts';
import { Tally } from './tally.ts';
import { TokenBucket } from './token-bucket.ts';

/** Templates may die one after the other, each as an invocation is about to have its fork; the loss of the last one is told a moment later. */
const RUNTIME_RETRIES_MAX = 4;

/** Thousandths of a processor that a function must have to be kept in the caches: a beat takes some of them. */
const BEAT_CPU_MILLIS = 500;

/** What a version means for the dispatcher. */
export type Target = { readonly spec: PoolSpec; readonly event: EventKind; readonly timeoutMs: number; readonly queueMax: number; readonly requestsPerSecond: number; /** Over HTTP only with a key. */ readonly needsKey: boolean; /** Why it may have no instances. */ readonly blocked: FlashdError | undefined };

/** What all functions share. */
export interface QueueHost {
  open(spec: PoolSpec, demand: Demand): VersionPool;
  /** Waiting invocations of all functions. */
  queued: number;
  running: number;
  readonly queueMax: number;
  /** How long an invocation waits for a runtime or sandboxd to become ready. */
  readonly readyWaitMs: number;
  /** An invocation is over. */
  settled(): void;
}

export class FunctionQueue implements Demand {
  readonly name: string;
  readonly tally = new Tally();
  readonly #host: QueueHost;
  #target: Target;
  #pool: VersionPool;
  #deadlines: Deadlines;
  #waiting = new Set<Invocation>();
  #patience: NodeJS.Timeout | undefined;
  /** Of what comes over HTTP; undefined: no limit. */
  rate: TokenBucket | undefined;
  /** Monotonic milliseconds of its last submission. */
  usedAt = 0;
  /** Why it takes nothing any more: it was removed between the arrival of a request's head and its body. */
  #removed: FlashdError | undefined;

  constructor(name: string, target: Target, host: QueueHost) {
    this.name = name;
    this.#host = host;
    this.#target = target;
    this.#pool = host.open(target.spec, this);
    this.#deadlines = new Deadlines(target.timeoutMs);
    this.#setRate(target.requestsPerSecond);
  }

  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  get needsKey(): boolean {
    return this.#target.needsKey;
  }

  get pool(): VersionPool {
    return this.#pool;
  }

  /** A request will probably be submitted in this turn: when no instance is free, a new one is asked for already and starts while the event is made. */
  anticipate(): void {
    if (this.#waiting.size > 0 || this.#removed !== undefined || this.#target.blocked !== undefined) return;
    try {
      this.#pool.anticipate();
    } catch {
      // The submission will meet the same error and tell its client.
    }
  }

  /** False: no instance got it, or the function's processor time is scarce. */
  beat(beat: Invocation): boolean {
    return this.#pool.spec.limits.cpuMillis >= BEAT_CPU_MILLIS && this.#pool.beat(beat, beat.meta(this.#target.event));
  }

  /** FAST PATH: an idle instance takes it before this returns. */
  submit(invocation: Invocation): void {
    const now = performance.now();
    this.usedAt = now;
    invocation.queue = this;
    invocation.arrivedAt = now;
    invocation.deadlines = this.#deadlines;
    this.#deadlines.add(invocation, now);
    if (this.#removed !== undefined) return this.#fail(invocation, this.#removed);
    if (this.#waiting.size > 0 || !this.#tryStart(invocation, now)) this.#enqueue(invocation);
  }

  /** The client is gone. What waits is dropped; what runs is left to finish, its reply is drained. */
  abort(invocation: Invocation): void {
    invocation.aborted = true;
    if (invocation.state !== 'queued') return;
    this.#unqueue(invocation);
    this.#settle(invocation);
    this.tally.failed('aborted');
  }

  /** The live version has changed. */
  change(target: Target): void {
    const old = this.#pool;
    if (target.timeoutMs !== this.#target.timeoutMs) this.#deadlines = new Deadlines(target.timeoutMs);
    this.#target = target;
    this.#setRate(target.requestsPerSecond);
    this.#pool = this.#host.open(target.spec, this);
    old.drain();
    this.retry();
  }

  /** A redeployment is no way around it. */
  #setRate(perSecond: number): void {
    if (this.rate?.perSecond === perSecond) return;
    // A version that was deployed by an earlier flashd says nothing of it.
    this.rate = (perSecond ?? 0) === 0 ? undefined : new TokenBucket(perSecond, performance.now());
  }

  /** The function is gone: nothing comes after this. */
  remove(error: FlashdError): void {
    this.#removed = error;
    clearTimeout(this.#patience);
    this.#failWaiting(error);
    this.#pool.drain();
  }

  /** sandboxd or a runtime has changed its state. */
  readinessChanged(): void {
    if (this.#waiting.size === 0) return;
    const readiness = this.#pool.readiness;
    if (readiness === 'ready') {
      clearTimeout(this.#patience);
      this.#patience = undefined;
      this.retry();
    } else if (readiness === 'failed') {
      this.#failWaiting(this.#notReady());
    } else {
      this.#bePatient();
    }
  }

  feed(instance: PooledInstance): boolean {
    if (instance.pool !== this.#pool) return false;
    const invocation = this.#waiting.values().next().value;
    if (invocation === undefined) return false;
    this.#unqueue(invocation);
    if (!this.#start(invocation, instance, performance.now())) this.#again(invocation, unsent());
    return true;
  }

  retry(): void {
    while (this.#waiting.size > 0) {
      const invocation = this.#waiting.values().next().value!;
      const instance = this.#acquire(invocation);
      if (instance === undefined) {
        // A failed acquisition has settled the head of the queue: the next one may fare better.
        if (invocation.state === 'queued') return;
        continue;
      }
      this.#unqueue(invocation);
      if (!this.#start(invocation, instance, performance.now())) this.#again(invocation, unsent());
    }
  }

  // The ends of a running invocation, from Invocation.

  succeeded(
    invocation: Invocation,
    from: PooledInstance,
    status: number,
    headers: string,
    body: ResponseBody,
    loadUs: number,
    handlerUs: number,
  ): void {
    this.#settle(invocation);
    const now = performance.now();
    this.tally.duration(now - invocation.arrivedAt);
    if (invocation.aborted) return this.tally.failed('aborted');
    this.tally.succeeded++;
    this.#name(invocation, from);
    invocation.finishedAt = now;
    invocation.succeed(from, status, headers, body, loadUs, handlerUs);
  }

  faulted(invocation: Invocation, fault: number, text: string): void {
    this.#fail(invocation, faultError(fault, text));
  }

  interrupted(invocation: Invocation, from: PooledInstance, end: WorkEnd): void {
    if (end.kind === 'failed') {
      const error = failedError(end.failed);
      if (error.retryable) return this.#again(invocation, error);
      return this.#fail(invocation, error);
    }
    if (end.kind === 'ended' && from.answered > 0 && isUnread(end.end.broken)) return this.#again(invocation, endError(end));
    // A removed function's instances are drained, not destroyed, unless flashd itself is stopping.
    const stopped = this.#removed !== undefined && end.kind === 'ended' && end.end.how === 'destroyed' && end.end.broken === undefined;
    this.#fail(invocation, stopped ? new FlashdError('shutting_down') : endError(end));
  }

  expired(invocation: Invocation): void {
    invocation.deadlines = undefined;
    if (invocation.state === 'queued') {
      this.#unqueue(invocation);
      return this.#fail(invocation, new FlashdError('queue_timeout'));
    }
    const instance = invocation.instance!;
    this.#fail(invocation, new FlashdError('function_timeout'));
    instance.abandon(invocation);
  }

  #tryStart(invocation: Invocation, now: number): boolean {
    const instance = this.#acquire(invocation);
    if (instance === undefined) return invocation.state === 'over';
    if (!this.#start(invocation, instance, now)) this.#again(invocation, unsent());
    return true;
  }

  /** Fails the invocation itself when an instance cannot even be asked for. */
  #acquire(invocation: Invocation): PooledInstance | undefined {
    try {
      if (this.#target.blocked !== undefined) throw this.#target.blocked;
      return this.#pool.acquire();
    } catch (error) {
      if (invocation.state === 'queued') this.#unqueue(invocation);
      this.#fail(invocation, toFlashdError(error));
      return undefined;
    }
  }

  /** FAST PATH. False: nothing was sent. */
  #start(invocation: Invocation, instance: PooledInstance, now: number): boolean {
    invocation.attempts++;
    invocation.boundAt = now;
    invocation.start = instance.start;
    const left = Math.max(1, Math.round(invocation.deadlineAt - now));
    if (!instance.send(invocation, invocation.flags, left, invocation.meta(this.#target.event), invocation.body)) return false;
    invocation.state = 'running';
    invocation.instance = instance;
    this.#host.running++;
    this.tally.starts[invocation.start]++;
    return true;
  }

  /** No byte reached user code: once more, at the head of the queue, whatever the queue's bounds. */
  #again(invocation: Invocation, error: FlashdError): void {
    if (invocation.attempts > (error.code === 'runtime_not_ready' ? RUNTIME_RETRIES_MAX : 1) || this.#removed !== undefined || invocation.aborted) return this.#fail(invocation, error);
    if (invocation.state === 'running') this.#host.running--;
    this.tally.retries++;
    invocation.instance = undefined;
    invocation.state = 'queued';
    this.#host.queued++;
    this.#waiting = new Set([invocation, ...this.#waiting]);
    this.retry();
    if (this.#waiting.has(invocation)) this.#waitForReadiness();
  }

  #enqueue(invocation: Invocation): void {
    const notReady = this.#pool.readiness !== 'ready';
    if (this.#waiting.size >= this.#target.queueMax) return this.#fail(invocation, notReady ? this.#notReady() : new FlashdError('too_many_requests'));
    if (this.#host.queued >= this.#host.queueMax) return this.#fail(invocation, new FlashdError('overloaded'));
    invocation.state = 'queued';
    this.#waiting.add(invocation);
    this.#host.queued++;
    this.#waitForReadiness();
  }

  #waitForReadiness(): void {
    const readiness = this.#pool.readiness;
    if (readiness === 'failed') this.#failWaiting(this.#notReady());
    else if (readiness !== 'ready') this.#bePatient();
  }

  #bePatient(): void {
    this.#patience ??= setTimeout(() => {
      this.#patience = undefined;
      if (this.#pool.readiness !== 'ready') this.#failWaiting(this.#notReady());
    }, this.#host.readyWaitMs).unref();
  }

  #notReady(): FlashdError {
    const { runtime } = this.#target.spec;
    if (this.#pool.readiness === 'unavailable') return new FlashdError('sandbox_unavailable', { message: 'sandboxd is not running at the moment' });
    const detail = this.#pool.readinessDetail;
    return new FlashdError('runtime_not_ready', { message: `the runtime ${runtime} is not ready${detail === '' ? '' : `: ${detail}`}` });
  }

  #failWaiting(error: FlashdError): void {
    for (const invocation of [...this.#waiting]) {
      this.#unqueue(invocation);
      this.#fail(invocation, error);
    }
  }

  #unqueue(invocation: Invocation): void {
    if (!this.#waiting.delete(invocation)) return;
    this.#host.queued--;
    invocation.state = 'new';
  }

  #fail(invocation: Invocation, error: FlashdError): void {
    this.#settle(invocation);
    this.tally.failed(invocation.aborted ? 'aborted' : error.code);
    if (!invocation.aborted) invocation.fail(error);
  }

  /** It was to be forked from a function template, which was gone. */
  #name(invocation: Invocation, from: PooledInstance): void {
    if (invocation.start !== 'function-template' || from.created?.fromFunction !== false) return;
    this.tally.starts['function-template']--;
    this.tally.starts['language-template']++;
    invocation.start = 'language-template';
  }

  #settle(invocation: Invocation): void {
    if (invocation.state === 'running') this.#host.running--;
    invocation.state = 'over';
    invocation.deadlines?.remove(invocation);
    invocation.deadlines = undefined;
    invocation.release();
    this.#host.settled();
  }
}

/** On a unix socket a reset means that the peer closed with bytes unread: with nothing answered, the handler never had the request. */
function isUnread(broken: Broken | undefined): boolean {
  return broken !== undefined && broken.reason === 'reset' && broken.detail === 'before the reply';
}

function unsent(): FlashdError {
  return new FlashdError('sandbox_unavailable', { message: 'the instances of this function are gone' });
}
