/**
 * Admission: from a function's name to its queue, kept in step with the registry and with sandboxd. It owns the queues and the pools' life;
 * shutting down is: refuse → drain with a limit → destroy → wait for the ends with a limit.
 */
import { bytesPerSecond } from '../config/index.ts';
import { bandwidthOf, egressOf, interceptionOf, type Bandwidth } from '../deploy/index.ts';
import { FlashdError, toFlashdError } from '../errors/index.ts';
import type { InterceptionPolicy } from '../interception/index.ts';
import { Pools } from '../pool/pools.ts';
import type { Demand, PoolSpec, VersionPool } from '../pool/version-pool.ts';
import type { Registry, Version } from '../registry/index.ts';
import { RUNTIMES } from '../runtimes/index.ts';
import type { SandboxListener } from '../sandbox/contract.ts';
import { PROTOCOL } from '../sandbox/protocol.ts';
import { FunctionQueue, type QueueHost, type Target } from './function-queue.ts';
import type { EventKind, Invocation } from './invocation.ts';

const MIB = 1024 * 1024;

/** The events of standbys' pings: as ordinary as requests are. */
const PING_ID = '00000000-0000-0000-0000-000000000000';
const PINGS: Readonly<Record<EventKind, string>> = {
  http: ['GET', '/', '', '127.0.0.1', PING_ID, 'host', 'localhost', ''].join('\0'),
  json: JSON.stringify({
    version: '2.0',
    routeKey: '$default',
    rawPath: '/',
    rawQueryString: '',
    headers: { host: 'localhost', 'user-agent': 'flashd', accept: '*/*' },
    requestContext: {
      accountId: 'anonymous',
      apiId: 'ping',
      domainName: 'localhost',
      domainPrefix: 'ping',
      http: { method: 'GET', path: '/', protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: 'flashd' },
      requestId: PING_ID,
      routeKey: '$default',
      stage: '$default',
      time: '01/Jan/2026:00:00:00 +0000',
      timeEpoch: 1_767_225_600_000,
    },
  }),
};

/** A beat of the pulse is for one of the functions used last, so many of them, so long ago at most. */
const BEATEN_MAX = 4;
const BEATS_FOR_MS = 2000;

/** One inode for each 4 KiB of the writable layer, up to what the protocol allows: as the launcher reckons for pooled sandboxes. */
const TMP_INODES_PER_MIB = 256;

export type DispatcherOptions = {
  readonly registry: Pick<Registry, 'live' | 'allLive' | 'onChange' | 'missingSecrets' | 'secretValues'>;
  readonly pools: Pools;
  readonly queueMax: number;
  readonly readyWaitMs: number;
  readonly bandwidth: Bandwidth;
  /** Why a function of that manifest may not run here; undefined: it may. */
  readonly refusal?: (manifest: Version['manifest']) => FlashdError | undefined;
  /** The policy of a function whose system calls are being learnt. */
  readonly learning?: (functionName: string) => InterceptionPolicy | undefined;
};

export class Dispatcher implements QueueHost, SandboxListener {
  readonly queueMax: number;
  readonly readyWaitMs: number;
  readonly #registry: DispatcherOptions['registry'];
  readonly #pools: Pools;
  readonly #bandwidth: Bandwidth;
  readonly #refusal: NonNullable<DispatcherOptions['refusal']>;
  readonly #learning: NonNullable<DispatcherOptions['learning']>;
  readonly #functions = new Map<string, FunctionQueue>();
  readonly #stopListening: () => void;
  #refusing: FlashdError | undefined;
  #quiet: (() => void) | undefined;
  /** The last one first. */
  #used: FunctionQueue[] = [];
  #beats = 0;
  queued = 0;
  running = 0;

