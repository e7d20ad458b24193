/**
 * The gateway process: everything is made here, in the order in which it is needed, and taken down in reverse. It is unprivileged from its first instruction;
 * descriptor 3 is the supervisor's lifeline, the configuration comes resolved in an environment variable.
 *
 *   registry ─▶ logs ─▶ sandboxd ─▶ pools, dispatcher ─▶ management socket ─▶ listen ─▶ confine ─▶ READY
 */
import { randomUUID } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { readAsset } from './assets.ts';
import { bytesPerSecond, egressOf, managementSocketPath, parseListen, type Config } from './config/index.ts';
import { Builder, BundleStore, Deployer, type Manifest, type Recipe } from './deploy/index.ts';
import type { GatewayReport } from './deploy/management-api.ts';
import { FlashdError } from './errors/index.ts';
import { registerMetrics } from './gateway-metrics.ts';
import { invokeLocally } from './http/local-invocation.ts';
import { verifyRewinds } from './http/verification.ts';
import { ManagementServer } from './http/management.ts';
import { profile } from './http/profile.ts';
import { connectionsMax } from './http/connections.ts';
import { HttpServer } from './http/server.ts';
import { SyscallObserver } from './interception/index.ts';
import { Dispatcher } from './invocation/dispatcher.ts';
import { runOnce } from './invocation/one-shot.ts';
import { loadAddon, loadSqlite } from './native-addon.ts';
import { FunctionLogs, Metrics, createLogger, type Logger } from './observability/index.ts';
import { Pools } from './pool/pools.ts';
import type { PoolSpec } from './pool/version-pool.ts';
import { LiveRegistry, SqliteStore } from './registry/index.ts';
import type { Addon } from './sandbox/addon.ts';
import { SandboxClient } from './sandbox/client.ts';
import type { InstanceEnd, LogLabels, Stats } from './sandbox/contract.ts';
import { FEATURE_NAMES, FRAME } from './sandbox/protocol.ts';

const MIB = 1024 * 1024;
const BUILD_TMP_MB = 256;
const BUILD_TMP_INODES_PER_MIB = 64;
const BUILD_PIDS = 64;
const LIFELINE_FD = 3;
/** How long the reason of an instance's end is waited for. */
const END_WAIT_MS = 1000;
/** How long an invocation waits for sandboxd or a runtime that is not ready. */
const READY_WAIT_MS = 10_000;
const USAGE_INTERVAL_MS = 1000;
/** How long a request's body may take to arrive. */
const BODY_TIMEOUT_MS = 60_000;
/** Request bodies in memory together: so many of the largest. */
const BODIES_MAX = 32;
/** Responses that wait for their clients together: so many of the largest. */
const UNREAD_MAX = 64;
/** How long a client may read a large response as slowly as it likes. */
const UNREAD_GRACE_MS = 30_000;
const BODY_BUDGET_MIN_BYTES = 64 * MIB;
/** Channels whose pipes are still being read, beside those of living instances. */
const CHANNELS_SPARE = 1024;
/** How long instances may take to end when the gateway stops. */
const CLOSE_WAIT_MS = 2000;

/** Resolves when the gateway has been told to stop and has. */
export async function runGateway(config: Config, version: string): Promise<void> {
  const logger = createLogger(config.logLevel);
  const addon = loadAddon();
  const stack = new Stack();
  const stopped = stopSignal();
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, (error) => {
      // The state is unknown: the supervisor starts a new gateway, sandboxd ends the instances of this one.
      logger.fatal({ err: error }, event);
      logger.flush(() => process.exit(101));
    });
  }
  try {
    const port = await start(config, version, addon, logger, stack);
    logger.info({ listen: config.listen, port, version }, 'ready');
    try {
      addon.preferShortTurns();
    } catch (error) {
      logger.warn({ err: error }, 'the scheduler grants no short turns: busy functions delay requests to others');
    }
    addon.tellReady();
    watch(addon, stack);
    const signal = await stopped;
    logger.info({ signal }, 'stopping');
  } finally {
    await stack.dispose((error) => logger.error({ err: error }, 'stopping'));
  }
}

