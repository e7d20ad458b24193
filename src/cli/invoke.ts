/** `flashd invoke NAME`: one request to a function, through the management socket. Its response's body is the output. */
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { InvokeCall, InvokeReply } from '../deploy/management-api.ts';
import { FlashdError } from '../errors/index.ts';
import { clientOf, outputOf, remoteVerb, type CommonOptions } from './verb.ts';

type Options = CommonOptions & { data?: string; file?: string; method?: string; path: string; header: string[]; include?: boolean };

export function invokeCommand(): Command {
  return remoteVerb('invoke', 'call a function', [
    'flashd invoke hello-python',
    `flashd invoke hello-python --data '{"name": "Ada"}'`,
    'flashd invoke resize --file photo.jpg --path "/thumb?width=100" --header "content-type: image/jpeg" > thumb.jpg',
  ])
    .argument('<name>', 'the function')
    .option('-d, --data <text>', 'request body')
    .option('-f, --file <path>', 'request body from a file, - for standard input')
    .option('-X, --method <method>', 'HTTP method; GET, or POST with a body')
    .option('--path <path>', "path below the function's address, with a query if needed", '/')
    .option(
      '-H, --header <header>',
      'request header "name: value"; may be repeated',
      (value: string, all: string[]) => [...all, value],
      [] as string[],
    )
    .option('-i, --include', 'print the status and the headers, too')
    .action(async (name: string, options: Options) => {
      const output = outputOf(options);
      const call = await callOf(options);
      const reply = await clientOf(options).json<InvokeReply>('POST', `/functions/${checkFunctionName(name)}/invoke`, {
        body: Buffer.from(JSON.stringify(call)),
      });
      output.value(reply);
      if (output.json) return;
      if (options.include === true) {
        output.line(String(reply.status));
        for (const [header, value] of reply.headers) output.line(`${header}: ${value}`);
        output.line('');
      }
      const body = Buffer.from(reply.bodyBase64, 'base64');
      output.raw(body);
      if (process.stdout.isTTY && body.length > 0 && body.at(-1) !== 0x0a) output.line('');
    });
}

async function callOf(options: Options): Promise<InvokeCall> {
  if (options.data !== undefined && options.file !== undefined)
    throw new FlashdError('usage', { message: '--data and --file exclude each other', hint: 'give one of them' });
  if (!options.path.startsWith('/') || /[\s#]/.test(options.path)) {
    throw new FlashdError('usage', { message: `"${options.path}" is not a path`, hint: 'begin it with / and percent-encode spaces' });
  }
  const body =
    options.file === undefined
      ? Buffer.from(options.data ?? '')
      : options.file === '-'
        ? await buffer(process.stdin)
        : await readFile(options.file);
  const headers = options.header.map(headerOf);
  if (body.length > 0 && !headers.some(([name]) => name === 'content-type')) {
    headers.push(['content-type', options.data === undefined ? 'application/octet-stream' : 'application/json']);
  }
  const question = options.path.indexOf('?');
  return {
    method: (options.method ?? (body.length > 0 ? 'POST' : 'GET')).toUpperCase(),
    path: question === -1 ? options.path : options.path.slice(0, question),
    query: question === -1 ? '' : options.path.slice(question + 1),
    headers,
    bodyBase64: body.toString('base64'),
  };
}

function headerOf(text: string): [string, string] {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)$/.exec(text);
  if (match === null)
    throw new FlashdError('usage', { message: `"${text}" is not a header`, hint: 'for example: --header "accept: text/plain"' });
  return [match[1]!.toLowerCase(), match[2]!];
}
