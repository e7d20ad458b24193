/**
 * The one entry of the one binary: the command line, behind its hidden verb the gateway process, and in sandboxes a runtime's program. What is not needed is not loaded:
 * `flashd list` starts neither SQLite nor uWebSockets.js, a runtime's program nothing at all.
 */
import { setFlagsFromString } from 'node:v8';
import { isOwnProgram, runScript } from './own-program.ts';
import { V8_FLAGS } from './v8-flags.ts';
import packageJson from '../package.json' with { type: 'json' };

async function gateway(): Promise<void> {
  for (const flag of V8_FLAGS) setFlagsFromString(flag);
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
