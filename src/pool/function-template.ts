/**
 * The function template of one version: an instance that is made for it loads the function's code and answers a ping (or the manifest's warm-up event), is frozen by sandboxd, and is
 * what later instances are forked from. What cannot be frozen is told once; the version goes on from the language template. One that is lost (its language template was replaced, sandboxd
 * ended) is made again after a pause.
 *
 *   none ──begin──▶ making ──FROZEN──▶ ready ──lost──▶ none
 *                     └─ load error, refusal ─▶ refused (for good)
 */
import { FlashdError, toFlashdError } from '../errors/index.ts';
import type { Failed, Instance, InstanceEnd, InstanceOwner, InstanceSpec, Origin, Sandbox } from '../sandbox/contract.ts';

/** For loading and the warm-up. */
const READY_MS = 60_000;
const AGAIN_MS = 1000;
const EVICTED_AGAIN_MS = 60_000;
/** Page tables and what else the kernel keeps of a process, beside its pages. */
const OVERHEAD_BYTES = 1 << 20;
const WARM_UP_ID = 1;
const FREEZE_ID = 2;
const CANDIDATE: Origin = { template: 0, candidate: true };
const FROM_LANGUAGE: Origin = { template: 0 };

export interface TemplateHost {
  readonly sandbox: Sandbox;
  /** undefined while none may be made: the version is ending, or there is no room. */
  instanceSpec(): InstanceSpec | undefined;
  /** Memory that it has begun or ceased to use. */
  templateBytes(change: number): void;
  /** It is ready, or why there is none. */
  templateSettled(refusal: string | undefined): void;
}

/** Meta of a ping, and of a request that warms the function up before. */
export type WarmUp = { readonly ping: string; readonly request: string | undefined };

export class FunctionTemplateMaker {
  readonly #host: TemplateHost;
  readonly #events: WarmUp;
  readonly #standsBy: boolean;
  /** Monotonic milliseconds: when an instance was forked from it last. */
  usedAt = 0;
  #state: 'none' | 'making' | 'ready' | 'refused' | 'closed' = 'none';
  #origin: Origin = FROM_LANGUAGE;
  #bytes = 0;
  #learntIdle = false;
  #learnt = false;
  #refusal = '';
  #candidate: Candidate | undefined;
  #again: NodeJS.Timeout | undefined;

  /** standsBy: some of its forks will be standbys. */
  constructor(host: TemplateHost, events: WarmUp, standsBy: boolean) {
    this.#host = host;
    this.#events = events;
    this.#standsBy = standsBy;
  }

