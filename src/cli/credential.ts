/** `flashd token` and `flashd key`: create, list, revoke. What is created is printed once and kept nowhere. */
import { Command } from 'commander';
import { checkFunctionName } from '../deploy/function-name.ts';
import type { CredentialReply } from '../deploy/management-api.ts';
import type { CredentialSummary } from '../registry/index.ts';
import { clientOf, outputOf, remoteVerb, verbOnMachine, type CommonOptions } from './verb.ts';

type Kind = { readonly word: 'token' | 'key'; readonly examples: readonly [create: string, list: string, revoke: string] };
type Act = (path: string, name: string, options: CommonOptions) => Promise<void>;

export function tokenCommand(): Command {
  const kind: Kind = { word: 'token', examples: ['flashd token create laptop > token', 'flashd token list', 'flashd token revoke laptop'] };
  const own = (verb: Command, act: Act): Command =>
    verb.argument('<name>', "the token's name").action((name: string, options: CommonOptions) => act('/tokens', name, options));
  return commandOf(kind, 'tokens, with which flashd is managed over HTTP (--url); they are managed on the machine itself', verbOnMachine, own, (verb) =>
    verb.action((options: CommonOptions) => list('/tokens', options)));
}

export function keyCommand(): Command {
  const kind: Kind = { word: 'key', examples: ['flashd key create shop website', 'flashd key list shop', 'flashd key revoke shop website'] };
  const pathOf = (functionName: string): string => `/functions/${checkFunctionName(functionName)}/keys`;
  const own = (verb: Command, act: Act): Command =>
    verb.argument('<function>', 'the function').argument('[name]', "the key's name", 'default').action((functionName: string, name: string, options: CommonOptions) => act(pathOf(functionName), name, options));
  return commandOf(kind, 'keys, with which a function is called that has "auth": "key" in its function.json', remoteVerb, own, (verb) =>
    verb.argument('<function>', 'the function').action((functionName: string, options: CommonOptions) => list(pathOf(functionName), options)));
}

function commandOf(kind: Kind, description: string, verb: typeof remoteVerb, own: (verb: Command, act: Act) => Command, listing: (verb: Command) => Command): Command {
  const [created, listed, revoked] = kind.examples;
  return new Command(kind.word)
    .description(description)
    .addCommand(own(verb('create', `create a ${kind.word}, and print it this once`, [created]), create))
    .addCommand(listing(verb('list', `list the ${kind.word}s: names and times`, [listed])))
    .addCommand(own(verb('revoke', `revoke a ${kind.word}: it is refused from now on`, [revoked]), revoke))
    .addHelpText('after', `\nExamples:\n${kind.examples.map((example) => `  $ ${example}\n`).join('')}`);
}

async function create(path: string, name: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const reply = await clientOf(options).json<CredentialReply>('POST', `${path}/${encodeURIComponent(name)}`);
  output.value(reply);
  output.line(reply.credential);
}

async function list(path: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const kept = await clientOf(options).json<CredentialSummary[]>('GET', path);
  output.value(kept);
  if (kept.length === 0) output.line('none');
  else output.table([['NAME', 'CREATED'], ...kept.map((each) => [each.name, each.createdAt])]);
}

async function revoke(path: string, name: string, options: CommonOptions): Promise<void> {
  const output = outputOf(options);
  const reply = await clientOf(options).json<{ name: string }>('DELETE', `${path}/${encodeURIComponent(name)}`);
  output.value(reply);
  output.line(`${reply.name}  revoked`);
}
