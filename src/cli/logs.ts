/** `flashd logs NAME`: what a function printed, and with -f what it prints. */
import { createInterface } from 'node:readline';
import { Option, type Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import { LOG_LINES_MAX, type LogEntry } from '../observability/function-logs.ts';
import { FlashdError } from '../errors/index.ts';
import { clientOf, outputOf, remoteVerb, shortVersion, type CommonOptions } from './verb.ts';

type Options = CommonOptions & { follow?: boolean; lines: number };

export function logsCommand(): Command {
  return remoteVerb('logs', 'print what a function wrote to its output', [
    'flashd logs hello-python',
    'flashd logs hello-python -f -n 0',
    'flashd logs hello-python --json | jq .message',
  ])
    .argument('<name>', 'the function')
    .option('-f, --follow', 'go on with what is printed from now on')
    .addOption(new Option('-n, --lines <count>', 'how many lines to begin with').default(100).argParser(linesOf))
    .action(async (name: string, options: Options) => {
      const output = outputOf(options);
      const follow = options.follow === true ? '&follow=1' : '';
      const response = await clientOf(options).stream('GET', `/functions/${checkFunctionName(name)}/logs?lines=${options.lines}${follow}`);
      for await (const line of createInterface({ input: response, crlfDelay: Infinity })) {
        const entry = JSON.parse(line) as LogEntry;
        output.value(entry);
        output.line(textOf(entry));
      }
    });
}

const STREAMS = { stdout: 'out', stderr: 'err', audit: 'aud', limit: 'lim' } as const;

function textOf(entry: LogEntry): string {
  const message =
    entry.dropped === undefined ? `${entry.message}${entry.cut === true ? ' …(cut)' : ''}` : `(${entry.dropped.lines} lines dropped)`;
  return `${entry.time} ${shortVersion(entry.version)} ${entry.instance} ${STREAMS[entry.stream]}  ${message}`;
}

function linesOf(text: string): number {
  const lines = Number(text);
  if (/^[0-9]+$/.test(text) && lines <= LOG_LINES_MAX) return lines;
  throw new FlashdError('usage', { message: `--lines is "${text}"`, hint: `give a whole number from 0 to ${LOG_LINES_MAX}` });
}
