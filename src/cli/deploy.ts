/** `flashd deploy DIR...`: checks, packs and uploads each directory. */
import { stat } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { resolveConfig } from '../config/index.ts';
import { isFunctionName } from '../deploy/function-name.ts';
import type { DeployReply } from '../deploy/management-api.ts';
import { readManifest } from '../deploy/manifest.ts';
import { FlashdError } from '../errors/index.ts';
import type { ManagementClient } from './client.ts';
import type { Output } from './output.ts';
import { clientOf, outputOf, remoteVerb, shortVersion, warnOfMissingSecrets, type CommonOptions } from './verb.ts';

type Options = CommonOptions & { name?: string };

const PROGRESS_FROM_BYTES = 4 * 1024 * 1024;

export function deployCommand(): Command {
  return remoteVerb('deploy', 'deploy function directories; each becomes live at once, without a failed request', [
    'flashd deploy functions/hello-python',
    'flashd deploy functions/*',
    'flashd deploy . --name hello',
  ])
    .argument('<dir...>', 'directories with a handler, and maybe a function.json')
    .option('--name <name>', "the function's name; by default the directory's")
    .action(async (directories: string[], options: Options) => {
      if (options.name !== undefined && directories.length > 1) {
        throw new FlashdError('usage', { message: '--name takes one directory', hint: 'deploy them one by one' });
      }
      const [client, output] = [clientOf(options), outputOf(options)];
      for (const directory of directories) await deploy(client, output, resolve(directory), options.name ?? basename(resolve(directory)));
    });
}

async function deploy(client: ManagementClient, output: Output, directory: string, name: string): Promise<void> {
  await check(directory, name);
  const { packDirectory } = await import('../deploy/pack.ts');
  const archive = await packDirectory(directory);
  const reply = await client.json<DeployReply>('POST', `/functions/${name}/deploy`, {
    body: withProgress(archive.stream, archive.bytes, name, output),
  });
  output.progress('');
  output.value(reply);
  output.line(`${reply.name}  version ${shortVersion(reply.version)} ${reply.changed ? 'live' : 'live already'}  ${reply.url}`);
  warnOfMissingSecrets(output, reply.name, reply.missingSecrets);
}

/** What can be seen here is said here: before an upload, and with the user's own paths. */
async function check(directory: string, name: string): Promise<void> {
  const status = await stat(directory).catch(() => undefined);
  if (status === undefined || !status.isDirectory()) {
    throw new FlashdError('no_handler', {
      message: `${directory} is not a directory`,
      hint: 'a function is a directory with a handler, e.g. handler.py',
    });
  }
  if (!isFunctionName(name)) {
    const suggestion = name
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 63);
    throw new FlashdError('name_invalid', {
      message: `"${name}" is not a valid function name`,
      ...(isFunctionName(suggestion) ? { hint: `choose one: flashd deploy ${directory} --name ${suggestion}` } : {}),
    });
  }
  try {
    await readManifest(directory, resolveConfig({}).functionDefaults);
  } catch (error) {
    if (!(error instanceof FlashdError)) throw error;
    throw new FlashdError(error.code, {
      message: `${name}: ${error.message}`,
      hint: error.hint,
      ...(error.details === undefined ? {} : { details: error.details }),
    });
  }
}

async function* withProgress(stream: AsyncIterable<Uint8Array>, total: number, name: string, output: Output): AsyncGenerator<Uint8Array> {
  let sent = 0;
  for await (const chunk of stream) {
    yield chunk;
    sent += chunk.length;
    if (total < PROGRESS_FROM_BYTES) continue;
    const done = sent >= total ? 'making it durable' : `${Math.floor((100 * sent) / total)} % of ${Math.ceil(total / 1024 / 1024)} MB`;
    output.progress(`${name}  ${done}`);
  }
}
