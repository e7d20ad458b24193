/** The command line without the gateway behind it. */
import { runCli } from '../../../src/cli/index.ts';

process.exitCode = await runCli(process.argv.slice(2), { version: '0.0.0', gateway: () => Promise.reject(new Error('not here')) });
