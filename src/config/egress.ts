/**
 * What a sandbox with a network may reach, as people write it: "public" (every public address), or IPv4 addresses as ADDRESS[/PREFIX][:PORT], for TCP and UDP. The rules
 * themselves stand in native/network/rules.c.
 */
export type EgressRule = { readonly address: number; readonly prefix: number; /** 0: each */ readonly port: number };
export type Egress = { readonly public: boolean; readonly rules: readonly EgressRule[] };

/** What a number of megabits is to sandboxd. */
export const bytesPerSecond = (mbit: number): number => Math.round(mbit * 125_000);

/** FL_EGRESS_RULES_MAX */
export const EGRESS_RULES_MAX = 32;

const ENTRY = /^(?<address>\d{1,3}(\.\d{1,3}){3})(\/(?<prefix>\d{1,2}))?(:(?<port>\d{1,5}))?$/;
/** Closed to every sandbox: a rule for them would have no effect. */
const CLOSED = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'] as const;

/** What is wrong with an entry, or with all of them, is the message of the error; the caller knows where it stands. */
export class EgressProblem extends Error {}

export function parseEgress(entries: readonly string[]): Egress {
  const rules = entries.filter((entry) => entry !== 'public').map(parseRule);
  if (rules.length > EGRESS_RULES_MAX) throw new EgressProblem(`there are ${rules.length} addresses, more than ${EGRESS_RULES_MAX}`);
  return { public: entries.includes('public'), rules };
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
    const name = /^[A-Za-z0-9.-]+(:\d+)?$/.test(entry);
    throw new EgressProblem(name ? `${shown} is a host name: names are not resolved for a rule, since what they stand for changes` : `${shown} is not "public" or ADDRESS[/PREFIX][:PORT] (IPv4)`);
  }
  const value = parseAddress(address);
  if (value === undefined || Number(prefix) > 32 || Number(port) > 65_535 || (entry.includes(':') && Number(port) === 0)) throw new EgressProblem(`${shown} has a number that is too large, or port 0`);
  const block = parsePrefix(`${address}/${prefix}`);
  if (block === undefined) throw new EgressProblem(`${shown} has bits set beyond its prefix`);
  return { ...block, port: Number(port) };
}

type Block = { address: number; prefix: number };
const within = (inner: Block, outer: Block): boolean => inner.prefix >= outer.prefix && Math.floor(inner.address / 2 ** (32 - outer.prefix)) === outer.address / 2 ** (32 - outer.prefix);
