/**
 * The gateway's side of the control connection: it owns the request ids, knows every living instance by channel, request and number, and turns
 * the addon's events into calls on them. It holds no policy. When sandboxd goes, every instance is over (handleLost); the supervisor hands
 * over the next connection through the lifeline, and the client greets it.
 */
import { FlashdError } from '../errors/index.ts';
import type { Addon, AddonEvents, AddonLimits, ChannelId } from './addon.ts';
import { decode, encodeBoot, encodeCreate, encodeForget, encodeFreeze, encodeHello, encodeLearn, encodeNames, encodePulse, encodeRewind, encodeStats, encodeUsage, renumber } from './codec.ts';
import type { FunctionTemplate, Instance, InstanceOwner, InstanceSpec, LogLabels, LogSink, Origin, Readiness, Sandbox, SandboxListener, Stats, SyscallEvent, SyscallSink } from './contract.ts';
import { GuardedInstance, type InstanceHost } from './instance.ts';
import { FEATURE_NAMES, PROTOCOL, type Ended, type Frozen, type InstanceUsage, type Message, type Rewound, type Runtime, type Usage } from './protocol.ts';

export type SandboxClientOptions = {
  readonly addon: Addon;
  readonly sink: LogSink;
  readonly syscalls?: SyscallSink;
  readonly limits: AddonLimits;
  /** How long an end's reason is waited for. */
  readonly endWaitMs: number;
  /** The lifeline ended: nobody will ever hand over a control socket again. */
  readonly onSupervisorLost: () => void;
  /** A fault of ours or of sandboxd that concerns no single invocation. */
  readonly report: (error: unknown) => void;
};

/** System calls of instances whose CREATED has not come yet. */
const EARLY_MAX = 256;
const FROM_LANGUAGE: Origin = { template: 0 };

const REWINDS = { snapshot: PROTOCOL.FL_MSG_SNAPSHOT, rewind: PROTOCOL.FL_MSG_REWIND, verify: PROTOCOL.FL_MSG_VERIFY } as const;

type Reply = { readonly resolve: (message: Message) => void; readonly reject: (error: unknown) => void };

export class SandboxClient implements Sandbox, InstanceHost {
  readonly addon: Addon;
  readonly endWaitMs: number;
  readonly #options: SandboxClientOptions;
  readonly #channels: (GuardedInstance | undefined)[] = [];
  /** Survives its instance: the pipes are read to their end after the channel was closed. */
  readonly #labels: (LogLabels | undefined)[] = [];
  readonly #creating = new Map<number, GuardedInstance>();
  readonly #created = new Map<number, GuardedInstance>();
  /** CREATE as it was sent last for a request: all but its number stays the same. */
  readonly #creates = new WeakMap<InstanceSpec, { readonly runtime: number; readonly template: number; readonly across: boolean; readonly yields: boolean; readonly aside: boolean; readonly packet: Buffer }>();
  readonly #runtimes = new Map<string, Runtime>();
  /** Those that functions need. */
  readonly #wanted = new Set<string>();
  readonly #replies = new Map<number, Reply>();
  #listener: SandboxListener | undefined;
  #state: 'lost' | 'greeting' | 'ready' = 'lost';
  #lastRequest = 0;
  #features = 0;
  /** How many runtimes sandboxd has. */
  #announced = 0;
  #early: SyscallEvent[] = [];
  instancesMax = 0;

  constructor(options: SandboxClientOptions) {
    this.#options = options;
    this.addon = options.addon;
    this.endWaitMs = options.endWaitMs;
  }