/** Versions from before stay in the registry when the operator changes his mind: their invocations are refused, too. sandboxd knows as well, and refuses whoever asks. */
function notAllowed({ isolation }: Manifest, config: Config): FlashdError | undefined {
  return isolation === 'process' && config.allowProcessIsolation === 0 ? new FlashdError('isolation_not_allowed') : undefined;
}

/** While sandboxd is away nobody knows what the kernel has; the invocations would be told. */
function admit(manifest: Manifest, config: Config, sandbox: SandboxClient): void {
  const refusal = notAllowed(manifest, config);
  if (refusal !== undefined) throw refusal;
  if (manifest.isolation === 'process' && sandbox.connected && !sandbox.features.includes('process-isolation')) {
    throw new FlashdError('isolation_unavailable', { message: '"isolation": "process" needs Landlock of version 6 (Linux 6.12), which this kernel does not have' });
  }
}

async function start(config: Config, version: string, addon: Addon, logger: Logger, stack: Stack): Promise<number> {
  const report = (error: unknown): void => logger.error({ err: error }, error instanceof Error ? error.message : String(error));
  const bundlesDir = join(config.stateDir, 'bundles');
  const store = new SqliteStore({ path: join(config.stateDir, 'registry.db'), nativeBinding: loadSqlite() });
  const registry = new LiveRegistry(store, { bundlesDir, secretKeyPath: join(config.stateDir, 'secrets.key'), keepVersions: config.keepVersions, maxFunctions: config.maxFunctions });
  stack.defer(() => registry.close());

  const bundles = new BundleStore(bundlesDir, { maxBytes: config.bundleMaxMb * MIB, maxFiles: config.bundleMaxFiles }, () => registry.digests());
  const builder = new Builder(join(config.stateDir, 'builds'), () => readAsset('runtimes.pack'), (directory, recipe) => runBuild(sandbox, config, directory, recipe));
  const deployer = new Deployer(registry, bundles, builder, config.functionDefaults, report, (manifest) => admit(manifest, config, sandbox));
  stack.defer(() => deployer.close());
  deployer.collectGarbage();

  const logs = new FunctionLogs({
    directory: join(config.stateDir, 'logs'),
    linesPerSecond: config.logLinesPerSecond,
    bytesPerSecond: config.logBytesPerSecond,
    lineBytes: config.logLineBytes,
    fileBytes: config.logFileMb * MIB,
    onError: report,
  });
  stack.defer(() => logs.close());

  const syscalls = new SyscallObserver((labels, message, entry) => logs.audit(labels, message, entry));
  const sandbox = new SandboxClient({
    addon,
    sink: logs,
    syscalls,
    limits: { responseBodyMax: config.maxResponseBytes, channelsMax: config.maxInstances + CHANNELS_SPARE },
    endWaitMs: END_WAIT_MS,
    onSupervisorLost: () => {
      logger.fatal('the supervisor is gone');
      logger.flush(() => process.exit(111));
    },
    report,
  });
  const bounds = { memoryBudgetBytes: config.memoryBudgetMb * MIB, maxInstances: config.maxInstances };
  const holdBundle = (digest: string): (() => void) => {
    const unpin = bundles.pin(digest);
    return () => {
      unpin();
      deployer.collectGarbage();
    };
  };
  const onTemplate = ({ functionName, version }: PoolSpec, refusal: string | undefined): void => {
    if (refusal === undefined) logger.debug({ function: functionName, version }, 'function template ready');
    else logger.warn({ function: functionName, version, reason: refusal }, 'no function template');
  };
  const onRewindRefused = ({ functionName, version }: PoolSpec, reason: string): void => logger.warn({ function: functionName, version, reason }, 'instances cannot be rewound: each serves one request');
  const onLimitMet = ({ functionName, limits }: PoolSpec, labels: LogLabels, { oomKills, pidsRefused, sockets, memoryPeakBytes }: InstanceEnd): void => {
    const met = dispatcher.find(functionName)?.tally.limitsMet;
    if (met !== undefined && oomKills > 0) met.memory++;
    if (met !== undefined && pidsRefused > 0) met.pids++;
    if (met !== undefined && sockets > 0) met.sockets++;
    if (oomKills > 0) logs.limit(labels, `out of memory: ${oomKills} killed, at ${memoryPeakBytes} bytes`);
    if (pidsRefused > 0) logs.limit(labels, `out of processes: ${pidsRefused} refused beyond ${limits.pids}`);
    if (sockets > 0) logs.limit(labels, `out of sockets: ended with ${sockets}, beyond ${limits.descriptors} and one full backlog`);
  };
  const pools = new Pools({ sandbox, bounds, usageIntervalMs: USAGE_INTERVAL_MS, acrossFunctions: config.reuseAcrossFunctions === 1, holdBundle, report, onTemplate, onRewindRefused, onLimitMet });
  const dispatcher = new Dispatcher({
    registry, pools, queueMax: config.queueMax, readyWaitMs: READY_WAIT_MS, bandwidth: config, refusal: (manifest) => notAllowed(manifest, config), learning: (name) => syscalls.learning(name),
  });
  sandbox.start(dispatcher, LIFELINE_FD);
  stack.defer(() => sandbox.stop());
  stack.defer(() => dispatcher.close(CLOSE_WAIT_MS));

  const { host, port } = parseListen(config.listen);
  const secure = config.tlsCert !== '';
  const metrics = new Metrics();
  let stats: Stats | undefined;
  const server = new HttpServer({
    host,
    port,
    sharedPort: false,
    domain: config.domain,
    maxConnections: connectionsMax(config.maxConnections, config.maxInstances),
    maxBodyBytes: config.maxBodyBytes,
    bodyBudgetBytes: Math.max(BODY_BUDGET_MIN_BYTES, BODIES_MAX * config.maxBodyBytes),
    bodyTimeoutMs: BODY_TIMEOUT_MS,
    unreadBudgetBytes: Math.max(BODY_BUDGET_MIN_BYTES, UNREAD_MAX * config.maxResponseBytes),
    unreadGraceMs: UNREAD_GRACE_MS,
    clientRequestsPerSecond: config.clientRequestsPerSecond,
    credentials: registry,
    tls: secure ? { certificate: config.tlsCert, key: config.tlsKey } : undefined,
    preferSuccessor: (to) => addon.preferSuccessor(to),
    renewed: () => logger.info('the certificate was renewed'),
    managementSocket: managementSocketPath(config.stateDir),
    dispatcher,
    health: () => ({ healthy: sandbox.connected, detail: { version, sandboxd: sandbox.connected } }),
    metrics: async () => {
      if (sandbox.connected) stats = await sandbox.stats();
      return { contentType: metrics.contentType, text: await metrics.render() };
    },
    report,
  });
  registerMetrics(metrics, { dispatcher, pools, sandbox, logs, syscalls, stats: () => stats, bodyBytes: () => server.bodyBytes, connections: server.connections });
  stack.defer(() => server.close());

  let publicPort = port;
  const management = new ManagementServer({
    socketPath: managementSocketPath(config.stateDir),
    registry,
    deployer,
    logs,
    profile: (name, manifest, call, signal) => profile({ syscalls, dispatcher }, name, manifest, call, signal),
    removed: (name) => syscalls.forget(name),
    metrics,
    logger,
    peer: (fd) => addon.peer(fd),
    functionUrl: (name) => `${secure ? 'https' : 'http'}://${reachable(host)}:${publicPort}/function/${name}`,
    templateOf: (name) => dispatcher.find(name)?.pool.template.condition ?? 'none',
    programOf: (runtime) => (sandbox.readiness(runtime) === 'ready' ? sandbox.readinessDetail(runtime) : ''),
    verify: (name, restores, signal) => verifyRewinds(dispatcher, name, restores, config.maxBodyBytes, signal),
    invoke: (name, call, signal) => invokeLocally(dispatcher, name, call, config.maxBodyBytes, signal),
    report: async () => gatewayReport(config, version, sandbox, pools, registry.list().length),
    maxBodyBytes: config.maxBodyBytes,
  });
  await management.listen();
  stack.defer(() => management.close());

  publicPort = await server.listen();
  // The pulse speaks plain HTTP.
  if (config.pulseMs > 0 && !secure && availableParallelism() > 1) startPulse(addon, host, publicPort, server.pulseRequest, config.pulseMs, report);
  stack.defer(() => addon.stopPulse());
  stack.defer(async () => {
    server.stopListening();
    await dispatcher.drain(config.drainSeconds * 1000);
  });
  logger.debug({ instructions: addon.confine() }, 'confined');
  return publicPort;
}

