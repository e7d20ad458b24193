/**
 * Runs a test file of the addon against real sockets: on import, the process becomes fake_sandboxd (through the addon's own exec), which
 * becomes this very script again with a lifeline as descriptor 3. Events are kept until a test asks for them.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Addon, AddonEvents, ChannelId, ResponseBody } from '../../../src/sandbox/addon.ts';
import { FRAME, PROTOCOL } from '../../../src/sandbox/protocol.ts';

const root = join(import.meta.dirname, '../../..');
/** The sanitized build, or another one, may be named instead. */
const addonPath = process.env['FLASHD_TEST_ADDON'] ?? join(root, 'build/out/native/flashd.node');
export const fakeSandboxd = join(root, 'build/out/test/fake_sandboxd');

const target = { exports: {} as unknown };
process.dlopen(target, addonPath);
export const addon = target.exports as Addon;

export const RESPONSE_BODY_MAX = 8 << 20;
export const CHANNELS_MAX = 64;

/** enum behaviour of fake_instance.h */
export const BEHAVIOURS = [
  'echo', 'garbage', 'huge', 'cut', 'badHeader', 'slowReader', 'logFlood', 'idZero', 'reserved', 'twice', 'fault', 'silent', 'exitUnread',
  'hopByHop', 'tooLarge', 'dribble', 'reversed', 'readyFrame', 'metaTooLong', 'earlyFault', 'badStatus', 'closeLogs', 'manyHeaders',
  'oddHeaders', 'largeMeta', 'shutRead', 'outOfBand', 'badThenGood', 'tellsStart', 'tellsStartLate', 'tellsStartTwice', 'tellsStartShort',
  'begins', 'beginsUnasked',
] as const;
export type Behaviour = typeof BEHAVIOURS[number];

type Response = { channel: ChannelId; id: number; status: number; headers: string; body: ResponseBody; loadUs: number; handlerUs: number };

export type Event =
  | { kind: 'response' } & Response
  | { kind: 'fault'; channel: ChannelId; id: number; fault: number; text: string }
  | { kind: 'broken'; channel: ChannelId; reason: string; detail: string }
  | { kind: 'log'; channel: ChannelId; stream: 1 | 2; chunk: Uint8Array }
  | { kind: 'control'; type: number; request: number; packet: DataView }
  | { kind: 'controlEnd' }
  | { kind: 'lifeline'; fd: number };
export type EventOf<K extends Event['kind']> = Extract<Event, { kind: K }>;

export const events: Event[] = [];
const waiting = new Set<() => void>();

function keep(event: Event): void {
  events.push(event);
  for (const look of [...waiting]) look();
}

const collector: AddonEvents = {
  onResponse: (channel, id, status, headers, body, loadUs, handlerUs) =>
    keep({ kind: 'response', channel, id, status, headers, body, loadUs, handlerUs }),
  onFault: (channel, id, fault, text) => keep({ kind: 'fault', channel, id, fault, text }),
  onBroken: (channel, reason, detail) => keep({ kind: 'broken', channel, reason, detail }),
  onLog: (channel, stream, chunk) => keep({ kind: 'log', channel, stream, chunk }),
  onControl: (packet) => {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    keep({ kind: 'control', type: view.getUint16(4, true), request: Number(view.getBigUint64(8, true)), packet: view });
  },
  onControlEnd: () => keep({ kind: 'controlEnd' }),
  onLifeline: (fd) => keep({ kind: 'lifeline', fd }),
};

/** Waits for an event and takes it out of those kept. */
export async function next<K extends Event['kind']>(kind: K, where: (event: EventOf<K>) => boolean = () => true): Promise<EventOf<K>> {
  const timeoutMs = 10_000;
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      waiting.delete(look);
      reject(new Error(`no ${kind} event came within ${timeoutMs} ms; kept: ${events.map((event) => event.kind).join(' ')}`));
    }, timeoutMs);
    function look(): void {
      const index = events.findIndex((event) => event.kind === kind && where(event as EventOf<K>));
      if (index < 0) return;
      clearTimeout(timer);
      waiting.delete(look);
      resolve(events.splice(index, 1)[0] as EventOf<K>);
    }
    waiting.add(look);
    look();
  });
}

