/**
 * The guarded wrapper around one instance's channel and its life in sandboxd. It guarantees to the owner:
 *   - exactly one terminal call, and none after it, in whatever order the data socket's end, ENDED and our own destroy arrive;
 *   - an end is reported with its reason when sandboxd tells it within endWaitMs, and without one otherwise: nobody waits for ever;
 *   - destroy is idempotent, works before CREATED has arrived, and a send after it is refused rather than lost.
 */
import type { Addon, ChannelId } from './addon.ts';
import { encodeDestroy, encodePlace } from './codec.ts';
import type { Broken, Instance, InstanceEnd, InstanceOwner, LogLabels, Processors } from './contract.ts';
import { FRAME, type Created, type Ended, type Failed } from './protocol.ts';

/** What a ping says of the time left: nobody measures it. */
const PING_MS = 10_000;

/** What the wrapper needs of the client. */
export interface InstanceHost {
  readonly addon: Addon;
  readonly endWaitMs: number;
  nextRequest(): number;
  /** The channel is closed: forget it. */
  release(channel: ChannelId): void;
}

export class GuardedInstance implements Instance {
  readonly channel: ChannelId;
  readonly labels: LogLabels;
  readonly owner: InstanceOwner;
  readonly #host: InstanceHost;
  created: Created | undefined;
  #broken: Broken | undefined;
  #ended: Ended | undefined;
  #closed = false;
  #expectExit = false;
  /** What it is may go on as another function's: its channel stays open until it has ended as this one's. */
  #resting = false;
  #over = false;
  #wait: NodeJS.Timeout | undefined;

  constructor(host: InstanceHost, channel: ChannelId, labels: LogLabels, owner: InstanceOwner) {
    this.#host = host;
    this.channel = channel;
    this.labels = labels;
    this.owner = owner;
  }

  get id(): number {
    return this.created === undefined ? 0 : this.created.instance;
  }

  startTiming(): string {
    return this.#host.addon.startTiming(this.channel);
  }

  init(meta: string): void {
    this.#send(FRAME.FL_FRAME_INIT, 0, 0, 0, meta, []);
  }

  ping(id: number, meta: string): void {
    this.#send(FRAME.FL_FRAME_PING, 0, id, PING_MS, meta, []);
  }

  pingToFreeze(id: number, meta: string): void {
    this.#send(FRAME.FL_FRAME_FREEZE, 0, id, PING_MS, meta, []);
  }

  send(id: number, flags: number, millisecondsLeft: number, meta: string, body: readonly Uint8Array[]): boolean {
    return this.#send(FRAME.FL_FRAME_REQUEST, flags, id, millisecondsLeft, meta, body);
  }

  #send(type: number, flags: number, id: number, millisecondsLeft: number, meta: string, body: readonly Uint8Array[]): boolean {
    if (this.#closed || this.#broken !== undefined || this.#resting) return false;
    try {
      this.#host.addon.send(this.channel, type, flags, id, millisecondsLeft, meta, body);
      return true;
    } catch (error) {
      this.#broken = { reason: 'reset', detail: String(error) };
      this.destroy(true);
      return false;
    }
  }

  place(yields: boolean, processors: Processors): boolean {
    if (this.created === undefined || this.#closed || this.#ended !== undefined) return true;
    try {
      this.#host.addon.sendControl(encodePlace(this.#host.nextRequest(), this.id, yields, processors));
      return true;
    } catch {
      // sandboxd has too much to do to read this, or has just gone: it is advice.
      return false;
    }
  }

  destroy(expectExit = false): void {
    if (this.#closed) return;
    this.#expectExit = expectExit;
    this.#close();
    if (this.#ended !== undefined) return this.#finish();
    if (this.created !== undefined) this.#sendDestroy();
    this.#startWait();
  }

  rest(): void {
    if (this.#broken !== undefined || this.#ended !== undefined) return this.destroy();
    if (this.#closed || this.#resting) return;
    this.#resting = true;
    if (this.created !== undefined) this.#sendDestroy();
    this.#startWait();
  }

  /** From the client: CREATED. */
  handleCreated(created: Created): void {
    this.created = created;
    this.labels.instance = created.instance;
    if (this.#closed || this.#resting) this.#sendDestroy();
    if (!this.#over) this.owner.onCreated(created);
  }

  /** From the client: FAILED. */
  handleFailed(failed: Failed): void {
    if (this.#end()) this.owner.onFailed(failed);
  }

  /** From the client: ENDED. What the instance wrote before its end may still be on its way through the data socket, so that one's end is waited for. */
  handleEnded(ended: Ended): void {
    this.#ended = ended;
    if (this.#closed || this.#resting) this.#finish();
    else this.#startWait();
  }

  /** From the client: the data socket ended or broke the protocol. */
  handleBroken(broken: Broken): void {
    if (this.#closed || this.#broken !== undefined || this.#resting) return;
    this.#broken = broken;
    this.owner.onBroken(broken);
    this.destroy(broken.reason !== 'garbage');
  }

  /** From the client: sandboxd is gone. */
  handleLost(): void {
    if (this.#end()) this.owner.onLost();
  }

  #sendDestroy(): void {
    this.#host.addon.sendControl(encodeDestroy(this.#host.nextRequest(), this.id, this.#resting && !this.#closed ? 'rest' : this.#expectExit ? 'expect-exit' : 'kill'));
  }

  #startWait(): void {
    if (this.#over || this.#wait !== undefined) return;
    this.#wait = setTimeout(() => this.#finish(), this.#host.endWaitMs);
  }

  #finish(): void {
    if (!this.#end()) return;
    const ended = this.#ended;
    const end: InstanceEnd = {
      how: ended?.how ?? 'unknown',
      status: ended?.status ?? 0,
      oomKills: ended?.oomKills ?? 0,
      pidsRefused: ended?.pidsRefused ?? 0,
      sockets: ended?.sockets ?? 0,
      memoryPeakBytes: ended?.memoryPeakBytes ?? 0,
      cpuUs: ended?.cpuUs ?? 0,
      broken: this.#broken,
    };
    this.owner.onEnded(end);
  }

  /** True the first time. */
  #end(): boolean {
    if (this.#over) return false;
    this.#over = true;
    clearTimeout(this.#wait);
    this.#close();
    return true;
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.addon.closeChannel(this.channel);
    this.#host.release(this.channel);
  }
}