/** The program is an executable: the native runtime runs it with its request on stdin, which is empty. */
async function runBuild(sandbox: SandboxClient, config: Config, directory: string, { program, timeoutMs, memoryMb, tmpMb = BUILD_TMP_MB, unpacks, network, vendored }: Recipe): Promise<Uint8Array> {
  const isolated = network !== true || (vendored !== undefined && existsSync(join(directory, vendored)));
  const room = unpacks === true ? { responseBodyMax: FRAME.FL_FRAME_BODY_MAX } : {};
  const egress = isolated ? undefined : egressOf(config.buildEgress);
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  const limits = { memoryBytes: memoryMb * MIB, tmpBytes: tmpMb * MIB, tmpInodes: tmpMb * BUILD_TMP_INODES_PER_MIB, pids: BUILD_PIDS, cpuMillis: 1000 * availableParallelism(), descriptors: 1024 };
  const init = Object.entries({ function: 'build', version: '0', handler: program, memory_bytes: limits.memoryBytes, timeout_ms: timeoutMs, concurrency: 1 });
  try {
    return await runOnce(sandbox, {
      spec: { functionName: 'build', version: '0', runtime: 'native', limits, ...room, egress: egress && { ...egress, bytesPerSecond: bytesPerSecond(config.egressMbitMax) }, bundleFd: handle.fd, init: init.map(([key, value]) => `${key}=${value}\0`).join('') },
      meta: ['GET', '/', '', '127.0.0.1', randomUUID(), 'host', 'localhost', ''].join('\0'),
      timeoutMs,
    });
  } finally {
    await handle.close();
  }
}

