/** The command line without the gateway behind it. */
import { runCli } from '../../../src/cli/index.ts';

void runCli(process.argv.slice(2), { version: '0.0.0', gateway: () => Promise.reject(new Error('not here')) }).then((code) => (process.exitCode = code));
