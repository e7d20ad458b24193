/**
 * A function directory's manifest: function.json (optional) validated against function.schema.json, what it leaves out filled in from the
 * configuration's functionDefaults, the runtime and the handler found by the handler's file name. Reads the directory, runs nothing of it.
 */
import { constants } from 'node:fs';
import { lstat, open, readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { ErrorObject } from 'ajv';
import { EgressProblem, parseEgress, type Config, type Egress, type FunctionDefaults } from '../config/index.ts';
import { FlashdError, isSystemError } from '../errors/index.ts';
import { nearest } from '../errors/nearest.ts';
import { compile, InterceptionProblem, type InterceptionManifest, type InterceptionPolicy } from '../interception/index.ts';
import { isHandlerOf, matches, RUNTIMES, type Runtime } from '../runtimes/index.ts';
import schema from './function.schema.json' with { type: 'json' };
import validate from './function.schema.validator.ts';

export type Manifest = FunctionDefaults & {
  readonly runtime: string;
  /** Relative to the function's directory. */
  readonly handler: string;
  readonly symbol: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Environment variables whose values are kept by the registry. */
  readonly secrets?: readonly string[];
  readonly auth?: 'none' | 'key';
  readonly network?: Network;
  readonly requestIsolation?: RequestIsolation;
  /** undefined is "full". */
  readonly isolation?: 'full' | 'process';
  readonly interception?: InterceptionManifest;
  readonly warmup?: Readonly<Record<string, unknown>>;
};

/** "egress": every public address; undefined is "none". */
export type Network = 'none' | 'egress' | { readonly egress: readonly string[]; readonly bandwidthMbit?: number };

/** What a request may find of those before it; undefined is "reuse". */
export type RequestIsolation = 'reuse' | 'fresh' | 'restore';

export const MANIFEST_FILE = 'function.json';
const MANIFEST_BYTES_MAX = 256 * 1024;
/** The environment travels in the meta of the INIT frame, whose limit is 1 MiB. */
const ENVIRONMENT_BYTES_MAX = 512 * 1024;

/** What has to be built before the directory has its handler; undefined when it has one. */
export type Unbuilt = { readonly recipe: NonNullable<Runtime['build']> };

export async function readManifest(directory: string, defaults: FunctionDefaults): Promise<{ manifest: Manifest; unbuilt: Unbuilt | undefined }> {
  const { $schema: _, bundle, ...given } = await readGiven(directory);
  const files = (await readdir(directory)).sort();
  const { runtime, handler, unbuilt } = withPackages(bundled(await findHandler(directory, files, given), bundle === true), files);
  const manifest: Manifest = { ...defaults, symbol: runtime.symbol, environment: {}, ...given, runtime: runtime.name, handler };
  if (given.concurrency !== undefined && given.concurrency > runtime.maxConcurrency) {
    throw new FlashdError('manifest_invalid', {
      message: `concurrency is ${given.concurrency}, but an instance of ${runtime.name} takes at most ${runtime.maxConcurrency} at a time`,
      hint: `set concurrency to ${runtime.maxConcurrency} or less in ${MANIFEST_FILE}; more instances are started by themselves`,
    });
  }
  if (manifest.isolation === 'process') checkLight(manifest, runtime);
  egressOf(manifest.network);
  interceptionOf(manifest.interception);
  checkRestore(manifest);
  return { manifest: { ...manifest, concurrency: Math.min(manifest.concurrency, runtime.maxConcurrency, mostAtOnce(given)) }, unbuilt };
}

/** Requests that are to find nothing of each other do not meet in an instance either. */
function mostAtOnce({ requestIsolation = 'reuse', concurrency = 1 }: Given): number {
  if (requestIsolation === 'reuse') return Infinity;
  if (concurrency === 1) return 1;
  throw new FlashdError('manifest_invalid', {
    message: `requestIsolation is ${requestIsolation}, but concurrency is ${concurrency}: requests at the same time in one instance are not isolated`,
    hint: `leave concurrency out of ${MANIFEST_FILE}; more instances are started by themselves`,
  });
}

/** What the light class has no way to give. */
function checkLight({ network, interception }: Manifest, runtime: Runtime): void {
  const details = { key: 'isolation' };
  if (network !== undefined && network !== 'none') {
    throw new FlashdError('manifest_invalid', { message: `isolation in ${MANIFEST_FILE} is "process", which has no network at all, but network asks for one`, hint: 'leave one of them out', details });
  }
  if (interception !== undefined) {
    throw new FlashdError('manifest_invalid', { message: `isolation in ${MANIFEST_FILE} is "process", whose system calls are not intercepted`, hint: 'leave out isolation or interception', details });
  }
  if (runtime.keepsProcessId === true) {
    throw new FlashdError('manifest_invalid', { message: `isolation in ${MANIFEST_FILE} is "process", but ${runtime.name} has to keep its process id, which others may have there`, hint: 'leave it out', details });
  }
}

/** What is rewound are standbys, forked from the function template. */
function checkRestore({ requestIsolation, isolation, interception, standby, functionTemplate }: Manifest): void {
  if (requestIsolation === 'restore' && interception !== undefined) {
    throw new FlashdError('manifest_invalid', {
      message: `interception and "requestIsolation": "restore" exclude each other in ${MANIFEST_FILE}: what puts an instance back would be intercepted`,
      hint: 'leave one of them out, or set requestIsolation to fresh',
    });
  }
  if (requestIsolation === 'restore' && isolation === 'process') {
    throw new FlashdError('manifest_invalid', {
      message: `isolation in ${MANIFEST_FILE} is "process", where processes and networks are not the instance's own: nobody could prove that it is restored`,
      hint: 'leave it out, or set requestIsolation to fresh',
    });
  }
  if (requestIsolation !== 'restore' || (standby > 0 && functionTemplate > 0)) return;
  throw new FlashdError('manifest_invalid', {
    message: `requestIsolation is restore, which needs ${standby > 0 ? 'a functionTemplate' : 'at least one standby'}`,
    hint: `leave ${standby > 0 ? 'functionTemplate' : 'standby'} out of ${MANIFEST_FILE}, or set requestIsolation to fresh`,
  });
}

/** undefined: nothing, it has loopback only. */
export function egressOf(network: Network | undefined): Egress | undefined {
  if (network === undefined || network === 'none') return undefined;
  try {
    return parseEgress(network === 'egress' ? ['public'] : network.egress);
  } catch (error) {
    if (!(error instanceof EgressProblem)) throw error;
    throw new FlashdError('manifest_invalid', { message: `network in ${MANIFEST_FILE}: ${error.message}`, hint: 'name addresses or hosts: {"egress": ["10.0.0.5:5432", "203.0.113.0/24:443", "api.example.org:443", "*.example.org:443"]}, or "public" for every public address', details: { key: 'network' } });
  }
}

/** Megabits a second that it may send, and receive: what function.json asks for, within the operator's bounds. */
export function bandwidthOf(network: Network | undefined, { egressMbit, egressMbitMax }: Bandwidth): number {
  const asked = typeof network === 'object' ? network.bandwidthMbit : undefined;
  return Math.min(asked ?? egressMbit, egressMbitMax);
}
export type Bandwidth = Pick<Config, 'egressMbit' | 'egressMbitMax'>;

/** undefined: its system calls are nobody's business. */
export function interceptionOf(interception: InterceptionManifest | undefined): InterceptionPolicy | undefined {
  try {
    return interception === undefined ? undefined : compile(interception);
  } catch (error) {
    if (!(error instanceof InterceptionProblem)) throw error;
    throw new FlashdError('manifest_invalid', { message: `interception in ${MANIFEST_FILE}: ${error.message}`, hint: 'see "Interception" in native/README.md; `flashd profile NAME` lists the calls that a function uses', details: { key: 'interception' } });
  }
}

type Given = Partial<Manifest> & { readonly $schema?: string; readonly bundle?: boolean };

const isGiven = (value: unknown): value is Given => validate(value);

async function readGiven(directory: string): Promise<Given> {
  const content = await readSmallFile(join(directory, MANIFEST_FILE));
  if (content === undefined) return {};
  let given: unknown;
  try {
    given = JSON.parse(content);
  } catch (error) {
    throw new FlashdError('manifest_invalid', {
      message: `${MANIFEST_FILE} is not JSON: ${(error as Error).message}`,
      hint: 'correct its syntax',
      cause: error,
    });
  }
  if (!isGiven(given)) throw invalid(validate.errors![0]!, given);
  const bytes = Object.entries(given.environment ?? {}).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
    0,
  );
  if (bytes > ENVIRONMENT_BYTES_MAX) {
    throw new FlashdError('manifest_invalid', {
      message: `environment in ${MANIFEST_FILE} takes ${bytes} bytes, more than ${ENVIRONMENT_BYTES_MAX}`,
      hint: 'put large values into a file of the function',
    });
  }
  const twice = given.secrets?.find((name) => Object.hasOwn(given.environment ?? {}, name));
  if (twice !== undefined) {
    throw new FlashdError('manifest_invalid', { message: `${twice} stands in ${MANIFEST_FILE} under environment and under secrets`, hint: 'leave it in one of them' });
  }
  return given;
}

