/** `npm run soak`: what takes too long for `npm test`. COLD_STARTS=N and RESTORES=N change the numbers. */
import { coldStartsLeaveNothing } from '../e2e/cold-starts.ts';
import { examplesAreTheirSnapshots } from '../e2e/example-restores.ts';
import { holdsOnDebiansKernel } from './kernel/main.ts';
import { sandboxIsAsDescribed } from './runtimetest/main.ts';

console.log(`soak: ${await sandboxIsAsDescribed()} checks of runtimetest pass inside a sandbox, and what differs is listed`);
const { kernel, results } = await holdsOnDebiansKernel();
console.log(`soak: ${results} checks hold on Debian's own kernel ${kernel}, with cgroups of version 2`);
const restores = Number(process.env['RESTORES'] ?? 1000);
await examplesAreTheirSnapshots(restores, (name, { restores: compared, requests, seconds }) => console.log(`soak: ${name} was its snapshot after each of ${compared} restores, in ${requests} events of ours beside its own and ${seconds.toFixed(0)} s`));
const count = Number(process.env['COLD_STARTS'] ?? 10_000);
const started = performance.now();
const { before, after } = await coldStartsLeaveNothing(count);
console.log(`soak: ${count} cold starts in ${((performance.now() - started) / 1000).toFixed(0)} s left nothing behind`);
console.table({ before, after });
