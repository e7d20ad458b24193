/** `flashd verify NAME`: whether restores of a function's instances are complete, byte for byte. */
import { InvalidArgumentError, type Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { VerifyReply } from '../deploy/management-api.ts';
import { clientOf, outputOf, remoteVerb, type CommonOptions } from './verb.ts';

type Options = CommonOptions & { restores: number };

/** Something differed, or could not be restored: the instance was ended, so no request has seen it. */
const EXIT_DIFFERENT = 1;

export function verifyCommand(): Command {
  return remoteVerb('verify', 'call a function with random events and compare its instance with its snapshot after each restore', [
    'flashd verify hello-python',
    'flashd verify hello-python --restores 1000',
  ])
    .argument('<name>', 'the function, deployed with "requestIsolation": "restore"')
    .option('--restores <number>', 'how many to compare', countOf, 100)
    .action(async (name: string, options: Options) => {
      const output = outputOf(options);
      const body = Buffer.from(JSON.stringify({ restores: options.restores }));
      const reply = await clientOf(options).json<VerifyReply>('POST', `/functions/${checkFunctionName(name)}/verify`, { body });
      output.value(reply);
      const complete = reply.failure === null && reply.restores >= options.restores;
      output.line(`${name}  ${reply.restores} restores compared in ${reply.requests} requests: ${reply.failure ?? (complete ? 'no difference' : 'too few instances were restored in time')}`);
      if (!complete) process.exitCode = EXIT_DIFFERENT;
    });
}

function countOf(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('a whole number from 1 on is needed');
  return count;
}
