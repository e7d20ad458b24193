/** Frames of the data socket (native/include/flashd/frame.h) for tests that speak to a runtime's shim themselves. */
export const HEADER_BYTES = 32;
export const FRAME = { init: 1, request: 2, ready: 129, response: 130, error: 131 } as const;
export const BODY_BINARY = 1;

export type Frame = { type: number; flags: number; id: number; aux: number; loadUs: number; handlerUs: number; meta: Buffer; body: Buffer };

export function encodeFrame(type: number, id: number, meta: string | Buffer, body: Buffer = Buffer.alloc(0), flags = 0, aux = 0): Buffer {
  const metaBytes = Buffer.from(meta as string);
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(metaBytes.length + body.length, 0);
  header.writeUInt32LE(metaBytes.length, 4);
  header.writeUInt32LE(id, 8);
  header.writeUInt16LE(type, 12);
  header.writeUInt16LE(flags, 14);
  header.writeUInt32LE(aux, 16);
  return Buffer.concat([header, metaBytes, body]);
}

/** Cuts whole frames off the front of `bytes`; the rest is what has not arrived yet. Null: this is not a frame. */
export function decodeFrames(bytes: Buffer): { frames: Frame[]; rest: Buffer } | null {
  const frames: Frame[] = [];
  while (bytes.length >= HEADER_BYTES) {
    const [length, metaLength, id] = [bytes.readUInt32LE(0), bytes.readUInt32LE(4), bytes.readUInt32LE(8)];
    if (metaLength > length || length > 65 << 20 || bytes.readUInt32LE(28) !== 0) return null;
    if (bytes.length < HEADER_BYTES + length) break;
    frames.push({
      type: bytes.readUInt16LE(12), flags: bytes.readUInt16LE(14), id, aux: bytes.readUInt32LE(16),
      loadUs: bytes.readUInt32LE(20), handlerUs: bytes.readUInt32LE(24),
      meta: bytes.subarray(HEADER_BYTES, HEADER_BYTES + metaLength), body: bytes.subarray(HEADER_BYTES + metaLength, HEADER_BYTES + length),
    });
    bytes = bytes.subarray(HEADER_BYTES + length);
  }
  return { frames, rest: bytes };
}

/** "a\0b\0" → ["a", "b"] */
export function splitStrings(meta: Buffer): string[] {
  return meta.toString('utf8').split('\0').slice(0, -1);
}
