/** The supervisor's command line: descriptors and limits, fixed at start and passed on to sandboxd. native/sandboxd reads it. */
import { parseAddress, parsePrefix, type Config } from '../config/index.ts';
import type { ServiceUser } from './user.ts';

const MIB = 1024 * 1024;
/** One inode for each 4 KiB of the writable layer, up to what the protocol allows. */
const BYTES_PER_INODE = 4096;
const INODES_MAX = 1_000_000;

export type SupervisorSettings = {
  config: Config;
  user: ServiceUser;
  /** Name of the cgroup that is ours alone. */
  cgroup: string;
  /** Descriptors: the image of supervisor and sandboxd, the runtimes' pack, the flashd binary. */
  image: number;
  pack: number;
  binary: number;
  /** The gateway's whole command line, argv[0] included. */
  gateway: readonly string[];
};

export function supervisorArguments({ config, user, cgroup, image, pack, binary, gateway }: SupervisorSettings): string[] {
  const { functionDefaults: defaults } = config;
  const tmpBytes = defaults.tmpMb * MIB;
  const range = parsePrefix(config.egressRange)!;
  const options: Record<string, string | number> = {
    'binary': binary,
    'pack': pack,
    'image': image,
    'uid': user.uid,
    'gid': user.gid,
    'cgroup': cgroup,
    'uid-base': config.uidBase,
    'slots': config.slots,
    'pool-floor': config.poolFloor,
    'pool-ceiling': config.poolCeiling,
    'own': config.interpreters === 'own' ? 1 : 0,
    'light': config.allowProcessIsolation,
    'templates': config.templates,
    'spares': config.spares,
    'template-forks': config.templateForks,
    'template-seconds': config.templateSeconds,
    'egress-range': range.address,
    'egress-prefix': range.prefix,
    'nameserver': parseAddress(config.egressDns) ?? 0,
    // What a pooled sandbox is built with: a function that asks for the same needs no adjustment on the fast path.
    'memory-bytes': defaults.memoryMb * MIB,
    'tmp-bytes': tmpBytes,
    'tmp-inodes': Math.min(INODES_MAX, Math.floor(tmpBytes / BYTES_PER_INODE)),
    'pids': defaults.pids,
    'cpu-millis': Math.round(defaults.cpu * 1000),
    'descriptors': defaults.descriptors,
  };
  return ['flashd-supervisor', ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]), '--', ...gateway];
}