  /** Once. lifelineFd: the supervisor's socket. */
  start(listener: SandboxListener, lifelineFd: number): void {
    this.#listener = listener;
    this.addon.start(this.#events(), this.#options.limits);
    this.addon.openLifeline(lifelineFd);
  }

  stop(): void {
    this.#lose();
    this.addon.stop();
  }

  get connected(): boolean {
    return this.#state === 'ready';
  }

  get runtimes(): readonly Runtime[] {
    return [...this.#runtimes.values()];
  }

  get features(): readonly string[] {
    return FEATURE_NAMES.filter((_, bit) => (this.#features & (1 << bit)) !== 0);
  }

  want(runtime: string): void {
    this.#wanted.add(runtime);
    const known = this.#runtimes.get(runtime);
    // One that had failed may have been installed meanwhile.
    if (known?.state === 'idle' || known?.state === 'failed') this.#boot(known);
  }

  readiness(runtime: string): Readiness {
    if (this.#state !== 'ready') return 'unavailable';
    const state = this.#runtimes.get(runtime)?.state;
    // Those that it has not told us of yet after HELLO_OK may still come.
    if (state === undefined) return this.#runtimes.size < this.#announced ? 'booting' : 'failed';
    return state === 'idle' ? 'booting' : state;
  }

  readinessDetail(runtime: string): string {
    if (this.#state !== 'ready') return 'sandboxd is not connected';
    return this.#runtimes.get(runtime)?.detail ?? 'sandboxd has no runtime of this name';
  }

  create(spec: InstanceSpec, owner: InstanceOwner, origin: Origin = FROM_LANGUAGE): Instance {
    const runtime = this.#state === 'ready' ? this.#runtimes.get(spec.runtime) : undefined;
    if (runtime === undefined) {
      throw new FlashdError(this.#state === 'ready' ? 'runtime_not_ready' : 'sandbox_unavailable', { message: this.readinessDetail(spec.runtime) });
    }
    const request = this.nextRequest();
    const labels: LogLabels = { function: spec.functionName, version: spec.version, instance: 0, invocation: '' };
    let channel: ChannelId;
    try {
      if (spec.egress !== undefined && spec.egress.names.length > 0) this.addon.sendControl(encodeNames(request, spec.egress.names));
      channel = this.addon.openChannel(this.#createPacket(request, runtime.index, spec, origin), spec.bundleFd);
    } catch (error) {
      throw new FlashdError('sandbox_unavailable', { message: `no instance can be asked for: ${String(error)}`, cause: error });
    }
    if (spec.responseBodyMax !== undefined) this.addon.allowResponse(channel, spec.responseBodyMax);
    const instance = new GuardedInstance(this, channel, labels, owner);
    this.#channels[channel] = instance;
    this.#labels[channel] = labels;
    this.#creating.set(request, instance);
    if (origin.rewound !== true) instance.init(spec.init);
    return instance;
  }

  /** FAST PATH. */
  #createPacket(request: number, runtime: number, spec: InstanceSpec, origin: Origin): Buffer {
    const { template, candidate, ahead, rewound, across = false, yields = false, aside = false } = origin;
    const last = this.#creates.get(spec);
    const waitedFor = candidate !== true && ahead !== true && rewound !== true;
    if (waitedFor && last !== undefined && last.runtime === runtime && last.template === template && last.across === across && last.yields === yields && last.aside === aside) return renumber(last.packet, request);
    const packet = encodeCreate(request, runtime, spec, origin);
    if (waitedFor) this.#creates.set(spec, { runtime, template, across, yields, aside, packet });
    return packet;
  }

  async freeze(instance: Instance): Promise<FunctionTemplate> {
    const frozen = (await this.#ask((request) => encodeFreeze(request, instance.id))) as Frozen;
    return { template: frozen.function, bytes: frozen.bytes };
  }

  forget(template: number): void {
    if (this.#state === 'ready') this.addon.sendControl(encodeForget(this.nextRequest(), template));
  }

  async rewind(what: keyof typeof REWINDS, instance: number): Promise<Rewound> {
    return (await this.#ask((request) => encodeRewind(REWINDS[what], request, instance))) as Rewound;
  }

  learn(instance: number, idle: boolean): void {
    if (this.#state === 'ready') this.addon.sendControl(encodeLearn(this.nextRequest(), instance, idle));
  }

  pulse(name: string, { template }: Origin): void {
    const runtime = this.#state === 'ready' ? this.#runtimes.get(name) : undefined;
    if (runtime === undefined) return;
    try {
      this.addon.sendControl(encodePulse(this.nextRequest(), template, runtime.index));
    } catch {
      // It has too much to do to read this: its path is warm enough.
    }
  }

  keepLane(open: boolean): boolean {
    return this.addon.keepLane(open);
  }

  async stats(): Promise<Stats> {
    return (await this.#ask((request) => encodeStats(request))) as Stats;
  }

  async usage(): Promise<Map<number, InstanceUsage>> {
    const usage = new Map<number, InstanceUsage>();
    for (let after = 0, more = true; more;) {
      const page = (await this.#ask((request) => encodeUsage(request, after))) as Usage;
      for (const entry of page.entries) usage.set(entry.instance, entry);
      const last = page.entries.at(-1);
      more = page.more && last !== undefined;
      if (last !== undefined) after = last.instance;
    }
    return usage;
  }

  nextRequest(): number {
    return ++this.#lastRequest;
  }

  release(channel: ChannelId): void {
    this.#channels[channel] = undefined;
  }

  /** FAST PATH: a batch of responses comes through onResponse. A throw must not unwind into the addon. */
  #events(): AddonEvents {
    const channels = this.#channels;
    const report = this.#options.report;
    return {
      onResponse: (channel, id, status, headers, body, loadUs, handlerUs) => {
        try {
          channels[channel]?.owner.onResponse(id, status, headers, body, loadUs, handlerUs);
        } catch (error) {
          report(error);
        }
      },
      onFault: (channel, id, fault, text, loadUs, handlerUs) => {
        try {
          channels[channel]?.owner.onFault(id, fault, text, loadUs, handlerUs);
        } catch (error) {
          report(error);
        }
      },
      onBroken: (channel, reason, detail) => this.#guard(() => channels[channel]?.handleBroken({ reason, detail })),
      onLog: (channel, stream, chunk) => this.#guard(() => this.#log(channel, stream, chunk)),
      onControl: (packet) => this.#guard(() => this.#handle(decode(packet))),
      onControlEnd: () => this.#guard(() => this.#lose()),
      onLifeline: (controlFd) => this.#guard(() => this.#greet(controlFd)),
    };
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#options.report(error);
    }
  }

  #log(channel: ChannelId, stream: 1 | 2, chunk: Uint8Array): void {
    const labels = this.#labels[channel];
    if (labels !== undefined && !this.#options.sink.write(labels, stream, chunk)) this.addon.restLog(channel, stream);
  }

  #greet(controlFd: number): void {
    if (controlFd < 0) return this.#options.onSupervisorLost();
    if (this.#state !== 'lost') this.#lose();
    this.addon.openControl(controlFd);
    this.#state = 'greeting';
    this.addon.sendControl(encodeHello(this.nextRequest()));
  }

  #handle(message: Message): void {
    switch (message.type) {
      case 'hello-ok':
        this.#state = 'ready';
        this.#features = message.features;
        this.#announced = message.runtimes;
        this.instancesMax = message.instancesMax;
        return this.#listener?.onSandboxChange();
      case 'runtime':
        this.#runtimes.set(message.name, message);
        if (message.state === 'idle' && this.#wanted.has(message.name)) this.#boot(message);
        return this.#listener?.onSandboxChange();
      case 'created': {
        const instance = this.#take(message.request);
        if (instance === undefined) return;
        this.#created.set(message.instance, instance);
        instance.handleCreated(message);
        if (this.#early.length > 0) this.#catchUp(message.instance);
        return;
      }
      case 'failed': {
        const reply = this.#replies.get(message.request);
        this.#replies.delete(message.request);
        reply?.reject(new FlashdError('internal_error', { message: message.detail === '' ? `sandboxd refused: ${message.op}` : message.detail }));
        return this.#take(message.request)?.handleFailed(message);
      }
      case 'syscall':
        return this.#syscall(message);
      case 'ended':
        return this.#ended(message);
      case 'frozen':
      case 'rewound':
      case 'stats':
      case 'usage': {
        const reply = this.#replies.get(message.request);
        this.#replies.delete(message.request);
        return reply?.resolve(message);
      }
    }
  }

  #syscall(event: SyscallEvent): void {
    const instance = this.#created.get(event.instance);
    if (instance !== undefined) this.#options.syscalls?.syscall(instance.labels, event);
    else if (this.#creating.size > 0 && this.#early.length < EARLY_MAX) this.#early.push(event);
  }

  #catchUp(id: number): void {
    const events = this.#early;
    this.#early = this.#creating.size === 0 ? [] : events.filter(({ instance }) => instance !== id);
    for (const event of events) if (event.instance === id) this.#syscall(event);
  }

  #boot(runtime: Runtime): void {
    try {
      this.addon.sendControl(encodeBoot(this.nextRequest(), runtime.index));
    } catch {
      // sandboxd has just gone: the next one hears what is wanted when it tells of its runtimes.
    }
  }

  #take(request: number): GuardedInstance | undefined {
    const instance = this.#creating.get(request);
    this.#creating.delete(request);
    return instance;
  }

  #ended(message: Ended): void {
    const instance = this.#created.get(message.instance);
    this.#created.delete(message.instance);
    instance?.handleEnded(message);
  }

  #ask(encode: (request: number) => Uint8Array): Promise<Message> {
    if (this.#state !== 'ready') return Promise.reject(new FlashdError('sandbox_unavailable', { message: 'sandboxd is not connected' }));
    const request = this.nextRequest();
    return new Promise((resolve, reject) => {
      this.#replies.set(request, { resolve, reject });
      this.addon.sendControl(encode(request));
    });
  }

  #lose(): void {
    if (this.#state === 'lost') return;
    this.#state = 'lost';
    this.#runtimes.clear();
    const instances = new Set([...this.#creating.values(), ...this.#created.values()]);
    this.#creating.clear();
    this.#created.clear();
    const replies = [...this.#replies.values()];
    this.#replies.clear();
    for (const reply of replies) reply.reject(new FlashdError('sandbox_unavailable', { message: 'sandboxd was lost' }));
    for (const instance of instances) instance.handleLost();
    this.#listener?.onSandboxLost();
  }
}
