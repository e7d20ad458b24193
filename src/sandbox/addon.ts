/**
 * The shape of the native addon (native/addon, loaded by src/native-addon.ts). Only src/sandbox and src/main.ts use it.
 * Every function throws an Error with `code` (an errno name such as "EPIPE") and `syscall` when a system call fails, and a TypeError for arguments of the wrong shape.
 */

/** A channel: the gateway's end of one instance (data socket, stdout and stderr pipes). A small non-negative integer, reused after close. */
export type ChannelId = number;

/** null when empty; a short ASCII text as a string, everything else as bytes. */
export type ResponseBody = ArrayBuffer | string | null;

/** Called inside one batch per turn of the event loop; must not throw. `headers` and error texts are validated (bounds, CR, LF, NUL, header-name tokens). */
export interface AddonEvents {
  /**
   * status: 200…599. headers: "name\0value\0…" as latin1 text, without those of the connection (content-length …).
   * Times in microseconds, 0 when not measured.
   */
  onResponse(channel: ChannelId, id: number, status: number, headers: string, body: ResponseBody, loadUs: number, handlerUs: number): void;
  /**
   * fault: enum fl_fault. text: "type\0message\0stack\0" as UTF-8 text with replacement characters. A response whose status or headers may not be sent
   * comes as FL_FAULT_RESPONSE too; the channel lives on. id 0, at most once: the function failed to load before the instance had read a request.
   */
  onFault(channel: ChannelId, id: number, fault: number, text: string, loadUs: number, handlerUs: number): void;
  /**
   * The data socket ended or broke the protocol (a reply nobody asked for included); nothing more comes from it, and send throws EPIPE.
   * reason: "end" | "garbage" | "reset". Log pipes stay until their own end or close().
   */
  onBroken(channel: ChannelId, reason: string, detail: string): void;
  /** stream: 1 stdout, 2 stderr. At most 64 KiB a call. An empty chunk is the end of that stream. */
  onLog(channel: ChannelId, stream: 1 | 2, chunk: Uint8Array): void;
  /** One control packet from sandboxd. */
  onControl(packet: Uint8Array): void;
  /** sandboxd's end of the control socket is gone. */
  onControlEnd(): void;
  /** The supervisor hands over a control socket to a (new) sandboxd: call openControl(fd). -1: the supervisor is gone. */
  onLifeline(controlFd: number): void;
}

export interface AddonLimits {
  /** Bytes; a longer response is reported by onBroken("garbage", "too-large") */
  responseBodyMax: number;
  channelsMax: number;
}

export interface Addon {
  /** Once per process, before anything below up to `closeChannel`. */
  start(events: AddonEvents, limits: AddonLimits): void;
  /** Unreferences everything so that the process can end; closes all channels and the control socket. */
  stop(): void;

  /** Reads the supervisor's socket (descriptor 3 of the gateway). */
  openLifeline(fd: number): void;
  /** To the supervisor, and by it to the service manager: the gateway serves; its event loop turns. */
  tellReady(): void;
  tellAlive(): void;
  openControl(fd: number): void;
  /** One packet without descriptors. */
  sendControl(packet: Uint8Array): void;
  /**
   * Makes the socket pair and the two pipes, sends `packet` (struct fl_create) with the four far ends, keeps the near ones.
   * EMFILE: channelsMax are open. EAGAIN: sandboxd is not reading.
   */
  openChannel(packet: Uint8Array, bundleFd: number): ChannelId;
  /** Right after openChannel: the largest response of this channel, in place of responseBodyMax. */
  allowResponse(channel: ChannelId, bytes: number): void;
  /** How the instance came about, as entries of Server-Timing, each with ", " before it; "" when it has not told, or the channel is closed. */
  startTiming(channel: ChannelId): string;
  /** More was written to this stream than is kept: it is read again a little later, and who writes to it waits when its pipe is full. Nothing happens to a channel that is closed. */
  restLog(channel: ChannelId, stream: 1 | 2): void;
  /**
   * Writes one frame (native/include/flashd/frame.h); what does not fit now is queued and flushed as the instance reads. Chunks are copied.
   * A frame of type INIT is queued without being flushed: the following REQUEST takes it along.
   */
  send(channel: ChannelId, type: number, flags: number, id: number, aux: number, meta: string | Uint8Array, body: readonly Uint8Array[]): void;
  /**
   * Closes the data socket and, after what they still hold (at most 256 KiB each) has been delivered, the pipes. No event follows but onLog,
   * with an empty chunk last for each stream.
   */
  closeChannel(channel: ChannelId): void;

  /** A sealed, executable memfd with these bytes. Closed on exec unless kept. */
  memfd(name: string, bytes: Uint8Array): number;
  /** Replaces this process (execveat, AT_EMPTY_PATH): it keeps the standard streams and keepFds; signal dispositions and the mask are reset. Never returns. */
  exec(fd: number, argv: readonly string[], env: readonly string[], keepFds: readonly number[]): never;
  /** The gateway's own seccomp filter on every thread (TSYNC), and nobody may trace or dump it any more. Irreversible. Returns the number of BPF instructions. */
  confine(): number;
  /**
   * From now on, while REQUEST frames are sent now and then, these bytes are sent to a numeric address every periodMs and the answer is read (native/addon/pulse.h). Once per process,
   * before confine.
   */
  startPulse(host: string, port: number, request: Uint8Array, periodMs: number): void;
  stopPulse(): void;
  /** Landlock's version on this kernel; 0: there is none. */
  landlock(): number;
  /** SO_PEERCRED of a connected unix socket. */
  peer(fd: number): { pid: number; uid: number; gid: number };
  /** close(2), for descriptors handed between the parts above. */
  closeFd(fd: number): void;
  /** Two sockets of this process listen on the port: new connections go to the younger one. */
  preferSuccessor(port: number): void;
  /** This thread asks the scheduler for short turns, and so gets them sooner beside others that work (native/addon/process.h). */
  preferShortTurns(): void;
  /** This thread runs in the lane and the process's other threads elsewhere, or all wherever they may (native/base/lane.h). False: there is none. */
  keepLane(open: boolean): boolean;
}
