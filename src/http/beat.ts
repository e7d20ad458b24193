/** A beat of the pulse (native/addon/pulse.h): a request of the gateway to itself. It becomes a ping of an instance, and the pong its response; it counts nowhere. */
import type { PooledInstance } from '../pool/pooled-instance.ts';
import type { ResponseBody } from '../sandbox/contract.ts';
import { FlashdError } from '../errors/index.ts';
import { Exchange } from './exchange.ts';

export class Beat extends Exchange {
  override onResponse(from: PooledInstance, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void {
    if (!this.aborted) this.succeed(from, status, headers, body, loadUs, handlerUs);
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
