/**
 * The one entry of the one binary: the command line, behind its hidden verb the gateway process, and in sandboxes a runtime's program. What is not needed is not loaded:
 * `flashd list` starts neither SQLite nor uWebSockets.js, a runtime's program nothing at all.
 */
import { setFlagsFromString } from 'node:v8';
import { isOwnProgram, runScript } from './own-program.ts';
import packageJson from '../package.json' with { type: 'json' };

async function gateway(): Promise<void> {
  // Cold requests run cold code: compile each function at its first call and keep what was compiled.
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString('--no-flush-bytecode');
  // Optimise what has run as often as a few dozen requests make it run. By V8's own measure, thousands, a gateway that gets one request a second walks their path in slow code for an hour.
  setFlagsFromString('--invocation-count-for-turbofan=30');
  setFlagsFromString('--minimum-invocations-after-ic-update=10');
  // A young generation that fits the processor's cache: a request's garbage is a few kilobytes, and more room only means more misses.
  setFlagsFromString('--max-semi-space-size=2');
  const [{ runGateway }, { loadGatewayConfig }] = await Promise.all([import('./gateway.ts'), import('./config/index.ts')]);
  await runGateway(loadGatewayConfig(), packageJson.version);
}

async function commandLine(): Promise<void> {
  // `flashd logs … | head` is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 111));
  const { runCli } = await import('./cli/index.ts');
  // Not process.exit(): what is still on its way to a pipe would be lost.
  process.exitCode = await runCli(process.argv.slice(2), { version: packageJson.version, gateway });
}

if (isOwnProgram) runScript();
else void commandLine();
