import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metrics } from '../../../src/observability/index.ts';

test('numbers are read when somebody asks, and rendered as Prometheus takes them', async () => {
  const metrics = new Metrics();
  let count = 1;
  metrics.counter('flashd_things_total', 'things', () => count);
  metrics.gauge('flashd_levels', 'levels', () => [
    { labels: { function: 'a' }, value: 2 },
    { labels: { function: 'b' }, value: 3 },
  ]);
  metrics.histogram('flashd_seconds', 'durations', [0.1, 1], () => [{ labels: { function: 'a' }, counts: [5, 0, 2], sum: 9.5 }]);
  count = 7;
  const text = await metrics.render();
  for (const line of [
    '# TYPE flashd_things_total counter',
    'flashd_things_total 7',
    'flashd_levels{function="a"} 2',
    'flashd_levels{function="b"} 3',
    '# TYPE flashd_seconds histogram',
    'flashd_seconds_bucket{function="a",le="0.1"} 5',
    'flashd_seconds_bucket{function="a",le="1"} 5',
    'flashd_seconds_bucket{function="a",le="+Inf"} 7',
    'flashd_seconds_sum{function="a"} 9.5',
    'flashd_seconds_count{function="a"} 7',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line} in\n${text}`);
  }
  assert.match(text, /^process_resident_memory_bytes \d+/m);
});
