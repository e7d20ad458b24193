/**
 * A scripted stand-in for the native addon: no sockets, no processes. It plays sandboxd on the control side and any number of instances on the data side.
 * By default every CREATE is answered by CREATED in the next turn; what an instance does with a request is the test's script.
 */
import type { Addon, AddonEvents, ChannelId } from '../../../src/sandbox/addon.ts';
import { FRAME, LAYOUT, PROTOCOL, type InstanceUsage } from '../../../src/sandbox/protocol.ts';

export type FakeRequest = { channel: ChannelId; instance: number; id: number; flags: number; millisecondsLeft: number; meta: string; body: Buffer };
export type FakeChannel = { id: ChannelId; init: string; instance: number; closed: boolean; destroyed: boolean; rested?: boolean; openAtEnd?: boolean; flags: number; from: number; network: number; requests: FakeRequest[]; pings: FakeRequest[] };
export type EndOptions = { how?: number; status?: number; oomKills?: number; pidsRefused?: number; sockets?: number };

export class FakeAddon implements Addon {
  events!: AddonEvents;
  readonly channels: FakeChannel[] = [];
  /** PULSE messages. */
  pulses = 0;
  /** Instances of LEARN messages. */
  readonly learnt: number[] = [];
  /** PLACE messages, as "INSTANCE yields" and "INSTANCE does not". */
  readonly yields: string[] = [];
  /** The same, as "INSTANCE all", "lane" or "others". */
  readonly places: string[] = [];
  /** Whether this machine has a lane; whether it is kept. */
  hasLane = false;
  lane = false;
  /** What an instance does with a request, once that has been sent. */
  onRequest: (request: FakeRequest) => void = () => {};
  /** How sandboxd answers a CREATE: "create" (next turn), "hold" (the test calls created or failed itself). */
  onCreate: (channel: FakeChannel, request: number) => 'create' | 'hold' = () => 'create';
  /** Whether FREEZE is answered by FROZEN. */
  freezes = true;
  /** SNAPSHOT, REWIND and VERIFY: the instance and the type, in order; and whether they succeed. */
  readonly rewinds: { instance: number; type: number }[] = [];
  rewindable: (type: number) => boolean = () => true;
  /** Whether DESTROY is answered by ENDED. */
  endsWhenDestroyed = true;
  /** send() throws EPIPE for these channels. */
  readonly brokenPipes = new Set<ChannelId>();
  runtimes: { name: string; state: number; detail?: string }[] = [
    { name: 'python', state: PROTOCOL.FL_RUNTIME_READY },
    { name: 'native', state: PROTOCOL.FL_RUNTIME_READY },
  ];
  instancesMax = 100;
  /** Who may be given an instance that goes from function to function is. */
  reuses = true;
  usage = new Map<number, Omit<InstanceUsage, 'instance'>>();
  #instances = 0;
  #templates = 0;
  #generation = 0;

  get living(): FakeChannel[] {
    return this.channels.filter((channel) => !channel.closed);
  }

  start(events: AddonEvents): void {
    this.events = events;
  }

  stop(): void {}
  startPulse(): void {}
  stopPulse(): void {}
  openLifeline(): void {}
  tellReady(): void {}
  tellAlive(): void {}
  openControl(): void {
    this.#generation++;
  }

  /** The supervisor hands over a connection to a (new) sandboxd. */
  connect(): void {
    this.events.onLifeline(99);
  }

  loseSandboxd(): void {
    this.#generation++;
    this.events.onControlEnd();
  }

  keepLane(open: boolean): boolean {
    this.lane = open && this.hasLane;
    return this.hasLane;
  }