function gatewayReport(config: Config, version: string, sandbox: SandboxClient, pools: Pools, functions: number): GatewayReport {
  const features = new Set(sandbox.features);
  return {
    version,
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    listen: config.listen,
    functions,
    instances: pools.instances,
    instancesMax: config.maxInstances,
    acrossFunctions: config.reuseAcrossFunctions === 1,
    memoryBytes: pools.memoryBytes,
    memoryBudgetBytes: config.memoryBudgetMb * MIB,
    sandboxd: {
      connected: sandbox.connected,
      cgroups: features.has('cgroup-v2') ? 'v2' : 'v1',
      features: Object.fromEntries(FEATURE_NAMES.map((name) => [name, features.has(name)])),
    },
    runtimes: sandbox.runtimes.map(({ name, state, templates, detail }) => ({ name, state, templates, detail })),
  };
}

/** Names are not looked up for it: whoever listens on one has no pulse but with "localhost". */
function startPulse(addon: Addon, host: string, port: number, request: Uint8Array, periodMs: number, report: (error: unknown) => void): void {
  const address = host === '0.0.0.0' || host === 'localhost' ? '127.0.0.1' : host;
  if (isIP(address) === 0) return;
  try {
    addon.startPulse(address, port, request, periodMs);
  } catch (error) {
    report(error);
  }
}

/** An address that a client on this machine can use. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal));
  });
}

/** systemd's watchdog: half its time, as sd_watchdog_enabled(3) advises. */
function watch(addon: Addon, stack: Stack): void {
  const microseconds = Number(process.env['WATCHDOG_USEC'] ?? 0);
  if (!(microseconds > 0)) return;
  const timer = setInterval(() => addon.tellAlive(), microseconds / 2000);
  stack.defer(() => clearInterval(timer));
}

/** Disposes in reverse what was made in order; one that fails does not keep the others. */
class Stack {
  readonly #deferred: (() => unknown)[] = [];

  defer(dispose: () => unknown): void {
    this.#deferred.push(dispose);
  }

  async dispose(onError: (error: unknown) => void): Promise<void> {
    for (let dispose = this.#deferred.pop(); dispose !== undefined; dispose = this.#deferred.pop()) {
      try {
        await dispose();
      } catch (error) {
        onError(error);
      }
    }
  }
}
