/** A beat of the pulse (native/addon/pulse.h): a request of the gateway to itself. It becomes a ping of an instance; it counts nowhere. */
import type { PooledInstance } from '../pool/pooled-instance.ts';
import { FlashdError } from '../errors/index.ts';
import { Exchange } from './exchange.ts';

export class Beat extends Exchange {
  /** What the instance says is nobody's: it is not passed on. */
  override onResponse(from: PooledInstance): void {
    if (!this.aborted) this.succeed(from, 200, '', null, 0, 0);
  }

  override onFault(): void {
    this.#fail();
  }

  override onInstanceEnd(): void {
    this.#fail();
  }

  #fail(): void {
    if (!this.aborted) this.fail(new FlashdError('sandbox_unavailable'));
  }
}