  /** ready, making, none, or why there is none. */
  get condition(): string {
    if (this.#state === 'refused') return this.#refusal;
    return this.#state === 'closed' ? 'none' : this.#state;
  }

  /** What the next instance is forked from. */
  get origin(): Origin {
    return this.#origin;
  }

  /** The function's code loads: there may be a template of it. */
  begin(): void {
    if (this.#state !== 'none' || this.#again !== undefined) return;
    const spec = this.#host.instanceSpec();
    if (spec === undefined) return this.#later();
    this.#state = 'making';
    this.#candidate = new Candidate(
      async (instance) => {
        const { template, bytes } = await this.#host.sandbox.freeze(instance);
        if (this.#state !== 'making') return this.#host.sandbox.forget(template);
        this.#state = 'ready';
        this.#origin = { template };
        this.#bytes = bytes + OVERHEAD_BYTES;
        this.usedAt = performance.now();
        this.#host.templateBytes(this.#bytes);
        this.#host.templateSettled(undefined);
      },
      (error) => this.#failed(error),
    );
    this.#candidate.start(this.#host.sandbox, spec, this.#events);
  }

  /** One of its forks stands by. 0: sandboxd has not told its number yet. */
  learnIdle(instance: number): void {
    if (this.#learntIdle || this.#state !== 'ready' || instance === 0) return;
    this.#learntIdle = true;
    this.#host.sandbox.learn(instance, true);
  }

  /** One of its forks has served a request. True: it is being looked at, or will be when sandboxd has told its number, and should not end meanwhile. */
  learn(instance: number): boolean {
    if (this.#learnt || this.#state !== 'ready' || (this.#standsBy && !this.#learntIdle)) return false;
    if (instance === 0) return true;
    this.#learnt = true;
    this.#host.sandbox.learn(instance, false);
    return true;
  }

  /** sandboxd does not have it any more. */
  lost(): void {
    if (this.#state !== 'ready') return;
    this.#drop('none');
    this.#later();
  }

  /** Its memory is needed for instances. */
  evict(): void {
    const { template } = this.#origin;
    if (this.#state !== 'ready') return;
    this.#drop('none');
    this.#host.sandbox.forget(template);
    this.#later(EVICTED_AGAIN_MS);
  }

  close(): void {
    clearTimeout(this.#again);
    this.#candidate?.end();
    const { template } = this.#origin;
    this.#drop('closed');
    if (template !== 0) this.#host.sandbox.forget(template);
  }

  #failed(error: FlashdError): void {
    if (this.#state !== 'making') return;
    const passing = error.kind === 'capacity' || error.code === 'runtime_not_ready' || error.code === 'sandbox_unavailable';
    this.#state = passing ? 'none' : 'refused';
    if (passing) this.#later();
    else {
      this.#refusal = error.message;
      this.#host.templateSettled(error.message);
    }
  }

  #drop(state: 'none' | 'closed'): void {
    this.#host.templateBytes(-this.#bytes);
    this.#bytes = 0;
    this.#origin = FROM_LANGUAGE;
    this.#learntIdle = this.#learnt = false;
    this.#state = state;
  }

  #later(ms = AGAIN_MS): void {
    this.#again ??= setTimeout(() => {
      this.#again = undefined;
      this.begin();
    }, ms).unref();
  }
}

/** The instance that is frozen: it ends with it, whatever happens. */
class Candidate implements InstanceOwner {
  readonly #freeze: (instance: Instance) => Promise<void>;
  readonly #failed: (error: FlashdError) => void;
  #instance: Instance | undefined;
  #deadline: NodeJS.Timeout | undefined;
  /** sandboxd has it: what becomes of it is told as the answer to that. */
  #freezing = false;
  #answered = false;
  #over = false;

  constructor(freeze: (instance: Instance) => Promise<void>, failed: (error: FlashdError) => void) {
    this.#freeze = freeze;
    this.#failed = failed;
  }

  start(sandbox: Sandbox, spec: InstanceSpec, { ping, request }: WarmUp): void {
    this.#deadline = setTimeout(() => this.#fail(new FlashdError('function_timeout')), READY_MS).unref();
    try {
      this.#instance = sandbox.create(spec, this, CANDIDATE);
      if (request !== undefined) this.#instance.send(WARM_UP_ID, 0, READY_MS, request, []);
      this.#instance.pingToFreeze(FREEZE_ID, ping);
    } catch (error) {
      this.#fail(toFlashdError(error));
    }
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    this.#instance?.destroy();
  }

  onCreated(): void {
    if (this.#answered) this.#freezeIt();
  }

  /** It may overtake what sandboxd says of the instance. */
  onResponse(id: number): void {
    if (id !== FREEZE_ID) return;
    this.#answered = true;
    this.#freezeIt();
  }

  #freezeIt(): void {
    if (this.#over || this.#freezing || this.#instance?.created === undefined) return;
    this.#freezing = true;
    this.#freeze(this.#instance).then(
      () => this.end(),
      (error: unknown) => this.#fail(toFlashdError(error)),
    );
  }

  onFault(_id: number, _fault: number, text: string): void {
    const [type = '', message = ''] = text.split('\0');
    this.#fail(new FlashdError('function_load_failed', { message: `${type}: ${message}` }));
  }

  onFailed(failed: Failed): void {
    this.#fail(new FlashdError('sandbox_unavailable', { message: `${failed.op} ${failed.detail}` }));
  }

  onBroken(): void {
    // onEnded follows.
  }

  onEnded(end: InstanceEnd): void {
    if (this.#freezing) return;
    this.#fail(new FlashdError('function_exited', { message: `the instance that was to be frozen ended (${end.how} ${end.status})` }));
  }

  onLost(): void {
    this.#fail(new FlashdError('sandbox_unavailable'));
  }

  #fail(error: FlashdError): void {
    if (this.#over) return;
    this.end();
    this.#failed(error);
  }
}