  constructor(options: DispatcherOptions) {
    this.#registry = options.registry;
    this.#pools = options.pools;
    this.#bandwidth = options.bandwidth;
    this.#learning = options.learning ?? (() => undefined);
    this.queueMax = options.queueMax;
    this.readyWaitMs = options.readyWaitMs;
    this.#refusal = options.refusal ?? (() => undefined);
    this.#stopListening = options.registry.onChange((name) => this.#changed(name));
    for (const { functionName, manifest } of options.registry.allLive()) {
      this.#pools.sandbox.want(manifest.runtime);
      this.find(functionName);
    }
  }

  /** FAST PATH: the queue of a deployed function. */
  find(name: string): FunctionQueue | undefined {
    return this.#functions.get(name) ?? this.#open(name);
  }

  /** A request for it has begun to arrive. */
  anticipate(name: string): void {
    if (this.#refusing === undefined) this.find(name)?.anticipate();
  }

  /** A beat of the pulse: every second one for the function used last, the others for those before it in turn. False: nothing was sent. */
  beat(beat: Invocation): boolean {
    const now = performance.now();
    while (this.#used.length > 0 && now - this.#used.at(-1)!.usedAt > BEATS_FOR_MS) this.#used.pop();
    const turn = this.#beats++;
    const earlier = this.#used.length - 1;
    const place = earlier < 1 || turn % 2 === 0 ? 0 : 1 + (((turn - 1) / 2) % earlier);
    return this.#used[place]?.beat(beat) ?? false;
  }

  submit(queue: FunctionQueue, invocation: Invocation): void {
    if (this.#used[0] !== queue) this.#touch(queue);
    if (this.#refusing === undefined) return queue.submit(invocation);
    invocation.release();
    invocation.fail(this.#refusing);
  }

  get functions(): Iterable<FunctionQueue> {
    return this.#functions.values();
  }

  open(spec: PoolSpec, demand: Demand): VersionPool {
    return this.#pools.open(spec, demand);
  }

  settled(): void {
    if (this.#quiet !== undefined && this.queued + this.running === 0) this.#quiet();
  }

  onSandboxChange(): void {
    for (const queue of this.#functions.values()) queue.readinessChanged();
    this.#pools.tend();
  }

  onSandboxLost(): void {
    this.#pools.lostTemplates();
    for (const queue of this.#functions.values()) queue.readinessChanged();
  }

  /** Nothing new is admitted; resolves when nothing waits or runs any more, or after limitMs. */
  async drain(limitMs: number): Promise<void> {
    this.#refusing = new FlashdError('shutting_down');
    this.#stopListening();
    if (this.queued + this.running === 0) return;
    await within(limitMs, (done) => (this.#quiet = done));
  }

  /** Destroys every instance and waits for their ends, at most limitMs. */
  async close(limitMs: number): Promise<void> {
    for (const queue of this.#functions.values()) queue.remove(new FlashdError('shutting_down'));
    this.#functions.clear();
    this.#pools.destroyAll();
    await within(limitMs, (done) => void this.#pools.drained().then(done));
  }

  #touch(queue: FunctionQueue): void {
    this.#used = [queue, ...this.#used.filter((each) => each !== queue).slice(0, BEATEN_MAX - 1)];
  }

  #open(name: string): FunctionQueue | undefined {
    const version = this.#registry.live(name);
    if (version === undefined) return undefined;
    const queue = new FunctionQueue(name, this.#target(version), this);
    this.#functions.set(name, queue);
    return queue;
  }

  /** With its secrets; without them, or refused, it has no instances, and its invocations are told why. */
  #target(version: Version): Target {
    const learning = this.#learning(version.functionName);
    try {
      const refusal = this.#refusal(version.manifest);
      if (refusal !== undefined) return targetOf(version, this.#bandwidth, refusal, undefined);
      const [missing] = this.#registry.missingSecrets(version);
      return targetOf(version, this.#bandwidth, missing === undefined ? this.#registry.secretValues(version) : secretMissing(version.functionName, missing), learning);
    } catch (error) {
      return targetOf(version, this.#bandwidth, toFlashdError(error), learning);
    }
  }

  /** Its instances are replaced as by a redeployment: what they are made with has changed. */
  renew(name: string): void {
    this.#changed(name);
  }

  #changed(name: string): void {
    const version = this.#registry.live(name);
    if (version !== undefined) this.#pools.sandbox.want(version.manifest.runtime);
    const queue = this.#functions.get(name);
    // Opened at once: its standbys are made before the first request.
    if (queue === undefined) return void this.#open(name);
    if (version !== undefined) return queue.change(this.#target(version));
    this.#functions.delete(name);
    this.#used = this.#used.filter((each) => each !== queue);
    queue.remove(new FlashdError('function_not_found', { message: `the function ${name} was removed` }));
  }
}

function within(limitMs: number, start: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs);
    start(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function secretMissing(functionName: string, name: string): FlashdError {
  return new FlashdError('secret_missing', { message: `the secret ${name} is not set`, hint: `set it with \`flashd secret set ${functionName} ${name}\``, details: { secret: name } });
}

/** secrets: their values, or why there are none. */
function targetOf(version: Version, bandwidth: Bandwidth, secrets: Record<string, string> | FlashdError, learning: InterceptionPolicy | undefined): Target {
  const { manifest } = version;
  const egress = egressOf(manifest.network);
  const blocked = secrets instanceof FlashdError ? secrets : undefined;
  const runtime = RUNTIMES.get(manifest.runtime);
  if (runtime === undefined) throw new FlashdError('unsupported_runtime', { message: `this flashd has no runtime ${manifest.runtime}` });
  const spec: PoolSpec = {
    functionName: version.functionName,
    version: version.version,
    runtime: manifest.runtime,
    digest: version.digest,
    bundlePath: version.bundlePath,
    init: initMeta(version, secrets instanceof FlashdError ? {} : secrets),
    ping: PINGS[runtime.event],
    limits: {
      memoryBytes: manifest.memoryMb * MIB,
      tmpBytes: manifest.tmpMb * MIB,
      tmpInodes: Math.min(PROTOCOL.FL_TMP_INODES_MAX, manifest.tmpMb * TMP_INODES_PER_MIB),
      pids: manifest.pids,
      cpuMillis: Math.round(manifest.cpu * 1000),
      descriptors: manifest.descriptors,
    },
    egress: egress === undefined ? undefined : { ...egress, bytesPerSecond: bytesPerSecond(bandwidthOf(manifest.network, bandwidth)) },
    isolation: manifest.isolation === 'process' ? 'process' : undefined,
    interception: learning ?? interceptionOf(manifest.interception),
    concurrency: Math.min(manifest.concurrency, runtime.maxConcurrency),
    requestIsolation: manifest.requestIsolation ?? 'reuse',
    maxInstances: manifest.maxInstances,
    keepWarmMs: manifest.keepWarmSeconds * 1000,
    standbys: blocked === undefined ? manifest.standby : 0,
    functionTemplate: blocked === undefined && manifest.functionTemplate > 0,
    warmUp: runtime.event === 'json' && manifest.warmup !== undefined ? JSON.stringify(manifest.warmup) : undefined,
  };
  return { spec, event: runtime.event, timeoutMs: manifest.timeoutMs, queueMax: manifest.queue, requestsPerSecond: manifest.requestsPerSecond, needsKey: manifest.auth === 'key', blocked };
}

/** "key=value" strings, NUL after each: native/include/flashd/frame.h. */
function initMeta(version: Version, secrets: Record<string, string>): string {
  const { manifest } = version;
  const entries: [string, string | number][] = [
    ['function', version.functionName],
    ['version', version.version],
    ['handler', manifest.handler],
    ['symbol', manifest.symbol],
    ['memory_bytes', manifest.memoryMb * MIB],
    ['timeout_ms', manifest.timeoutMs],
    ['concurrency', manifest.concurrency],
    ...Object.entries({ ...manifest.environment, ...secrets }).map(([name, value]): [string, string] => [`env.${name}`, value]),
  ];
  return entries.map(([key, value]) => `${key}=${value}\0`).join('');
}
