/** What native/include/flashd/intercept.h says: policies for system calls on their way to sandboxd, events on their way back. Compared with the header by test/unit/sandbox/protocol.test.ts. */
import type { EgressPolicy } from './protocol.ts';

export const INTERCEPT = {
  FL_INTERCEPT_CALLS: 464,
  FL_INTERCEPT_CONNECTS_MAX: 32,
  FL_INTERCEPT_PATHS_MAX: 32,
  FL_INTERCEPT_TEXT_BYTES: 2048,
  FL_INTERCEPT_DETAIL_BYTES: 256,

  FL_INTERCEPT_ALLOW: 0,
  FL_INTERCEPT_DENY: 1,
  FL_INTERCEPT_RULE: 2,
  FL_INTERCEPT_VERDICT: 3,
  FL_INTERCEPT_LOG: 4,
  FL_INTERCEPT_ERRNO_SHIFT: 4,

  FL_INTERCEPT_LEARN: 1,

  FL_INTERCEPT_READ: 1,
  FL_INTERCEPT_WRITE: 2,
  FL_INTERCEPT_EXECUTE: 3,

  FL_SYSCALL_AUDITED: 1,
  FL_SYSCALL_DENIED: 2,
  FL_SYSCALL_ALLOWED: 3,
  FL_SYSCALL_SEEN: 4,
} as const;

export const INTERCEPT_LAYOUT = {
  fl_intercept_path: { at: 0, kind: 2, $size: 4 },
  fl_intercept: { flags: 0, connects: 4, paths: 8, text_bytes: 12, call: 16, connect: 944, path: 1200, text: 1328, $size: 3376 },
  fl_create_intercepted: { create: 0, intercept: 344, $size: 3720 },
  fl_syscall: { header: 0, instance: 16, number: 24, verdict: 28, error: 32, pid: 36, dropped: 40, denied: 44, argument: 48, detail: 96, $size: 352 },
} as const;

/** calls: by number, enum fl_intercept_entry. Of one that learns they may change: each instance gets what stands there when it is asked for. */
export type Interception = {
  readonly learn: boolean;
  readonly calls: Uint16Array;
  readonly connects: EgressPolicy['rules'];
  readonly paths: readonly { readonly path: string; readonly kind: 'read' | 'write' | 'execute' }[];
};

export type SyscallVerdict = 'audited' | 'denied' | 'allowed' | 'seen';
export type SyscallEvent = {
  readonly type: 'syscall';
  readonly instance: number;
  readonly number: number;
  readonly verdict: SyscallVerdict;
  /** What it was answered with; 0: none, or not known. */
  readonly errno: number;
  /** Inside the sandbox; 0: it is gone. */
  readonly pid: number;
  /** Events of the instance that were too many to be told one by one, since the last; refusals among them. */
  readonly dropped: number;
  readonly denied: number;
  readonly arguments: readonly bigint[];
  /** The path or address that the call names, or "". */
  readonly detail: string;
};

const PATH_KINDS = { read: INTERCEPT.FL_INTERCEPT_READ, write: INTERCEPT.FL_INTERCEPT_WRITE, execute: INTERCEPT.FL_INTERCEPT_EXECUTE } as const;
const RULE_BYTES = 8;

const encoded = new WeakMap<Interception, Buffer>();

/** Behind a CREATE: bytes holds room for it. */
export function writeInterception(bytes: Buffer, interception: Interception): void {
  let policy = interception.learn ? undefined : encoded.get(interception);
  if (policy === undefined) encoded.set(interception, (policy = encodeInterception(interception)));
  policy.copy(bytes, INTERCEPT_LAYOUT.fl_create_intercepted.intercept);
}

function encodeInterception({ learn, calls, connects, paths }: Interception): Buffer {
  const bytes = Buffer.alloc(INTERCEPT_LAYOUT.fl_intercept.$size);
  const at = INTERCEPT_LAYOUT.fl_intercept;
  bytes.writeUInt32LE(learn ? INTERCEPT.FL_INTERCEPT_LEARN : 0, at.flags);
  for (const [number, entry] of calls.entries()) if (entry !== 0) bytes.writeUInt16LE(entry, at.call + 2 * number);
  bytes.writeUInt32LE(connects.length, at.connects);
  for (const [index, { address, prefix, port }] of connects.entries()) {
    const rule = at.connect + RULE_BYTES * index;
    bytes.writeUInt32LE(address, rule);
    bytes.writeUInt16LE(port, rule + 4);
    bytes.writeUInt8(prefix, rule + 6);
  }
  let text = 0;
  bytes.writeUInt32LE(paths.length, at.paths);
  for (const [index, { path, kind }] of paths.entries()) {
    const entry = at.path + INTERCEPT_LAYOUT.fl_intercept_path.$size * index;
    bytes.writeUInt16LE(text, entry);
    bytes.writeUInt16LE(PATH_KINDS[kind], entry + INTERCEPT_LAYOUT.fl_intercept_path.kind);
    text += bytes.write(path, at.text + text, 'utf8') + 1;
  }
  bytes.writeUInt32LE(text, at.text_bytes);
  return bytes;
}

const VERDICTS: Readonly<Record<number, SyscallVerdict>> = {
  [INTERCEPT.FL_SYSCALL_AUDITED]: 'audited',
  [INTERCEPT.FL_SYSCALL_DENIED]: 'denied',
  [INTERCEPT.FL_SYSCALL_ALLOWED]: 'allowed',
  [INTERCEPT.FL_SYSCALL_SEEN]: 'seen',
};

export function decodeSyscall(bytes: Buffer): SyscallEvent {
  const at = INTERCEPT_LAYOUT.fl_syscall;
  const end = bytes.indexOf(0, at.detail);
  return {
    type: 'syscall',
    instance: Number(bytes.readBigUInt64LE(at.instance)),
    number: bytes.readUInt32LE(at.number),
    verdict: VERDICTS[bytes.readUInt32LE(at.verdict)] ?? 'denied',
    errno: bytes.readInt32LE(at.error),
    pid: bytes.readInt32LE(at.pid),
    dropped: bytes.readUInt32LE(at.dropped),
    denied: bytes.readUInt32LE(at.denied),
    arguments: Array.from({ length: 6 }, (_, index) => bytes.readBigUInt64LE(at.argument + 8 * index)),
    detail: bytes.toString('utf8', at.detail, end === -1 ? at.$size : end),
  };
}
