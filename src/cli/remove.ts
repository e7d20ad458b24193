/** `flashd remove NAME...`: removes functions with all their versions and logs. */
import type { Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import { clientOf, outputOf, remoteVerb, type CommonOptions } from './verb.ts';

export function removeCommand(): Command {
  return remoteVerb('remove', 'remove functions, with all their versions and logs', ['flashd remove hello-python'])
    .argument('<name...>', 'the functions')
    .action(async (names: string[], options: CommonOptions) => {
      const [client, output] = [clientOf(options), outputOf(options)];
      for (const name of names) {
        const reply = await client.json<{ name: string }>('DELETE', `/functions/${checkFunctionName(name)}`);
        output.value(reply);
        output.line(`${reply.name}  removed`);
      }
    });
}
