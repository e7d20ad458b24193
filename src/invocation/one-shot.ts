/**
 * One request to one instance that is made for it and ends with it, outside of all pools: what flashd itself runs in a sandbox, such as a compiler. It has the
 * isolation of every instance.
 */
import { FlashdError } from '../errors/index.ts';
import { bodyBytes, type Broken, type Instance, type InstanceEnd, type InstanceOwner, type InstanceSpec, type ResponseBody, type Sandbox } from '../sandbox/contract.ts';
import { endError, failedError, faultError } from './outcome.ts';

const REQUEST_ID = 1;
/** How often a runtime that is booting is asked again. */
const READY_POLL_MS = 20;

export type OneShot = {
  readonly spec: InstanceSpec;
  /** Meta of the REQUEST frame. */
  readonly meta: string;
  readonly timeoutMs: number;
};

/** The response's body. Rejects with a FlashdError: what the instance did instead, function_timeout, or why there is none. */
export async function runOnce(sandbox: Sandbox, shot: OneShot): Promise<Uint8Array> {
  const deadline = performance.now() + shot.timeoutMs;
  sandbox.want(shot.spec.runtime);
  while (sandbox.readiness(shot.spec.runtime) !== 'ready') {
    if (sandbox.readiness(shot.spec.runtime) === 'failed') throw new FlashdError('runtime_not_ready', { message: sandbox.readinessDetail(shot.spec.runtime) });
    if (performance.now() > deadline) throw new FlashdError('sandbox_unavailable');
    await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
  }
  return new Promise((resolve, reject) => {
    const owner = new Owner(resolve, reject);
    const timer = setTimeout(() => owner.fail(new FlashdError('function_timeout')), Math.max(1, deadline - performance.now()));
    owner.onOver = () => clearTimeout(timer);
    try {
      owner.instance = sandbox.create(shot.spec, owner);
      owner.instance.send(REQUEST_ID, 0, shot.timeoutMs, shot.meta, []);
    } catch (error) {
      owner.fail(error);
    }
  });
}

class Owner implements InstanceOwner {
  instance: Instance | undefined;
  onOver: () => void = () => {};
  readonly #resolve: (body: Uint8Array) => void;
  readonly #reject: (error: unknown) => void;

  constructor(resolve: (body: Uint8Array) => void, reject: (error: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onCreated(): void {}

  onResponse(_id: number, _status: number, _headers: string, body: ResponseBody): void {
    this.#resolve(bodyBytes(body));
    this.#end();
  }

  onFault(_id: number, fault: number, text: string): void {
    this.fail(faultError(fault, text));
  }

  onFailed(...[failed]: Parameters<InstanceOwner['onFailed']>): void {
    this.fail(failedError(failed));
  }

  onBroken(_broken: Broken): void {
    // onEnded follows with the reason.
  }

  onEnded(end: InstanceEnd): void {
    this.fail(endError({ kind: 'ended', end }));
  }

  onLost(): void {
    this.fail(endError({ kind: 'lost' }));
  }

  fail(error: unknown): void {
    this.#reject(error);
    this.#end();
  }

  #end(): void {
    this.onOver();
    this.instance?.destroy();
  }
}