function header(type: number, size: number, request: number): DataView {
  const view = new DataView(new ArrayBuffer(size));
  view.setUint16(0, PROTOCOL.FL_PROTOCOL_MAGIC, true);
  view.setUint16(2, PROTOCOL.FL_PROTOCOL_VERSION, true);
  view.setUint16(4, type, true);
  view.setUint16(6, size, true);
  view.setBigUint64(8, BigInt(request), true);
  return view;
}

export const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer);
export const hello = (request: number): Uint8Array => bytesOf(header(PROTOCOL.FL_MSG_HELLO, 16, request));
/** The fake ends the control socket and hands over a new one. */
export const restart = (): Uint8Array => bytesOf(header(PROTOCOL.FL_MSG_STATS, 16, 1));

let requests = 0;
export const bundleFd = openSync('/', 'r');

function createPacket(behaviour: Behaviour): { packet: Uint8Array; request: number } {
  const request = ++requests;
  const view = header(PROTOCOL.FL_MSG_CREATE, 56, request);
  view.setUint32(16, BEHAVIOURS.indexOf(behaviour), true);
  return { packet: bytesOf(view), request };
}

export function open(behaviour: Behaviour, fd = bundleFd): { channel: ChannelId; request: number } {
  const { packet, request } = createPacket(behaviour);
  return { channel: addon.openChannel(packet, fd), request };
}

export function request(channel: ChannelId, id: number, meta: string | Uint8Array = '{}', body: readonly Uint8Array[] = []): void {
  addon.send(channel, FRAME.FL_FRAME_REQUEST, 0, id, 30_000, meta, body);
}

/** Kills the instance that CREATE `request` made, and waits until the fake has seen its end. */
export async function destroy(request: number): Promise<void> {
  const created = await next('control', (event) => event.type === PROTOCOL.FL_MSG_CREATED && event.request === request);
  const instance = created.packet.getBigUint64(16, true);
  const view = header(PROTOCOL.FL_MSG_DESTROY, 32, request);
  view.setBigUint64(16, instance, true);
  addon.sendControl(bytesOf(view));
  await next('control', (event) => event.type === PROTOCOL.FL_MSG_ENDED && event.packet.getBigUint64(16, true) === instance);
}

export const openDescriptors = (): number => readdirSync('/proc/self/fd').length;
export const afterTurns = async (count: number): Promise<void> => {
  for (let index = 0; index < count; index++) await new Promise((resolve) => setImmediate(resolve));
};

function newer(a: string, b: string): boolean {
  try {
    return statSync(a).mtimeMs > statSync(b).mtimeMs;
  } catch {
    return false;
  }
}

function becomeFakeSandboxd(): never {
  const sources = ['fake_sandboxd.c', 'fake_instance.c'].map((name) => join(import.meta.dirname, name));
  if (!sources.every((source) => newer(fakeSandboxd, source))) {
    const fresh = `${fakeSandboxd}.${process.pid}`;
    mkdirSync(join(root, 'build/out/test'), { recursive: true });
    const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE', `-I${join(root, 'native/include')}`];
    execFileSync('gcc', [...flags, '-o', fresh, ...sources], { stdio: 'inherit', env: { ...process.env, LD_PRELOAD: '' } });
    renameSync(fresh, fakeSandboxd);           // at once: test files run side by side
  }
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const command = [fakeSandboxd, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  return addon.exec(openSync(fakeSandboxd, 'r'), command, [...environment, 'FLASHD_TEST_LIFELINE=3'], []);
}

/** Starts the addon (once per process). Returns the control socket's descriptor, for its peer's pid. */
export async function start(): Promise<number> {
  addon.start(collector, { responseBodyMax: RESPONSE_BODY_MAX, channelsMax: CHANNELS_MAX });
  addon.openLifeline(3);
  const { fd } = await next('lifeline');
  addon.openControl(fd);
  return fd;
}

if (process.env['FLASHD_TEST_LIFELINE'] === undefined) becomeFakeSandboxd();
