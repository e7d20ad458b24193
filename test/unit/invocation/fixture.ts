/** A dispatcher over a fake sandbox, with a registry that is a map, and invocations that remember what became of them. */
import { FlashdError } from '../../../src/errors/index.ts';
import { Dispatcher, type DispatcherOptions } from '../../../src/invocation/dispatcher.ts';
import { Invocation, type EventKind } from '../../../src/invocation/invocation.ts';
import { Pools } from '../../../src/pool/pools.ts';
import type { Version } from '../../../src/registry/index.ts';
import { SandboxClient } from '../../../src/sandbox/client.ts';
import { bodyBytes, type ResponseBody } from '../../../src/sandbox/contract.ts';
import { FakeAddon } from '../sandbox/fake-addon.ts';

export type FixtureOptions = {
  acrossFunctions?: boolean;
  maxInstances?: number;
  memoryBudgetBytes?: number;
  queueMax?: number;
  readyWaitMs?: number;
  endWaitMs?: number;
  usageIntervalMs?: number;
  connected?: boolean;
  refusal?: DispatcherOptions['refusal'];
};

export class FakeRegistry {
  readonly versions = new Map<string, Version>();
  /** Of every function; an error instead: they cannot be read. */
  secrets: Record<string, string> | FlashdError = {};
  readonly #listeners = new Set<(name: string) => void>();

  live(name: string): Version | undefined {
    return this.versions.get(name);
  }

  allLive(): Iterable<Version> {
    return this.versions.values();
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  missingSecrets({ manifest }: Version): string[] {
    const { secrets } = this;
    return secrets instanceof FlashdError ? [] : (manifest.secrets ?? []).filter((name) => !Object.hasOwn(secrets, name));
  }

  secretValues({ manifest }: Version): Record<string, string> {
    if (this.secrets instanceof FlashdError) throw this.secrets;
    return Object.fromEntries(Object.entries(this.secrets).filter(([name]) => manifest.secrets?.includes(name)));
  }

  setSecrets(name: string, secrets: Record<string, string> | FlashdError): void {
    this.secrets = secrets;
    for (const listener of this.#listeners) listener(name);
  }

  deploy(name: string, manifest: Partial<Version['manifest']> = {}, version = 'v1'): void {
    this.versions.set(name, versionOf(name, version, manifest));
    for (const listener of this.#listeners) listener(name);
  }

  remove(name: string): void {
    this.versions.delete(name);
    for (const listener of this.#listeners) listener(name);
  }
}

export async function fixture(options: FixtureOptions = {}) {
  const addon = new FakeAddon();
  const registry = new FakeRegistry();
  const reported: unknown[] = [];
  /** Digests of the bundles that may not go. */
  const held: string[] = [];
  const limitsMet: { functionName: string; invocation: string; oomKills: number; pidsRefused: number }[] = [];
  const logged: { function: string; instance: number; invocation: string; stream: number; text: string }[] = [];
  const sandbox = new SandboxClient({
    addon,
    sink: { write: ({ function: name, instance, invocation }, stream, chunk) => logged.push({ function: name, instance, invocation, stream, text: Buffer.from(chunk).toString() }) > 0 },
    limits: { responseBodyMax: 1 << 20, channelsMax: 1000 },
    endWaitMs: options.endWaitMs ?? 100,
    onSupervisorLost: () => reported.push('supervisor lost'),
    report: (error) => reported.push(error),
  });
  const pools = new Pools({
    sandbox,
    bounds: { memoryBudgetBytes: options.memoryBudgetBytes ?? 2 ** 40, maxInstances: options.maxInstances ?? 100 },
    usageIntervalMs: options.usageIntervalMs ?? 1_000_000,
    acrossFunctions: options.acrossFunctions ?? false,
    holdBundle: (digest) => {
      held.push(digest);
      return () => void held.splice(held.indexOf(digest), 1);
    },
    onTemplate: () => undefined,
    onRewindRefused: ({ functionName }, reason) => reported.push(`${functionName} ${reason}`),
    onLimitMet: ({ functionName }, { invocation }, { oomKills, pidsRefused }) => limitsMet.push({ functionName, invocation, oomKills, pidsRefused }),
    report: (error) => reported.push(error),
  });
  const dispatcher = new Dispatcher({ registry, pools, queueMax: options.queueMax ?? 1000, readyWaitMs: options.readyWaitMs ?? 1000, bandwidth: { egressMbit: 200, egressMbitMax: 1000 }, ...(options.refusal === undefined ? {} : { refusal: options.refusal }) });
  sandbox.start(dispatcher, 3);
  if (options.connected !== false) {
    addon.connect();
    await turns();
  }
  const submit = (name: string) => {
    const invocation = new FakeInvocation();
    dispatcher.submit(dispatcher.find(name)!, invocation);
    return invocation;
  };
  return { addon, registry, sandbox, pools, dispatcher, submit, reported, logged, limitsMet, held };
}

let invocations = 0;

export class FakeInvocation extends Invocation {
  readonly label = `invocation-${++invocations}`;
  readonly flags = 0;
  readonly body = [];
  result: { status: number; headers: string; body: string } | undefined;
  error: FlashdError | undefined;
  released = 0;
  #resolve: () => void = () => {};
  readonly done = new Promise<void>((resolve) => (this.#resolve = resolve));

  get outcome(): string {
    return this.error?.code ?? (this.result === undefined ? 'none' : `${this.result.status} ${this.result.body}`);
  }

  meta(kind: EventKind): string {
    return `${kind} ${this.label}`;
  }

  release(): void {
    this.released++;
  }

  succeed(_from: unknown, status: number, headers: string, body: ResponseBody): void {
    this.result = { status, headers, body: bodyBytes(body).toString() };
    this.#finish();
  }

  fail(error: FlashdError): void {
    this.error = error;
    this.#finish();
  }

  #finish(): void {
    this.finishedAt = performance.now();
    this.#resolve();
  }
}

/** Lets what the fake does "soon" happen. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits for the result; a timer of its own keeps the process alive meanwhile. */
export async function finished(invocation: FakeInvocation): Promise<void> {
  while (invocation.outcome === 'none') await sleep(1);
}

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function versionOf(functionName: string, version: string, manifest: Partial<Version['manifest']>): Version {
  return {
    functionName,
    version,
    digest: version,
    bundlePath: import.meta.dirname,
    createdAt: '2026-11-21T00:00:00.000Z',
    manifest: {
      runtime: 'python',
      handler: 'handler.py',
      symbol: 'handler',
      environment: {},
      timeoutMs: 1000,
      memoryMb: 64,
      cpu: 1,
      pids: 32,
      tmpMb: 16,
      descriptors: 64,
      concurrency: 1,
      maxInstances: 4,
      queue: 8,
      requestsPerSecond: 0,
      keepWarmSeconds: 60,
      standby: 0,
      functionTemplate: 0,
      ...manifest,
    },
  };
}
