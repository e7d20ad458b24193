/**
 * What a sandbox with a network may reach, as people write it: "public" (every public address), IPv4 addresses as ADDRESS[/PREFIX][:PORT], or host names as NAME:PORT and *.NAME:PORT, for TCP and UDP. The rules
 * themselves stand in native/network/rules.c; who answers for names, in native/names.
 */
export type EgressRule = { readonly address: number; readonly prefix: number; /** 0: each */ readonly port: number };
/** wildcard: what is below it, at any depth, and not itself. */
export type EgressName = { readonly name: string; readonly wildcard: boolean; readonly port: number };
export type Egress = { readonly public: boolean; readonly rules: readonly EgressRule[]; readonly names: readonly EgressName[] };

/** What a number of megabits is to sandboxd. */
export const bytesPerSecond = (mbit: number): number => Math.round(mbit * 125_000);

/** FL_EGRESS_RULES_MAX */
export const EGRESS_RULES_MAX = 32;
/** FL_NAMES_MAX, FL_NAMES_TEXT_BYTES, FL_NAMES_PORTS_MAX */
export const EGRESS_NAMES_MAX = 32;
export const EGRESS_NAMES_BYTES = 2048;
export const EGRESS_NAMES_PORTS_MAX = 8;

const ENTRY = /^(?<address>\d{1,3}(\.\d{1,3}){3})(\/(?<prefix>\d{1,2}))?(:(?<port>\d{1,5}))?$/;
const NAME = /^(?<wildcard>\*\.)?(?<name>[A-Za-z0-9._-]+)(:(?<port>\d{1,5}))?$/;
const LABEL = /^[a-z0-9_-]{1,63}$/;
const NAME_MAX = 253;
/** Closed to every sandbox: a rule for them would have no effect. */
const CLOSED = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'] as const;

/** What is wrong with an entry, or with all of them, is the message of the error; the caller knows where it stands. */
export class EgressProblem extends Error {}

export function parseEgress(entries: readonly string[]): Egress {
  const names = entries.filter(isName).map(parseName);
  const rules = entries.filter((entry) => entry !== 'public' && !isName(entry)).map(parseRule);
  if (rules.length > EGRESS_RULES_MAX) throw new EgressProblem(`there are ${rules.length} addresses, more than ${EGRESS_RULES_MAX}`);
  if (names.length > 0 && entries.includes('public')) throw new EgressProblem('"public" opens every public address already: host names beside it would have no effect');
  checkNames(names);
  return { public: entries.includes('public'), rules, names };
}

function checkNames(names: readonly EgressName[]): void {
  const bytes = names.reduce((sum, { name }) => sum + name.length, 0);
  if (names.length > EGRESS_NAMES_MAX) throw new EgressProblem(`there are ${names.length} host names, more than ${EGRESS_NAMES_MAX}`);
  if (bytes > EGRESS_NAMES_BYTES) throw new EgressProblem(`the host names have ${bytes} characters together, more than ${EGRESS_NAMES_BYTES}`);
  if (new Set(names.map(({ port }) => port)).size > EGRESS_NAMES_PORTS_MAX) throw new EgressProblem(`the host names have more than ${EGRESS_NAMES_PORTS_MAX} different ports`);
}

/** An address that is written wrongly is no name: the last label of a name has something else than digits. */
function isName(entry: string): boolean {
  const name = NAME.exec(entry)?.groups?.['name'];
  return entry !== 'public' && name !== undefined && !/(^|\.)\d+$/.test(name);
}

function parseName(entry: string): EgressName {
  const { wildcard, name: written, port } = NAME.exec(entry)!.groups!;
  const shown = JSON.stringify(entry);
  const name = written!.toLowerCase();
  if (port === undefined) throw new EgressProblem(`${shown} is a host name without a port: an address is shared by many names, so say NAME:PORT`);
  if (Number(port) === 0 || Number(port) > 65_535) throw new EgressProblem(`${shown} has a port that is not in 1 … 65535`);
  if (name.length > NAME_MAX || !name.split('.').every((label) => LABEL.test(label))) throw new EgressProblem(`${shown} is not a host name: labels of letters, digits, "-" and "_", 63 at most, with dots between them`);
  return { name, wildcard: wildcard !== undefined, port: Number(port) };
}

export function parseAddress(text: string): number | undefined {
  const parts = text.split('.').map(Number);
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(text) || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((value, part) => value * 256 + part, 0);
}

/** "10.0.0.0/8"; undefined when it is none, or has bits set beyond the prefix. */
export function parsePrefix(text: string): { address: number; prefix: number } | undefined {
  const [address, prefix, rest] = text.split('/');
  const value = parseAddress(address!);
  const length = Number(prefix);
  if (value === undefined || rest !== undefined || !/^\d{1,2}$/.test(prefix ?? '') || length > 32 || value % 2 ** (32 - length) !== 0) return undefined;
  return { address: value, prefix: length };
}

/** Addresses of any kind: what they are a rule for may be closed for other reasons. */
export function parseRules(entries: readonly string[]): EgressRule[] {
  return entries.map(parseEntry);
}

function parseRule(entry: string): EgressRule {
  const rule = parseEntry(entry);
  for (const closed of CLOSED) if (within(rule, parsePrefix(closed)!)) throw new EgressProblem(`${JSON.stringify(entry)} lies in ${closed}, which no function may reach`);
  return rule;
}

function parseEntry(entry: string): EgressRule {
  const { address, prefix = '32', port = '0' } = ENTRY.exec(entry)?.groups ?? {};
  const shown = JSON.stringify(entry);
  if (address === undefined) {
    throw new EgressProblem(isName(entry) ? `${shown} is a host name, and only addresses can be named here` : `${shown} is not "public", ADDRESS[/PREFIX][:PORT] (IPv4) or NAME:PORT`);
  }
  const value = parseAddress(address);
  if (value === undefined || Number(prefix) > 32 || Number(port) > 65_535 || (entry.includes(':') && Number(port) === 0)) throw new EgressProblem(`${shown} has a number that is too large, or port 0`);
  const block = parsePrefix(`${address}/${prefix}`);
  if (block === undefined) throw new EgressProblem(`${shown} has bits set beyond its prefix`);
  return { ...block, port: Number(port) };
}

type Block = { address: number; prefix: number };
const within = (inner: Block, outer: Block): boolean => inner.prefix >= outer.prefix && Math.floor(inner.address / 2 ** (32 - outer.prefix)) === outer.address / 2 ** (32 - outer.prefix);