/** The handler that it has is built into another one. */
function bundled(found: Found, wanted: boolean): Found {
  const { runtime, unbuilt } = found;
  if (!wanted || unbuilt !== undefined) return found;
  if (runtime.build?.again !== true) {
    throw new FlashdError('manifest_invalid', { message: `bundle is true, but there is no bundler for ${runtime.name}`, hint: `leave it out of ${MANIFEST_FILE}` });
  }
  return { runtime, handler: runtime.build.product, unbuilt: { recipe: runtime.build } };
}

/** What it names beside its handler has to be fetched. */
function withPackages(found: Found, files: readonly string[]): Found {
  const { build } = found.runtime;
  if (build?.unpacks !== true || !hasSource(build, files)) return found;
  if (!files.includes(build.product)) return { ...found, unbuilt: { recipe: build } };
  throw new FlashdError('manifest_invalid', {
    message: `there are both ${build.sources.find((source) => files.includes(source))} and ${build.product}, which is what it is installed into`,
    hint: `remove one of them, or rename the directory ${build.product}`,
  });
}

async function readSmallFile(path: string): Promise<string | undefined> {
  let handle;
  try {
    // Not blocking: a named pipe of this name must not hang the gateway.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const status = await handle.stat();
    if (!status.isFile() || status.size > MANIFEST_BYTES_MAX) {
      throw new FlashdError('manifest_invalid', {
        message: `${MANIFEST_FILE} is not a file of at most ${MANIFEST_BYTES_MAX} bytes`,
        hint: 'put large values into another file of the function',
      });
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

type Found = { runtime: Runtime; handler: string; unbuilt?: Unbuilt };

async function findHandler(directory: string, files: string[], given: Partial<Manifest>): Promise<Found> {
  if (given.handler !== undefined) {
    const handler = given.handler.replace(/^(\.\/)+/, '');
    const runtime = given.runtime === undefined ? runtimeOfFile(handler) : runtimeNamed(given.runtime);
    if (runtime.build?.product === handler && makesHandler(runtime.build, files) && !files.includes(handler)) return { runtime, handler, unbuilt: { recipe: runtime.build } };
    await requireFile(directory, handler, runtime);
    return { runtime, handler };
  }
  const candidates = given.runtime === undefined ? detectable() : [runtimeNamed(given.runtime)];
  const found: { runtime: Runtime; handler: string }[] = [];
  for (const runtime of candidates) {
    const handler = await preferred(directory, files, runtime);
    if (handler !== undefined) found.push({ runtime, handler });
  }
  if (found.length > 1) {
    throw new FlashdError('manifest_invalid', {
      message: `${found.map((each) => `${each.handler} (${each.runtime.name})`).join(' and ')} are both handlers`,
      hint: `say which one in ${MANIFEST_FILE}: {"runtime": "${found[0]!.runtime.name}"}`,
    });
  }
  if (found.length === 0) {
    const runtime = candidates.find(({ build }) => makesHandler(build, files));
    if (runtime?.build !== undefined) return { runtime, handler: runtime.build.product, unbuilt: { recipe: runtime.build } };
    throw noHandler(files, candidates);
  }
  await requireFile(directory, found[0]!.handler, found[0]!.runtime);
  return found[0]!;
}

function hasSource(recipe: Unbuilt['recipe'], files: readonly string[]): boolean {
  return recipe.sources.some((source) => files.includes(source));
}

/** Of a runtime whose handlers are built. */
function makesHandler(recipe: Runtime['build'], files: readonly string[]): recipe is Unbuilt['recipe'] {
  return recipe !== undefined && recipe.unpacks !== true && hasSource(recipe, files);
}

const detectable = (): Runtime[] => [...RUNTIMES.values()].filter(({ detected }) => detected !== false);

async function preferred(directory: string, files: string[], runtime: Runtime): Promise<string | undefined> {
  for (const pattern of runtime.handlers) {
    for (const file of files) {
      if (matches(pattern, file) && !(await lstat(join(directory, file))).isDirectory()) return file;
    }
  }
  return undefined;
}

/** By its name, else by the extension that only one runtime's handlers have. */
function runtimeOfFile(handler: string): Runtime {
  const name = handler.slice(handler.lastIndexOf('/') + 1);
  const runtimes = detectable();
  const byName = runtimes.filter((runtime) => isHandlerOf(runtime, name));
  const byExtension = runtimes.filter(
    (runtime) => extname(name) !== '' && runtime.handlers.some((pattern) => extname(pattern) === extname(name)),
  );
  const found = byName.length > 0 ? byName : byExtension;
  if (found.length === 1) return found[0]!;
  throw new FlashdError('manifest_invalid', {
    message: `the runtime of the handler ${handler} cannot be told from its name`,
    hint: `add "runtime" to ${MANIFEST_FILE}: one of ${[...RUNTIMES.keys()].join(', ')}`,
  });
}

function runtimeNamed(name: string): Runtime {
  const runtime = RUNTIMES.get(name);
  if (runtime !== undefined) return runtime;
  const suggestion = nearest(name, RUNTIMES.keys());
  throw new FlashdError('unsupported_runtime', {
    message: `there is no runtime "${name}"`,
    hint: suggestion === undefined ? `the runtimes are ${[...RUNTIMES.keys()].join(', ')}` : `did you mean "${suggestion}"?`,
  });
}

async function requireFile(directory: string, handler: string, runtime: Runtime): Promise<void> {
  const status = await stat(join(directory, handler)).catch(() => undefined);
  if (status === undefined || !status.isFile()) {
    throw new FlashdError('no_handler', {
      message: `the handler ${handler} is not a file in the directory`,
      hint: `check "handler" in ${MANIFEST_FILE}; a ${runtime.name} function's is usually ${runtime.handlers.join(' or ')}`,
    });
  }
  // A handler without an extension is a program that is executed, all others are loaded.
  if (extname(handler) === '' && (status.mode & 0o111) === 0) {
    throw new FlashdError('no_handler', { message: `the handler ${handler} is not executable`, hint: `chmod +x ${handler}` });
  }
}

function noHandler(files: string[], candidates: Runtime[]): FlashdError {
  const looked = candidates.map((runtime) => `${runtime.handlers.join(' or ')} (${runtime.name})`).join(', ');
  const close = files
    .map((file) => ({
      file,
      meant: nearest(
        file,
        candidates.flatMap((runtime) => runtime.handlers),
      ),
    }))
    .find(({ file, meant }) => meant !== undefined && extname(file) === extname(meant));
  return new FlashdError('no_handler', {
    message: `the directory has no handler: looked for ${looked}`,
    ...(close === undefined
      ? {}
      : { hint: `there is ${close.file}: rename it to ${close.meant}, or name it as "handler" in ${MANIFEST_FILE}` }),
    details: { lookedFor: candidates.flatMap((runtime) => runtime.handlers) },
  });
}

function invalid(problem: ErrorObject, given: unknown): FlashdError {
  const path = problem.instancePath.slice(1).replaceAll('/', '.');
  if (problem.keyword === 'additionalProperties') {
    const unknown = String(problem.params['additionalProperty']);
    const keys = Object.keys(schema.properties).filter((key) => key !== '$schema');
    const suggestion = nearest(unknown, keys);
    return new FlashdError('manifest_invalid', {
      message: `${MANIFEST_FILE} has an unknown key "${unknown}"`,
      hint: suggestion === undefined ? `the keys are ${keys.join(', ')}` : `did you mean "${suggestion}"?`,
      details: { key: unknown },
    });
  }
  if (path === '' && problem.keyword === 'type')
    return new FlashdError('manifest_invalid', { message: `${MANIFEST_FILE} must be a JSON object`, hint: 'e.g. {"memoryMb": 256}' });
  const [key, inner] = path.split('.') as [string, string?];
  const property = (schema.properties as Record<string, { description?: string; minimum?: number; maximum?: number; type?: string }>)[key];
  const found = (given as Record<string, unknown>)[key];
  // Whoever mistakes "secrets" for a place to put values must not find them in a log.
  const shown = inner === undefined && found !== undefined && key !== 'secrets' ? ` is ${JSON.stringify(found).slice(0, 100)}, but` : '';
  const range =
    property?.minimum === undefined
      ? ''
      : `: a ${property.type === 'integer' ? 'whole ' : ''}number from ${property.minimum} to ${property.maximum}`;
  return new FlashdError('manifest_invalid', {
    message: `${path} in ${MANIFEST_FILE}${shown} ${problem.message ?? 'is not valid'}${range}`,
    hint: property?.description === undefined ? `see \`flashd deploy --help\`` : `${key} is: ${property.description}`,
    details: { key: path },
  });
}
