/**
 * One invocation from its admission to its one result. The transport (src/http) extends it with what the request was and how to answer; the function's
 * queue moves it through its states. Objects of this class are made once per request: no closures, no promises.
 *
 *   new ──▶ queued ──▶ running ──▶ over         (queued → over: full, deadline, client gone, function removed)
 *     └───────────────▶ running ──▶ queued      (the one retry, when no byte reached user code)
 */
import type { FlashdError } from '../errors/index.ts';
import type { PooledInstance, Work, WorkEnd } from '../pool/pooled-instance.ts';
import type { ResponseBody } from '../sandbox/contract.ts';
import type { Deadlines, Expiring } from './deadlines.ts';
import type { FunctionQueue } from './function-queue.ts';

export type EventKind = 'json' | 'http';
export type StartKind = 'warm' | 'standby' | 'function-template' | 'language-template';

export abstract class Invocation implements Work, Expiring {
  /** Request id: in the event, the response and the logs. */
  abstract readonly label: string;
  state: 'new' | 'queued' | 'running' | 'over' = 'new';
  /** Monotonic milliseconds. */
  arrivedAt = 0;
  boundAt = 0;
  deadlineAt = 0;
  finishedAt = 0;
  /** How often it was given to an instance. */
  attempts = 0;
  start: StartKind = 'warm';
  /** The client is gone: nobody reads the result. */
  aborted = false;
  instance: PooledInstance | undefined;
  queue: FunctionQueue | undefined;
  deadlines: Deadlines | undefined;
  earlier: Expiring | undefined;
  later: Expiring | undefined;

  /** Flags of the REQUEST frame. */
  abstract readonly flags: number;
  abstract readonly body: readonly Uint8Array[];
  /** The event for the instance, as its runtime takes it. */
  abstract meta(kind: EventKind): string;
  /** It is over, and nobody will ask for its event or body again. Called once, before succeed or fail, also when neither follows. */
  abstract release(): void;
  /** Exactly one of the two is called, once, unless the client is gone. */
  abstract succeed(from: PooledInstance, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void;
  abstract fail(error: FlashdError): void;

  onResponse(from: PooledInstance, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void {
    this.queue!.succeeded(this, from, status, headers, body, loadUs, handlerUs);
  }

  onFault(_from: PooledInstance, fault: number, text: string): void {
    this.queue!.faulted(this, fault, text);
  }

  onInstanceEnd(from: PooledInstance, end: WorkEnd): void {
    this.queue!.interrupted(this, from, end);
  }

  onDeadline(): void {
    this.queue!.expired(this);
  }
}