  sendControl(packet: Uint8Array): void {
    const bytes = Buffer.from(packet);
    const request = Number(bytes.readBigUInt64LE(LAYOUT.fl_header.request));
    switch (bytes.readUInt16LE(LAYOUT.fl_header.type)) {
      case PROTOCOL.FL_MSG_HELLO:
        return this.#soon(() => this.#hello(request));
      case PROTOCOL.FL_MSG_DESTROY: {
        const instance = Number(bytes.readBigUInt64LE(LAYOUT.fl_destroy.instance));
        const channel = this.channels.findLast((each) => each.instance === instance)!;
        channel.destroyed = true;
        channel.rested = bytes.readUInt32LE(LAYOUT.fl_destroy.flags) === PROTOCOL.FL_DESTROY_REST;
        channel.openAtEnd = !channel.closed;
        if (this.endsWhenDestroyed) this.#soon(() => this.ended(channel, { how: PROTOCOL.FL_END_DESTROYED }));
        return;
      }
      case PROTOCOL.FL_MSG_PULSE:
        this.pulses++;
        return;
      case PROTOCOL.FL_MSG_LEARN:
        this.learnt.push(Number(bytes.readBigUInt64LE(LAYOUT.fl_learn.instance)));
        return;
      case PROTOCOL.FL_MSG_PLACE:
        this.yields.push(`${bytes.readBigUInt64LE(LAYOUT.fl_place.instance)} ${bytes.readUInt32LE(LAYOUT.fl_place.yields) === 1 ? 'yields' : 'does not'}`);
        this.places.push(`${bytes.readBigUInt64LE(LAYOUT.fl_place.instance)} ${['all', 'lane', 'others'][bytes.readUInt32LE(LAYOUT.fl_place.processors)]}`);
        return;
      case PROTOCOL.FL_MSG_FREEZE:
        if (this.freezes) this.#soon(() => this.frozen(request));
        return;
      case PROTOCOL.FL_MSG_SNAPSHOT:
      case PROTOCOL.FL_MSG_REWIND:
      case PROTOCOL.FL_MSG_VERIFY: {
        const rewind = { instance: Number(bytes.readBigUInt64LE(LAYOUT.fl_rewind.instance)), type: bytes.readUInt16LE(LAYOUT.fl_header.type) };
        this.rewinds.push(rewind);
        return this.#soon(() => (this.rewindable(rewind.type) ? this.rewound(request, rewind.instance) : this.failed(request, 9, 'rewind')));
      }
      case PROTOCOL.FL_MSG_USAGE:
        return this.#soon(() => this.#usage(request));
    }
  }

  allowResponse(): void {}
  restLog(): void {}
  startTiming(): string {
    return ', accept;dur=0.001, seal;dur=0.008';
  }

  openChannel(packet: Uint8Array): ChannelId {
    const bytes = Buffer.from(packet);
    const request = Number(bytes.readBigUInt64LE(LAYOUT.fl_header.request));
    const flags = bytes.readUInt32LE(LAYOUT.fl_create.flags), from = Number(bytes.readBigUInt64LE(LAYOUT.fl_create.function));
    const channel: FakeChannel = { id: this.channels.length, init: '', instance: 0, closed: false, destroyed: false, flags, from, network: bytes.readUInt32LE(LAYOUT.fl_create.network), requests: [], pings: [] };
    this.channels.push(channel);
    if (this.onCreate(channel, request) === 'create') this.#soon(() => this.created(channel, request));
    return channel.id;
  }

  send(channel: ChannelId, type: number, flags: number, id: number, aux: number, meta: string | Uint8Array, body: readonly Uint8Array[]): void {
    if (this.brokenPipes.has(channel)) throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE', syscall: 'write' });
    const fake = this.channels[channel]!;
    if (fake.closed) throw new TypeError(`channel ${channel} is closed`);
    if (type === FRAME.FL_FRAME_INIT) {
      fake.init = String(meta);
      return;
    }
    const request = { channel, instance: fake.instance, id, flags, millisecondsLeft: aux, meta: String(meta), body: Buffer.concat(body) };
    if (type === FRAME.FL_FRAME_PING || type === FRAME.FL_FRAME_FREEZE) return void fake.pings.push(request);
    fake.requests.push(request);
    queueMicrotask(() => this.onRequest(request));
  }

  closeChannel(channel: ChannelId): void {
    this.channels[channel]!.closed = true;
  }

  respond(request: FakeRequest, status = 200, headers = 'content-type\0text/plain\0', body = 'hello', handlerUs = 5): void {
    const bytes = body === '' ? null : new Uint8Array(Buffer.from(body)).buffer;
    this.events.onResponse(request.channel, request.id, status, headers, bytes, 0, handlerUs);
  }

  fault(request: FakeRequest, fault: number, text = 'ValueError\0no\0at x\0'): void {
    this.events.onFault(request.channel, request.id, fault, text, 0, 1);
  }

  created(channel: FakeChannel, request: number): void {
    channel.instance = ++this.#instances;
    const bytes = packet(PROTOCOL.FL_MSG_CREATED, LAYOUT.fl_created.$size, request);
    bytes.writeBigUInt64LE(BigInt(channel.instance), LAYOUT.fl_created.instance);
    bytes.writeUInt32LE(channel.from === 0 ? 0 : 1, LAYOUT.fl_created.from_function);
    bytes.writeUInt32LE(channel.flags & PROTOCOL.FL_CREATE_ACROSS && this.reuses ? 1 : 0, LAYOUT.fl_created.reused);
    this.events.onControl(bytes);
  }

