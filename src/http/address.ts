/** The client's address as text. Making it costs a microsecond in uWebSockets.js, so IPv4 addresses are written here and remembered. */
export interface Peer {
  getRemoteAddress(): ArrayBuffer;
  getRemoteAddressAsText(): ArrayBuffer;
}

const REMEMBERED_MAX = 1024;
const remembered = new Map<number, string>();

export function clientAddress(peer: Peer): string {
  const bytes = new Uint8Array(peer.getRemoteAddress());
  if (bytes.length === 4) return ipv4(bytes, 0);
  if (bytes.length === 16 && isMapped(bytes)) return ipv4(bytes, 12);
  return Buffer.from(peer.getRemoteAddressAsText()).toString('latin1');
}

/** ::ffff:a.b.c.d */
export function isMapped(bytes: Uint8Array): boolean {
  for (let index = 0; index < 10; index++) if (bytes[index] !== 0) return false;
  return bytes[10] === 255 && bytes[11] === 255;
}

function ipv4(bytes: Uint8Array, at: number): string {
  const key = ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  let text = remembered.get(key);
  if (text === undefined) {
    text = `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    remembered.set(key, text);
  }
  return text;
}
