/** `flashd list [NAME]`: the functions, or the versions of one. */
import type { Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { VersionReply } from '../deploy/management-api.ts';
import { OWN_PROGRAMS } from '../own-program.ts';
import type { FunctionSummary } from '../registry/index.ts';
import { clientOf, outputOf, remoteVerb, shortVersion, warnOfMissingSecrets, type CommonOptions } from './verb.ts';

const TEMPLATE_STATES: ReadonlySet<string> = new Set(['ready', 'making', 'none']);

export function listCommand(): Command {
  return remoteVerb('list', 'list the functions, or the versions of one', ['flashd list', 'flashd list hello-python', 'flashd list --json'])
    .argument('[name]', 'a function, to list its versions')
    .action(async (name: string | undefined, options: CommonOptions) => {
      const [client, output] = [clientOf(options), outputOf(options)];
      if (name !== undefined) {
        const versions = await client.json<VersionReply[]>('GET', `/functions/${checkFunctionName(name)}/versions`);
        output.value(versions);
        output.table([
          ['VERSION', 'RUNTIME', 'DEPLOYED', ''],
          ...versions.map((each) => [shortVersion(each.version), each.runtime, each.createdAt, each.live ? 'live' : '']),
        ]);
        return;
      }
      const functions = await client.json<(FunctionSummary & { template: string; program: string; auth: string; missingSecrets: string[]; url: string })[]>('GET', '/functions');
      output.value(functions);
      if (functions.length === 0) output.line('no functions yet: flashd deploy DIR');
      else {
        output.table([
          ['FUNCTION', 'VERSION', 'RUNTIME', 'VERSIONS', 'LIVE SINCE', 'TEMPLATE', 'AUTH', 'URL'],
          ...functions.map((each) => [
            each.name,
            shortVersion(each.version),
            each.program.startsWith(OWN_PROGRAMS) ? `${each.runtime} (flashd's own)` : each.runtime,
            String(each.versions),
            each.updatedAt,
            TEMPLATE_STATES.has(each.template) ? each.template : `none: ${each.template}`,
            each.auth,
            each.url,
          ]),
        ]);
        for (const each of functions) warnOfMissingSecrets(output, each.name, each.missingSecrets);
      }
    });
}
