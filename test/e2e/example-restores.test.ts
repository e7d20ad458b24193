/** `npm run soak` takes a thousand events for each function. */
import { test } from 'node:test';
import { examplesAreTheirSnapshots } from './example-restores.ts';

const RESTORES = 20;

test('every example function is its snapshot after each restore, whatever it was asked', { timeout: 120_000 }, () => examplesAreTheirSnapshots(RESTORES));
