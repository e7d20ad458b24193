/** What the gateway's parts count, as metrics: every number is read where it is kept when somebody asks for it. */
import type { Dispatcher } from './invocation/dispatcher.ts';
import { DURATION_BUCKETS_MS } from './invocation/tally.ts';
import type { SyscallObserver } from './interception/index.ts';
import type { FunctionLogs, HistogramSample, Metrics, Sample } from './observability/index.ts';
import type { Pools } from './pool/pools.ts';
import type { SandboxClient } from './sandbox/client.ts';
import type { Stats } from './sandbox/contract.ts';
import { REWIND_PHASE_NAMES } from './sandbox/protocol.ts';

export type Sources = {
  readonly dispatcher: Dispatcher;
  readonly pools: Pools;
  readonly sandbox: SandboxClient;
  readonly logs: FunctionLogs;
  readonly syscalls: SyscallObserver;
  /** sandboxd's own numbers as they were last; undefined before the first. */
  readonly stats: () => Stats | undefined;
  readonly bodyBytes: () => number;
  readonly connections: { readonly open: number; readonly refused: number };
};

export function registerMetrics(metrics: Metrics, sources: Sources): void {
  registerInvocations(metrics, sources);
  registerInstances(metrics, sources);
  registerRewinds(metrics, sources);
  registerSandboxd(metrics, sources);
  metrics.gauge('flashd_connections', 'Connections of clients', () => sources.connections.open);
  metrics.counter('flashd_connections_refused_total', 'Connections that were closed at once, because there are too many', () => sources.connections.refused);
  metrics.gauge('flashd_body_bytes', 'Request and response bodies held in memory', sources.bodyBytes);
  metrics.counter('flashd_syscalls_total', 'System calls that a policy told of, by call and verdict: audited, denied, allowed', function* (): Generator<Sample> {
    for (const { functionName, call, verdict, value } of sources.syscalls.counts()) yield { labels: { function: functionName, call, verdict }, value };
  });
  metrics.counter('flashd_log_lines_total', "Lines that functions wrote", () => logSamples(sources.logs, (counter) => counter.lines));
  metrics.counter('flashd_log_lines_dropped_total', 'Lines that were over the rate of their function', () => logSamples(sources.logs, (counter) => counter.dropped));
}

function registerInvocations(metrics: Metrics, { dispatcher }: Sources): void {
  metrics.counter('flashd_invocations_total', 'Finished invocations by outcome: ok, aborted, or an error code', function* (): Generator<Sample> {
    for (const { name, tally } of dispatcher.functions) {
      yield { labels: { function: name, outcome: 'ok' }, value: tally.succeeded };
      for (const [outcome, value] of tally.failures) yield { labels: { function: name, outcome }, value };
    }
  });
  metrics.counter('flashd_limits_met_total', 'Instances that had met a limit of their sandbox when they ended, by limit: memory (something was killed), pids (a fork was refused), sockets (it was ended for them)', function* (): Generator<Sample> {
    for (const { name, tally } of dispatcher.functions) {
      for (const [limit, value] of Object.entries(tally.limitsMet)) yield { labels: { function: name, limit }, value };
    }
  });
  metrics.counter('flashd_starts_total', 'Invocations given to an instance, by kind of start', function* (): Generator<Sample> {
    for (const { name, tally } of dispatcher.functions) {
      for (const [start, value] of Object.entries(tally.starts)) yield { labels: { function: name, start }, value };
    }
  });
  metrics.counter('flashd_retries_total', 'Invocations given to a second instance', () => perFunction(dispatcher, (queue) => queue.tally.retries));
  const bounds = DURATION_BUCKETS_MS.map((ms) => ms / 1000);
  metrics.histogram('flashd_invocation_seconds', 'From arrival to the result, of answered invocations', bounds, function* (): Generator<HistogramSample> {
    for (const { name, tally } of dispatcher.functions) yield { labels: { function: name }, counts: tally.durations, sum: tally.durationSumMs / 1000 };
  });
  metrics.gauge('flashd_queued', 'Invocations that wait for an instance', () => perFunction(dispatcher, (queue) => queue.queued));
  metrics.gauge('flashd_running', 'Invocations that an instance works on', () => dispatcher.running);
}

