/**
 * In what the answers of the light class differ from answers.ts, each difference with its reason. What it does not promise stands in native/README.md in the same words: a test compares them. An entry that
 * says what the full class says is a fault, as one that is missing is: the list is exact.
 */
import { each, FILES, LOOKS, of, SIGNALS, type Answer } from './answers.ts';

/** forks: only of what is forked from a template, not of a program that it has started. */
export type Difference = { readonly why: string; readonly forks?: true; readonly answers: Readonly<Record<string, Readonly<Record<string, Answer>>>> };

/** Refused here as well, by something else. */
export const REFUSED_OTHERWISE: readonly Difference[] = [
  {
    why: '/proc shows to each instance its own processes alone, and so not the init',
    answers: { processes: each('ENOENT', ...of(FILES, 'the init')), files: each('ENOENT', 'write /proc/1/exe', 'follow a link through the init') },
  },
  {
    why: 'Landlock refuses TCP before anybody looks for a route',
    answers: {
      network: each('EACCES', 'port of the gateway', 'port of the gateway by 0.0.0.0', "port of the host's", "port of the host's by ipv6", "port of the host's by its address", 'port of the victim', 'the internet', 'the internet by ipv6', 'metadata service'),
    },
  },
  {
    why: 'Landlock keeps abstract sockets in; the seal closes System V IPC',
    answers: {
      network: each('EPERM', 'abstract socket of the victim', 'shared memory of the victim', 'message queue of the victim'),
      calls: each('EPERM', 'reserve of huge pages by a segment'),
    },
  },
  { why: 'Landlock refuses to make devices before the kernel looks for a capability', answers: { files: each('EACCES', 'mknod mem', 'mknod null', 'mknod disk') } },
  {
    why: "the program's file stands in its template's mounts, which Landlock does not name: it cannot be opened by that link at all",
    forks: true,
    answers: { files: each('EBADF', 'chmod /proc/self/exe', 'map /proc/self/exe shared and writable') },
  },
  { why: 'ids that are not those of a slot do not exist in the room', answers: { identity: each('EINVAL', 'setresuid another function') } },
];

export const NOT_PROMISED: readonly Difference[] = [
  {
    why: 'that others of the class are not noticed: there is one process table, a signal to somebody else is refused rather than lost, and his session and processors are told',
    answers: { processes: { ...each('EPERM', ...of([...SIGNALS, 'signal the pidfd of'], 'victim')), ...each('done', ...of(LOOKS, 'victim')) } },
  },
  {
    why: 'that UDP ports, over which nothing can be sent or received, and the names of abstract sockets, which nobody else can connect to, are its own: others find them taken, and listed',
    answers: { network: { ...each('EADDRINUSE', 'the number of a port that the victim has', 'the name of a socket that the victim has'), "the victim's socket in /proc/net/unix": 'listed' } },
  },
];

export const DIFFERENCES = [...REFUSED_OTHERWISE, ...NOT_PROMISED];

export function answersOf(group: string, program = false): Record<string, Answer> {
  return Object.assign({}, ...DIFFERENCES.filter(({ forks }) => !program || forks === undefined).map(({ answers }) => answers[group] ?? {}));
}
