'use strict';
/*
 * The stream of frames on an instance's data socket (native/include/flashd/frame.h). It is read where the event loop waits anyway, and written at once as long as the socket
 * takes it.
 */
const fs = require('node:fs');

const HEADER_BYTES = 32, READ_BYTES = 64 << 10;
const TYPE = { INIT: 1, REQUEST: 2, PING: 3, FREEZE: 4, READY: 129, RESPONSE: 130, ERROR: 131 };
const FAULT = { NO_HANDLER: 1, LOAD: 2, CALL: 3, RESPONSE: 4, EXIT: 5 };
const BODY_BINARY = 1;

/** body: text or a Buffer. */
function encodeFrame(type, id, aux, meta = '', body = '', loadUs = 0, handlerUs = 0) {
  const metaBytes = Buffer.byteLength(meta), bodyBytes = Buffer.byteLength(body);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + metaBytes + bodyBytes);
  frame.writeUInt32LE(metaBytes + bodyBytes, 0);
  frame.writeUInt32LE(metaBytes, 4);
  frame.writeUInt32LE(id, 8);
  frame.writeUInt32LE(type, 12);
  frame.writeUInt32LE(aux, 16);
  frame.writeUInt32LE(loadUs, 20);
  frame.writeUInt32LE(handlerUs, 24);
  frame.writeUInt32LE(0, 28);
  frame.write(meta, HEADER_BYTES);
  if (typeof body === 'string') frame.write(body, HEADER_BYTES + metaBytes);
  else body.copy(frame, HEADER_BYTES + metaBytes);
  return frame;
}

class Channel {
  #socket;
  #fd;
  #kept = [];  // of a frame that has not arrived whole
  #have = 0;
  #need = HEADER_BYTES;

  /** open(options) makes the socket; onFrame(header, meta, body) is called for each frame, whose buffers are valid only meanwhile; onEnd when there will be no more. */
  constructor(open, onFrame, onEnd, fd) {
    const callback = (length, buffer) => {
      this.#receive(buffer.subarray(0, length), onFrame);
      return true;
    };
    this.#fd = fd;
    this.#socket = open({ onread: { buffer: Buffer.alloc(READ_BYTES), callback } });
    for (const event of ['end', 'error', 'close']) this.#socket.on(event, onEnd);
  }

  #receive(bytes, onFrame) {
    if (this.#have > 0) {
      this.#kept.push(Buffer.from(bytes));
      this.#have += bytes.length;
      if (this.#have < this.#need) return;
      bytes = Buffer.concat(this.#kept);
      this.#kept = [];
      this.#have = 0;
    }
    let at = 0;
    for (;;) {
      const left = bytes.length - at;
      this.#need = left < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + bytes.readUInt32LE(at);
      if (left < this.#need) break;
      const body = at + HEADER_BYTES + bytes.readUInt32LE(at + 4), end = at + this.#need;
      const next = end + HEADER_BYTES <= bytes.length ? bytes.readUInt16LE(end + 12) : 0;  // the type of a frame that has come along, as far as is known
      const header = { id: bytes.readUInt32LE(at + 8), type: bytes.readUInt16LE(at + 12), flags: bytes.readUInt16LE(at + 14), aux: bytes.readUInt32LE(at + 16), last: end === bytes.length, next };
      onFrame(header, bytes.subarray(at + HEADER_BYTES, body), bytes.subarray(body, end));
      at = end;
    }
    if (at === bytes.length) return;
    this.#kept.push(Buffer.from(bytes.subarray(at)));
    this.#have = bytes.length - at;
  }

  send(...parts) {
    this.#write(encodeFrame(...parts));
  }

  #write(frame) {
    let sent = 0;
    if (this.#socket.writableLength === 0) {
      try {
        sent = fs.writeSync(this.#fd ?? this.#socket._handle.fd, frame);
      } catch (error) {
        if (error.code !== 'EAGAIN') return;  // the other side is gone: the end comes by itself
      }
    }
    if (sent < frame.length) this.#socket.write(frame.subarray(sent));
  }
}

module.exports = { Channel, encodeFrame, TYPE, FAULT, BODY_BINARY, HEADER_BYTES };