function registerInstances(metrics: Metrics, { dispatcher, pools }: Sources): void {
  metrics.gauge('flashd_instances', 'Living instances of live versions', () => perFunction(dispatcher, (queue) => queue.pool.living));
  metrics.gauge('flashd_restless', '1 while a function yields because its instances work though nobody has asked them to', () => perFunction(dispatcher, (queue) => Number(queue.pool.restlessness.restless)));
  metrics.gauge('flashd_instances_idle', 'Instances that work on nothing', () => pools.idle);
  metrics.gauge('flashd_standbys', 'Instances made ahead of need', () => pools.standbys);
  metrics.gauge('flashd_instances_memory_bytes', 'Memory of all instances, measured or estimated', () => pools.memoryBytes);
  metrics.counter('flashd_instances_created_total', 'Instances made', () => pools.counters.created);
  metrics.counter('flashd_instances_expired_total', 'Instances ended after their keep-warm time', () => pools.counters.expired);
  metrics.counter('flashd_instances_evicted_total', 'Idle instances ended in favour of others', () => pools.counters.evicted);
}

function registerRewinds(metrics: Metrics, { pools: { counters } }: Sources): void {
  metrics.counter('flashd_rewinds_total', 'Instances made into what they were before their request', () => counters.rewinds);
  metrics.counter('flashd_rewinds_failed_total', 'Instances ended because they could not be', () => counters.rewindsFailed);
  metrics.counter('flashd_instances_reused_total', 'Instances that go from function to function, each time that one got it', () => counters.reused);
  metrics.counter('flashd_rewound_pages_total', 'Pages written back or dropped by that', () => counters.pagesRewound);
  metrics.counter('flashd_rewind_seconds_total', 'Time that took, by phase', () => REWIND_PHASE_NAMES.map((phase, index) => ({ labels: { phase }, value: counters.rewindPhaseUs[index]! / 1e6 })));
}

function registerSandboxd(metrics: Metrics, { sandbox, stats }: Sources): void {
  metrics.gauge('flashd_sandboxd_connected', '1 while sandboxd answers', () => (sandbox.connected ? 1 : 0));
  metrics.gauge('flashd_runtime_templates', 'Templates that can fork', () =>
    sandbox.runtimes.map(({ name, templates }) => ({ labels: { runtime: name }, value: templates })),
  );
  metrics.gauge('flashd_spares', 'Forks parked ahead of need', () => stats()?.spares ?? 0);
  metrics.gauge('flashd_resting', "Instances that are nobody's, and go from function to function", () => stats()?.resting ?? 0);
  metrics.counter('flashd_rests_total', 'Instances given back and made into what they were before they had a function', () => stats()?.rests ?? 0);
  metrics.counter('flashd_rests_failed_total', 'Instances that ended in place of that, because they could not be or for any other reason', () => stats()?.restsFailed ?? 0);
  metrics.gauge('flashd_sandboxes_pooled', 'Sandboxes kept ready', () => stats()?.sandboxesPooled ?? 0);
  metrics.gauge('flashd_sandboxes_building', 'Sandboxes being built', () => stats()?.sandboxesBuilding ?? 0);
  metrics.gauge('flashd_sandboxes_ending', 'Sandboxes being taken down', () => stats()?.sandboxesEnding ?? 0);
  metrics.gauge('flashd_sandboxd_memory_bytes', 'Resident memory of sandboxd', () => stats()?.rssBytes ?? 0);
  metrics.counter('flashd_forks_total', 'Instances forked out of templates', () => stats()?.forks ?? 0);
  metrics.counter('flashd_forks_failed_total', 'Forks that failed', () => stats()?.forksFailed ?? 0);
  metrics.counter('flashd_sandboxes_built_total', 'Sandboxes built', () => stats()?.sandboxesBuilt ?? 0);
  metrics.counter('flashd_sandboxes_on_demand_total', 'Sandboxes that were built while an invocation waited', () => stats()?.sandboxesOnDemand ?? 0);
  metrics.counter('flashd_template_restarts_total', 'Templates booted again because they ended', () => stats()?.templateRestarts ?? 0);
  metrics.counter('flashd_template_rotations_total', 'Templates replaced after their forks or their time', () => stats()?.templateRotations ?? 0);
  metrics.gauge('flashd_layouts', 'Distinct address-space layouts among the instances', () => stats()?.layouts ?? 0);
}

function* perFunction(dispatcher: Dispatcher, read: (queue: Dispatcher['functions'] extends Iterable<infer Q> ? Q : never) => number): Generator<Sample> {
  for (const queue of dispatcher.functions) yield { labels: { function: queue.name }, value: read(queue) };
}

function* logSamples(logs: FunctionLogs, read: (counter: { lines: number; dropped: number }) => number): Generator<Sample> {
  for (const counter of logs.counters()) yield { labels: { function: counter.functionName }, value: read(counter) };
}
