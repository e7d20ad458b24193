/**
 * The configuration: defaults < file < FLASHD_* environment < flags, validated as a whole and deeply frozen. Nothing in flashd reads a
 * configuration from anywhere else. The launcher resolves it once and hands it to the gateway process as JSON in FLASHD_GATEWAY_CONFIG.
 */
import { readFileSync } from 'node:fs';
import type { ErrorObject } from 'ajv';
import { FlashdError, isSystemError } from '../errors/index.ts';
import { editDistance, nearest } from '../errors/nearest.ts';
import { parseAddress, parseEgress, parsePrefix, type Egress } from './egress.ts';
import { FUNCTION_DEFAULTS, NAMED_OPTIONS, OPTIONS, type Config, type NamedOption, type Option } from './options.ts';
import validate from './schema.validator.ts';

export { EGRESS_RULES_MAX, EgressProblem, bytesPerSecond, parseAddress, parseEgress, parsePrefix, parseRules, type Egress } from './egress.ts';
export { NAMED_OPTIONS, type Config, type FunctionDefaults, type NamedOption } from './options.ts';

export const DEFAULT_CONFIG_FILE = '/etc/flashd/config.json';
export const CONFIG_FILE_VARIABLE = 'FLASHD_CONFIG';
export const GATEWAY_CONFIG_VARIABLE = 'FLASHD_GATEWAY_CONFIG';

export type ConfigSources = {
  /** Path given with --config, else $FLASHD_CONFIG: it must exist. Without either DEFAULT_CONFIG_FILE is read if it exists. */
  configFile?: string | undefined;
  environment?: NodeJS.ProcessEnv | undefined;
  /** Values by flag name without the dashes: {"max-body-bytes": "1000"}. */
  flags?: Readonly<Record<string, string | undefined>> | undefined;
};

type Mutable = Record<string, unknown> & { functionDefaults: Record<string, unknown> };

export function loadConfig(sources: ConfigSources = {}): Config {
  const { value: file, name: fileName } = readConfigFile(sources.configFile ?? sources.environment?.[CONFIG_FILE_VARIABLE]);
  return resolveConfig({ file, fileName, environment: sources.environment ?? {}, flags: sources.flags ?? {} });
}

/** Pure: the same without reading a file. */
export function resolveConfig(sources: {
  file?: unknown;
  fileName?: string;
  environment?: NodeJS.ProcessEnv;
  flags?: Readonly<Record<string, string | undefined>>;
}): Config {
  const fileName = sources.fileName ?? 'the configuration file';
  const file = sources.file ?? {};
  const origin = new Map<string, string>();
  const fromFile = problemOf(file);
  if (fromFile) throw invalid(fromFile, file, (path) => `${path.join('.')} in ${fileName}`);

  const config = defaults();
  const given = file as Partial<Mutable>;
  Object.assign(config, given, { functionDefaults: { ...config.functionDefaults, ...given.functionDefaults } });
  refuseMistypedVariables(sources.environment ?? {});
  for (const named of NAMED_OPTIONS) {
    const key = named.path.join('.');
    const variable = sources.environment?.[named.environment];
    if (variable !== undefined) put(config, named, variable, named.environment, origin);
    const flag = sources.flags?.[named.flag.slice(2)];
    if (flag !== undefined) put(config, named, flag, named.flag, origin);
    if (!origin.has(key)) origin.set(key, `${key} in ${fileName}`);
  }
  const problem = problemOf(config);
  if (problem) throw invalid(problem, config, (path) => origin.get(path.join('.')) ?? path.join('.'));
  const resolved = config as unknown as Config;
  checkTogether(resolved);
  return freeze(resolved);
}

/** In the gateway process: what the launcher resolved, checked again, since an environment variable can come from anywhere. */
export function loadGatewayConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const json = environment[GATEWAY_CONFIG_VARIABLE];
  if (json === undefined) {
    throw new FlashdError('usage', {
      message: `${GATEWAY_CONFIG_VARIABLE} is not set`,
      hint: '`flashd gateway` is started by `flashd serve`',
    });
  }
  return resolveConfig({ file: parseJson(json, GATEWAY_CONFIG_VARIABLE), fileName: GATEWAY_CONFIG_VARIABLE });
}

/** "127.0.0.1:8080" or "[::1]:8080" in its parts; the schema has checked the form. */
export function parseListen(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':');
  return { host: listen.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) };
}

export function managementSocketPath(stateDir: string): string {
  return `${stateDir.replace(/\/+$/, '')}/flashd.sock`;
}

/** What people are told an option may be. */
export function rangeText(option: Option): string {
  if (option.type !== 'string')
    return `${option.type === 'integer' ? 'a whole number' : 'a number'} from ${option.minimum} to ${option.maximum}`;
  if (option.values !== undefined) return `one of ${option.values.join(', ')}`;
  return option.format ?? 'text';
}

/** The first thing that is wrong, or undefined. Missing options are right: they have defaults. */
function problemOf(value: unknown): ErrorObject | undefined {
  return validate(value) ? undefined : validate.errors?.[0];
}

function readConfigFile(path: string | undefined): { value: unknown; name: string } {
  const name = path ?? DEFAULT_CONFIG_FILE;
  let content: string;
  try {
    content = readFileSync(name, 'utf8');
  } catch (error) {
    if (path === undefined && isSystemError(error) && error.code === 'ENOENT') return { value: {}, name };
    throw new FlashdError('config_invalid', { message: `cannot read ${name}: ${(error as Error).message}`, cause: error });
  }
  return { value: parseJson(content, name), name };
}

