/** What changes under running invocations: the live version, secrets. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FlashdError } from '../../../src/errors/index.ts';
import { FakeInvocation, finished, fixture, turns } from './fixture.ts';

describe('versions', () => {
  test('a redeploy fails nothing: what runs finishes in the old version, what waits is served by the new one', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello', { maxInstances: 1 });
    const [running, waiting] = [submit('hello'), submit('hello')];
    await turns();
    registry.deploy('hello', { runtime: 'native' }, 'v2');
    assert.equal(addon.channels.length, 2);
    assert.match(addon.channels[1]!.init, /version=v2/);
    assert.equal(addon.channels[1]!.requests[0]!.meta, `http ${waiting.label}`);
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!, 200, '', 'old');
    addon.respond(addon.channels[1]!.requests[0]!, 200, '', 'new');
    assert.deepEqual([running.outcome, waiting.outcome], ['200 old', '200 new']);
    await turns();
    assert.deepEqual(addon.channels.map((channel) => channel.destroyed), [true, false]);
  });

  test('the files of a version stay as long as an instance of it lives, even when its function is removed', async () => {
    const { addon, registry, submit, held } = await fixture();
    registry.deploy('hello', {}, 'v1');
    assert.deepEqual(held, []);
    const running = submit('hello');
    await turns();
    registry.remove('hello');
    assert.deepEqual(held, ['v1']);
    addon.respond(addon.channels[0]!.requests[0]!);
    await finished(running);
    await turns(4);
    assert.deepEqual(held, []);
  });

  test('a first result that overtakes CREATED does not wait for it, nor does the next request', async () => {
    const { addon, registry, submit } = await fixture();
    registry.deploy('hello');
    addon.onCreate = () => 'hold';
    const first = submit('hello');
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.equal(first.outcome, '200 hello');
    const second = submit('hello');
    addon.respond(addon.channels[0]!.requests[1]!);
    assert.deepEqual([second.outcome, addon.channels.length], ['200 hello', 1]);
  });

  test('idle instances of an old version go at once', async () => {
    const { addon, registry, submit, pools } = await fixture();
    registry.deploy('hello');
    submit('hello');
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    registry.deploy('hello', {}, 'v2');
    await turns();
    assert.deepEqual([addon.channels[0]!.destroyed, pools.instances], [true, 0]);
  });

  test('a removed function answers 404 to what waits and finishes what runs', async () => {
    const { addon, registry, submit, dispatcher } = await fixture();
    registry.deploy('hello', { maxInstances: 1 });
    const [running, waiting] = [submit('hello'), submit('hello')];
    const queue = dispatcher.find('hello')!;
    registry.remove('hello');
    assert.deepEqual([waiting.outcome, dispatcher.find('hello')], ['function_not_found', undefined]);
    const late = new FakeInvocation();
    dispatcher.submit(queue, late);
    await turns();
    addon.respond(addon.channels[0]!.requests[0]!);
    assert.deepEqual([running.outcome, late.outcome], ['200 hello', 'function_not_found']);
  });
});

describe('secrets', () => {
  test('those that the version names stand in INIT beside the environment', async () => {
    const { addon, registry, submit } = await fixture();
    registry.secrets = { TOKEN: 'a = b', OTHER: 'x' };
    registry.deploy('hello', { environment: { GREETING: 'hi' }, secrets: ['TOKEN'] });
    submit('hello');
    assert.match(addon.channels[0]!.init, /\0env\.GREETING=hi\0env\.TOKEN=a = b\0$/);
  });

  test('a version with one that is not set has no instances, and its invocations are told which', async () => {
    const { addon, registry, submit, dispatcher } = await fixture();
    registry.deploy('hello', { secrets: ['TOKEN', 'SET'], standby: 2, functionTemplate: 1 });
    dispatcher.anticipate('hello');
    const invocation = submit('hello');
    await turns();
    assert.deepEqual([invocation.outcome, invocation.error?.status, invocation.error?.retryable, addon.channels.length], ['secret_missing', 502, false, 0]);
    assert.match(`${invocation.error?.message} ${invocation.error?.hint}`, /^the secret TOKEN is not set set it with `flashd secret set hello TOKEN`$/);
    registry.setSecrets('hello', { TOKEN: '1', SET: '2' });
    await turns();
    assert.equal(addon.channels.length, 2, 'its standbys');
  });

  test('secrets that cannot be read are the fault of the platform', async () => {
    const { addon, registry, submit } = await fixture();
    registry.secrets = new FlashdError('secrets_unreadable');
    registry.deploy('hello', { secrets: ['TOKEN'], standby: 1 });
    const invocation = submit('hello');
    await turns();
    assert.deepEqual([invocation.outcome, invocation.error?.status, addon.channels.length], ['secrets_unreadable', 500, 0]);
  });

  test('a change is served by new instances; what runs finishes in the old ones, what waits is not lost', async () => {
    const { addon, registry, submit } = await fixture();
    registry.secrets = { TOKEN: 'old' };
    registry.deploy('hello', { secrets: ['TOKEN'], maxInstances: 1 });
    const [running, waiting] = [submit('hello'), submit('hello')];
    await turns();
    registry.setSecrets('hello', { TOKEN: 'new' });
    await turns();
    assert.deepEqual(addon.channels.map(({ init }) => /env\.TOKEN=(\w+)/.exec(init)![1]), ['old', 'new']);
    for (const channel of addon.channels) addon.respond(channel.requests[0]!);
    await turns();
    assert.deepEqual([running.outcome, waiting.outcome], ['200 hello', '200 hello']);
    assert.deepEqual(addon.channels.map(({ closed }) => closed), [true, false]);
    registry.setSecrets('hello', {});
    await turns();
    assert.deepEqual([submit('hello').outcome, addon.channels[1]!.closed], ['secret_missing', true]);
  });
});
