/** `flashd doctor`: what the machine has of what flashd needs, and what the running flashd made of it. Works without one, too. */
import type { Command } from 'commander';
import { loadConfig } from '../config/index.ts';
import { FlashdError } from '../errors/index.ts';
import type { GatewayReport } from '../deploy/management-api.ts';
import { OWN_PROGRAMS } from '../own-program.ts';
import { landlockVersion } from '../launcher/kernel.ts';
import { RUNTIMES } from '../runtimes/index.ts';
import { machineChecks, type Check } from './doctor-checks.ts';
import type { Output } from './output.ts';
import { clientOf, outputOf, remoteVerb, type CommonOptions } from './verb.ts';

const MIB = 2 ** 20;
const EXIT_MISSING = 111;

export function doctorCommand(): Command {
  return remoteVerb('doctor', 'tell what this machine has of what flashd needs, and how the running flashd fares', [
    'flashd doctor',
    'flashd doctor --json',
  ]).action(async (options: CommonOptions) => {
    const output = outputOf(options);
    const checks = machineChecks(RUNTIMES.values(), loadConfig({ environment: process.env }).egressRange, landlockVersion());
    const gateway = await reportOf(options);
    const healthy = checks.every((check) => check.state !== 'missing');
    output.value({ healthy, checks, gateway: gateway instanceof FlashdError ? { error: gateway } : gateway });
    print(output, checks, gateway);
    if (!healthy) process.exitCode = EXIT_MISSING;
  });
}

async function reportOf(options: CommonOptions): Promise<GatewayReport | FlashdError> {
  try {
    return await clientOf(options).json<GatewayReport>('GET', '/doctor');
  } catch (error) {
    if (error instanceof FlashdError) return error;
    throw error;
  }
}

function print(output: Output, checks: readonly Check[], gateway: GatewayReport | FlashdError): void {
  const words = { ok: 'ok', missing: 'MISSING', optional: 'note' };
  output.table(checks.map((check) => [check.name, words[check.state], check.detail]));
  output.line('');
  if (gateway instanceof FlashdError) {
    output.line(`gateway: ${gateway.message}`);
    output.line(`  hint: ${gateway.hint}`);
    return;
  }
  const { sandboxd } = gateway;
  const features = Object.entries(sandboxd.features).map(([name, present]) => `${name} ${present ? 'yes' : 'no'}`);
  output.table([
    ['gateway', `flashd ${gateway.version}, pid ${gateway.pid}, up ${Math.round(gateway.uptimeSeconds)} s, listening on ${gateway.listen}`],
    ['functions', String(gateway.functions)],
    ['instances', `${gateway.instances} of at most ${gateway.instancesMax}${gateway.acrossFunctions ? '; those of the same runtime and limits may go from function to function' : ''}`],
    ['memory', `${Math.round(gateway.memoryBytes / MIB)} MB of at most ${Math.round(gateway.memoryBudgetBytes / MIB)} MB`],
    ['sandboxd', sandboxd.connected ? `connected; cgroups ${sandboxd.cgroups}; ${features.join(', ')}` : 'not connected'],
    ...gateway.runtimes.map((runtime) => [
      `runtime ${runtime.name}`,
      `${runtime.state}, ${runtime.templates} templates${runtime.detail === '' ? '' : `: ${runtime.detail}`}${runtime.detail.startsWith(OWN_PROGRAMS) ? `, flashd's own ${process.version}` : ''}`,
    ]),
  ]);
}