function parseJson(content: string, name: string): unknown {
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new FlashdError('config_invalid', { message: `${name} is not JSON: ${(error as Error).message}`, cause: error });
  }
}

function defaults(): Mutable {
  const values = (table: Record<string, Option>) =>
    Object.fromEntries(Object.entries(table).map(([name, option]) => [name, option.default]));
  return { ...values(OPTIONS), functionDefaults: values(FUNCTION_DEFAULTS) };
}

function put(config: Mutable, named: NamedOption, given: string, origin: string, origins: Map<string, string>): void {
  const name = named.path.at(-1)!;
  const target: Record<string, unknown> = named.path.length === 1 ? config : config.functionDefaults;
  // An empty or odd text must not become a number silently ("" and " " are 0 to Number): it stays text, and the schema refuses it by its
  // name.
  const numeric = named.option.type !== 'string' && /^-?[0-9]+(\.[0-9]+)?$/.test(given);
  target[name] = numeric ? Number(given) : given;
  origins.set(named.path.join('.'), origin);
}

/**
 * A variable close to one of ours is a typing mistake that would otherwise be ignored silently; other FLASHD_ variables are not our
 * business.
 */
function refuseMistypedVariables(environment: NodeJS.ProcessEnv): void {
  const known = new Set(NAMED_OPTIONS.map((named) => named.environment));
  for (const variable of Object.keys(environment)) {
    if (!variable.startsWith('FLASHD_') || known.has(variable)) continue;
    for (const name of known) {
      if (editDistance(variable, name) > 2) continue;
      throw new FlashdError('config_invalid', { message: `there is no environment variable ${variable}`, hint: `did you mean ${name}?` });
    }
  }
}

function invalid(problem: ErrorObject, value: unknown, origin: (path: string[]) => string): FlashdError {
  const path = problem.instancePath.split('/').slice(1);
  if (problem.keyword === 'additionalProperties') {
    const unknown = String(problem.params['additionalProperty']);
    const known = Object.keys(path[0] === 'functionDefaults' ? FUNCTION_DEFAULTS : { ...OPTIONS, functionDefaults: {} });
    const suggestion = nearest(unknown, known);
    return new FlashdError('config_invalid', {
      message: `there is no option ${origin([...path, unknown])}`,
      ...(suggestion === undefined ? {} : { hint: `did you mean "${suggestion}"?` }),
    });
  }
  const named = NAMED_OPTIONS.find((candidate) => candidate.path.join('.') === path.join('.'));
  if (named === undefined) {
    return new FlashdError('config_invalid', {
      message: `${path.length === 0 ? 'the configuration' : origin(path)} must be a JSON object`,
    });
  }
  const found = path.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], value);
  return new FlashdError('config_invalid', {
    message: `${origin(path)} is ${JSON.stringify(found)}, which is not ${rangeText(named.option)}`,
    hint: `${named.option.description}; for example ${named.option.default === '' ? '""' : named.option.default}`,
  });
}

/** What holds between options. */
function checkTogether(config: Config): void {
  const refuse = (message: string, hint: string) => {
    throw new FlashdError('config_invalid', { message, hint });
  };
  if (parseListen(config.listen).port > 65_535)
    refuse(`the port in listen (${config.listen}) is above 65535`, 'choose a port from 1 to 65535');
  if ((config.tlsCert === '') !== (config.tlsKey === '')) refuse('of tlsCert and tlsKey only one is set', 'set both, or none');
  if (config.poolFloor > config.poolCeiling) {
    refuse(`poolFloor (${config.poolFloor}) is above poolCeiling (${config.poolCeiling})`, 'lower poolFloor or raise poolCeiling');
  }
  if (config.poolCeiling > config.slots) {
    refuse(`poolCeiling (${config.poolCeiling}) is above slots (${config.slots})`, 'lower poolCeiling or raise slots');
  }
  if (config.maxInstances > config.slots) {
    refuse(
      `maxInstances (${config.maxInstances}) is above slots (${config.slots})`,
      'each instance takes a slot: lower maxInstances or raise slots',
    );
  }
  const range = parsePrefix(config.egressRange);
  if (range === undefined) refuse(`egressRange (${config.egressRange}) is not ADDRESS/PREFIX without bits beyond the prefix`, 'for example 10.224.0.0/12');
  if (2 ** (32 - range!.prefix) <= config.slots) refuse(`egressRange (${config.egressRange}) has not more addresses than slots (${config.slots}) and one`, 'choose a shorter prefix');
  if (config.egressDns !== '' && (parseAddress(config.egressDns) ?? 0) === 0) refuse(`egressDns (${config.egressDns}) is not an address`, 'for example 192.0.2.53');
  if (config.egressMbit > config.egressMbitMax) refuse(`egressMbit (${config.egressMbit}) is above egressMbitMax (${config.egressMbitMax})`, 'lower egressMbit or raise egressMbitMax');
  try {
    egressOf(config.buildEgress);
  } catch (error) {
    refuse(`buildEgress: ${(error as Error).message}`, 'for example public,10.0.0.0/8:443');
  }
  if (config.uidBase % 65_536 !== 0) refuse(`uidBase (${config.uidBase}) is not a multiple of 65536`, 'for example 1879048192');
  if (config.uidBase + config.slots * 65_536 > 4_294_967_294) {
    refuse('uidBase and slots together pass the highest uid', 'lower uidBase or slots');
  }
}

/** What a comma-separated list of the configuration lets reach; undefined: nothing. */
export function egressOf(list: string): Egress | undefined {
  return list === 'none' ? undefined : parseEgress(list.split(',').map((entry) => entry.trim()));
}

function freeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) freeze(inner);
  return Object.freeze(value);
}
