/** `flashd profile NAME`: the system calls that a function uses, learnt from its traffic, as an allow-list for its function.json. */
import { readFileSync, writeFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { ProfileCall, ProfileReply } from '../deploy/management-api.ts';
import { FlashdError, isSystemError } from '../errors/index.ts';
import { clientOf, outputOf, remoteVerb, type CommonOptions } from './verb.ts';

type Options = CommonOptions & { requests?: number; seconds?: number; write?: string };

export function profileCommand(): Command {
  return remoteVerb('profile', 'learn which system calls a function uses, from requests that you send meanwhile: its rare paths, too', [
    'flashd profile shop                                          # until 20 requests are answered',
    'flashd profile shop --seconds 60 --write shop/function.json',
    'flashd profile shop --requests 500 --json | jq .calls',
  ])
    .argument('<name>', 'the function')
    .addOption(new Option('--requests <count>', 'until so many requests are answered').argParser(countOf))
    .addOption(new Option('--seconds <count>', 'for so long at most').argParser(countOf))
    .option('--write <file>', 'a function.json to put the allow-list into: what else it says stays')
    .action(async (name: string, { requests, seconds, write, ...options }: Options) => {
      const output = outputOf(options);
      const given = write === undefined ? undefined : readGiven(write);
      const call: ProfileCall = { ...(requests === undefined ? {} : { requests }), ...(seconds === undefined ? {} : { seconds }) };
      const reply = await clientOf(options).json<ProfileReply>('POST', `/functions/${checkFunctionName(name)}/profile`, { body: Buffer.from(JSON.stringify(call)) });
      output.value(reply);
      output.line(`${name}  ${reply.allowed} of the ${reply.base} system calls that every function may use, after ${reply.requests} requests in ${reply.seconds} s`);
      if (write === undefined) {
        output.line(JSON.stringify({ interception: reply.interception }));
      } else {
        writeFileSync(write, `${JSON.stringify({ ...given, interception: { ...(given!['interception'] as object | undefined), enforce: reply.interception.enforce } }, null, 2)}\n`);
        output.line(`${write} enforces them: deploy it`);
      }
      if (reply.requests === 0) output.warn('  no request was answered: the list holds only what its start needs');
    });
}

/** Before the profile, not after it: what cannot be written is known now. */
function readGiven(file: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return {};
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new FlashdError('usage', { message: `${file} is not a JSON object`, hint: 'name a function.json, or a file that does not exist yet' });
}

function countOf(text: string): number {
  if (/^[1-9][0-9]{0,6}$/.test(text)) return Number(text);
  throw new FlashdError('usage', { message: `"${text}" is not a whole number from 1`, hint: 'for example --requests 100' });
}
