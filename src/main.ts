/**
 * The one entry of the one binary: the command line, and behind its hidden verb the gateway process. What a verb does not need is not
 * loaded: `flashd list` starts neither SQLite nor uWebSockets.js.
 */
import { setFlagsFromString } from 'node:v8';
import { runCli } from './cli/index.ts';
import { loadGatewayConfig } from './config/index.ts';
import packageJson from '../package.json' with { type: 'json' };

async function gateway(): Promise<void> {
  // Cold requests run cold code: compile each function at its first call and keep what was compiled.
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString('--no-flush-bytecode');
  // A young generation that fits the processor's cache: a request's garbage is a few kilobytes, and more room only means more misses.
  setFlagsFromString('--max-semi-space-size=2');
  const { runGateway } = await import('./gateway.ts');
  await runGateway(loadGatewayConfig(), packageJson.version);
}

// `flashd logs … | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 111));

void runCli(process.argv.slice(2), { version: packageJson.version, gateway }).then((code) => {
  // Not process.exit(): what is still on its way to a pipe would be lost.
  process.exitCode = code;
});
