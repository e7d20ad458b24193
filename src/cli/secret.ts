/** `flashd secret set | list | remove`: a function's secrets. A value comes from a file or from standard input, never from the command line, which every user of the machine can read. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { SecretChange, SecretReply } from '../deploy/management-api.ts';
import { FlashdError } from '../errors/index.ts';
import { checkSecretName, SECRET_BYTES_MAX } from '../registry/secrets.ts';
import { clientOf, outputOf, remoteVerb, type CommonOptions } from './verb.ts';

type SetOptions = CommonOptions & { fromFile?: string };

export function secretCommand(): Command {
  return new Command('secret')
    .description('set, list and remove the secrets of a function, which it gets as environment variables')
    .addCommand(setCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand())
    .addHelpText('after', '\nExamples:\n  $ flashd secret set shop DB_PASSWORD < password.txt\n  $ flashd secret list shop\n  $ flashd secret remove shop DB_PASSWORD\n');
}

function setCommand(): Command {
  return remoteVerb('set', 'set a secret to what is read from standard input; one line end at the end does not count', [
    'flashd secret set shop DB_PASSWORD < password.txt',
    'pass show shop/db | flashd secret set shop DB_PASSWORD',
    'flashd secret set shop TLS_KEY --from-file key.pem',
  ])
    .argument('<name>', 'the function')
    .argument('<key>', "the secret's name, as in its function.json")
    .option('--from-file <file>', 'read the value from a file')
    .action(async (name: string, key: string, options: SetOptions) => {
      const output = outputOf(options);
      const path = pathOf(name, checkSecretName(key));
      const value = await readValue(key, options.fromFile);
      const reply = await clientOf(options).json<SecretChange>('PUT', path, { body: value });
      output.value(reply);
      output.line(`${name}  ${key} ${reply.changed ? 'set' : 'set to this already'}`);
      if (!reply.needed) output.warn(`  the live version does not name it: add it to "secrets" in function.json`);
    });
}

function listCommand(): Command {
  return remoteVerb('list', "list a function's secrets: names and times, never values", ['flashd secret list shop', 'flashd secret list shop --json'])
    .argument('<name>', 'the function')
    .action(async (name: string, options: CommonOptions) => {
      const output = outputOf(options);
      const secrets = await clientOf(options).json<SecretReply[]>('GET', `/functions/${checkFunctionName(name)}/secrets`);
      output.value(secrets);
      if (secrets.length === 0) output.line('no secrets');
      else output.table([['SECRET', 'SET', ''], ...secrets.map((each) => [each.name, each.updatedAt ?? 'not set', each.needed ? '' : 'not named by the live version'])]);
    });
}

function removeCommand(): Command {
  return remoteVerb('remove', 'remove a secret', ['flashd secret remove shop DB_PASSWORD'])
    .argument('<name>', 'the function')
    .argument('<key>', "the secret's name")
    .action(async (name: string, key: string, options: CommonOptions) => {
      const output = outputOf(options);
      const reply = await clientOf(options).json<SecretChange>('DELETE', pathOf(name, checkSecretName(key)));
      output.value(reply);
      output.line(`${name}  ${key} removed`);
      if (reply.needed) output.warn(`  ${name} needs it and is not run until it is set again`);
    });
}

const pathOf = (name: string, key: string): string => `/functions/${checkFunctionName(name)}/secrets/${key}`;

async function readValue(key: string, file: string | undefined): Promise<Buffer> {
  if (file === undefined && process.stdin.isTTY) return Buffer.from(await ask(`value of ${key} (not shown): `));
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of (file === undefined ? process.stdin : createReadStream(file)) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > SECRET_BYTES_MAX + 2) throw new FlashdError('secret_invalid', { message: `the value has more than ${SECRET_BYTES_MAX} bytes`, hint: 'keep a key that opens it instead' });
  }
  return withoutLineEnd(Buffer.concat(chunks));
}

/** The one that echo and editors add. */
function withoutLineEnd(value: Buffer): Buffer {
  if (value.at(-1) !== 0x0a) return value;
  return value.subarray(0, value.at(-2) === 0x0d ? -2 : -1);
}

/** On a terminal, which must not show what is typed. */
async function ask(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  // Not before the terminal has been told to show nothing.
  process.stderr.write(question);
  try {
    return await reader.question('');
  } finally {
    reader.close();
    process.stderr.write('\n');
  }
}