  frozen(request: number): void {
    const bytes = packet(PROTOCOL.FL_MSG_FROZEN, LAYOUT.fl_frozen.$size, request);
    bytes.writeBigUInt64LE(BigInt(++this.#templates), LAYOUT.fl_frozen.function);
    this.events.onControl(bytes);
  }

  rewound(request: number, instance: number): void {
    const bytes = packet(PROTOCOL.FL_MSG_REWOUND, LAYOUT.fl_rewound.$size, request);
    bytes.writeBigUInt64LE(BigInt(instance), LAYOUT.fl_rewound.instance);
    bytes.writeUInt32LE(7, LAYOUT.fl_rewound.written_pages);
    for (let phase = 0; phase < PROTOCOL.FL_REWIND_PHASES; phase++) bytes.writeUInt32LE(100, LAYOUT.fl_rewound.phase_us + 4 * phase);
    this.events.onControl(bytes);
  }

  failed(request: number, code: number, op = 'clone3'): void {
    const bytes = packet(PROTOCOL.FL_MSG_FAILED, LAYOUT.fl_failed.$size, request);
    bytes.writeUInt32LE(code, LAYOUT.fl_failed.code);
    bytes.write(op, LAYOUT.fl_failed.op);
    this.events.onControl(bytes);
  }

  ended(channel: FakeChannel, { how = PROTOCOL.FL_END_EXITED, status = 0, oomKills = 0, pidsRefused = 0, sockets = 0 }: EndOptions = {}): void {
    const bytes = packet(PROTOCOL.FL_MSG_ENDED, LAYOUT.fl_ended.$size, 0);
    bytes.writeBigUInt64LE(BigInt(channel.instance), LAYOUT.fl_ended.instance);
    bytes.writeUInt32LE(how, LAYOUT.fl_ended.how);
    bytes.writeInt32LE(status, LAYOUT.fl_ended.status);
    bytes.writeUInt32LE(oomKills, LAYOUT.fl_ended.oom_kills);
    bytes.writeUInt32LE(pidsRefused, LAYOUT.fl_ended.pids_refused);
    bytes.writeUInt32LE(sockets, LAYOUT.fl_ended.sockets);
    this.events.onControl(bytes);
  }

  runtime(name: string, state: number, detail = ''): void {
    const bytes = packet(PROTOCOL.FL_MSG_RUNTIME, LAYOUT.fl_runtime.$size, 0);
    bytes.writeUInt32LE(state, LAYOUT.fl_runtime.state);
    bytes.write(name, LAYOUT.fl_runtime.name);
    bytes.write(detail, LAYOUT.fl_runtime.detail);
    this.events.onControl(bytes);
  }

  memfd(): number {
    throw new Error('not in this fake');
  }

  exec(): never {
    throw new Error('not in this fake');
  }

  confine(): number {
    return 0;
  }

  landlock(): number {
    return 0;
  }

  peer(): { pid: number; uid: number; gid: number } {
    return { pid: 1, uid: 0, gid: 0 };
  }

  preferSuccessor(): void {}
  preferShortTurns(): void {}

  closeFd(): void {}

  #hello(request: number): void {
    const bytes = packet(PROTOCOL.FL_MSG_HELLO_OK, LAYOUT.fl_hello_ok.$size, request);
    bytes.writeUInt32LE(this.runtimes.length, LAYOUT.fl_hello_ok.runtimes);
    bytes.writeUInt32LE(this.instancesMax, LAYOUT.fl_hello_ok.instances_max);
    this.events.onControl(bytes);
    for (const { name, state, detail } of this.runtimes) this.runtime(name, state, detail);
  }

  #usage(request: number): void {
    const bytes = packet(PROTOCOL.FL_MSG_USAGE_OK, LAYOUT.fl_usage_ok.$size, request);
    let count = 0;
    const at = LAYOUT.fl_usage_entry;
    for (const [instance, { memoryBytes, cpuUs, atUs }] of this.usage) {
      const entry = LAYOUT.fl_usage_ok.entry + at.$size * count++;
      bytes.writeBigUInt64LE(BigInt(instance), entry + at.instance);
      bytes.writeBigUInt64LE(BigInt(memoryBytes), entry + at.memory_bytes);
      bytes.writeBigUInt64LE(BigInt(cpuUs), entry + at.cpu_us);
      bytes.writeBigUInt64LE(BigInt(atUs), entry + at.at_us);
    }
    bytes.writeUInt32LE(count, LAYOUT.fl_usage_ok.count);
    this.events.onControl(bytes);
  }

  /** In the next turn, unless the connection is another one by then. */
  #soon(call: () => void): void {
    const generation = this.#generation;
    setImmediate(() => {
      if (generation === this.#generation) call();
    });
  }
}

/** A control packet without its fields. */
export function packet(type: number, size: number, request: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt16LE(PROTOCOL.FL_PROTOCOL_MAGIC, 0);
  bytes.writeUInt16LE(PROTOCOL.FL_PROTOCOL_VERSION, 2);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(size, 6);
  bytes.writeBigUInt64LE(BigInt(request), 8);
  return bytes;
}
