/** `flashd rollback NAME`: makes an earlier version live again, at once. */
import type { Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { DeployReply } from '../deploy/management-api.ts';
import { clientOf, outputOf, remoteVerb, shortVersion, warnOfMissingSecrets, type CommonOptions } from './verb.ts';

type Options = CommonOptions & { to?: string };

export function rollbackCommand(): Command {
  return remoteVerb('rollback', 'make the version live that was live before, or the one named', [
    'flashd rollback hello-python',
    'flashd rollback hello-python --to 1a2b3c',
  ])
    .argument('<name>', 'the function')
    .option('--to <version>', 'a version, or the beginning of one (see `flashd list NAME`)')
    .action(async (name: string, options: Options) => {
      const output = outputOf(options);
      const body = Buffer.from(JSON.stringify(options.to === undefined ? {} : { to: options.to }));
      const reply = await clientOf(options).json<DeployReply>('POST', `/functions/${checkFunctionName(name)}/rollback`, { body });
      output.value(reply);
      output.line(`${reply.name}  version ${shortVersion(reply.version)} ${reply.changed ? 'live' : 'live already'}  ${reply.url}`);
      warnOfMissingSecrets(output, reply.name, reply.missingSecrets);
    });
}
