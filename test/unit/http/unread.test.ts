import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnreadResponses } from '../../../src/http/unread.ts';

class Response {
  dropped = false;
  drop(): void {
    this.dropped = true;
  }
}

test('when there are too many, those go that were read least, until the others fit', async () => {
  const unread = new UnreadResponses(100, 60_000);
  const responses = Array.from({ length: 6 }, () => new Response());
  for (const [index, response] of responses.slice(0, 5).entries()) {
    unread.hold(response, 20);
    unread.read(response, [5, 1, 4, 2, 3][index]!);
  }
  await sleep(5);
  assert.deepEqual([unread.bytes, responses.some(({ dropped }) => dropped)], [100, false]);
  await sleep(1100);
  unread.hold(responses[5]!, 60);
  await sleep(5);
  assert.deepEqual([unread.bytes, responses.map(({ dropped }) => dropped)], [100, [false, true, false, true, true, false]]);
  for (const response of responses) unread.letGo(response);
  assert.equal(unread.bytes, 0);
});

test('who reads next to nothing is not waited for when the grace is over', async () => {
  const unread = new UnreadResponses(1 << 20, 50);
  const [idle, reading] = [new Response(), new Response()];
  unread.hold(idle, 1000);
  unread.hold(reading, 1000);
  unread.read(idle, 1);
  unread.read(reading, 1 << 20);
  await sleep(150);
  assert.deepEqual([idle.dropped, reading.dropped, unread.bytes], [true, false, 1000]);
  unread.letGo(reading);
});
