/** Files over a data channel: a JSON head, binary pieces, a JSON end that carries the hash. */

import { Sha256 } from './sha256.js';

const PIECE = 64 << 10;
const FULL = 1 << 20;
const LOW = 256 << 10;
const BLOB = 4 << 20;

/** Sends one file after the other over `channel`, and receives what comes; `show(file)` is told of each new one. */
export class Files {
  #queue = Promise.resolve();
  #incoming;

  constructor(channel, show) {
    this.channel = channel;
    this.show = show;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = LOW;
    this.open = channel.readyState === 'open' ? Promise.resolve() : new Promise((resolve) => channel.addEventListener('open', resolve, { once: true }));
    channel.addEventListener('message', ({ data }) => this.#take(data));
    channel.addEventListener('close', () => this.#incoming?.fail('The connection ended'));
  }

  send(file, progress) {
    const sent = this.#queue.then(() => this.#send(file, progress));
    this.#queue = sent.catch(() => {});
    return sent;
  }

  async #send(file, progress) {
    const { channel } = this;
    await this.open;
    channel.send(JSON.stringify({ t: 'file', name: file.name, size: file.size, type: file.type }));
    const hash = new Sha256();
    for (let at = 0; at < file.size; at += PIECE) {
      const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
      if (channel.bufferedAmount > FULL) await this.#drained();
      if (channel.readyState !== 'open') throw new Error('The connection ended');
      channel.send(piece);
      hash.update(piece);
      progress(at + piece.length);
    }
    const sha256 = hash.hex();
    channel.send(JSON.stringify({ t: 'end', sha256 }));
    return sha256;
  }

  #drained() {
    const { channel } = this;
    return new Promise((resolve) => {
      const done = () => {
        channel.removeEventListener('bufferedamountlow', done);
        channel.removeEventListener('close', done);
        resolve();
      };
      channel.addEventListener('bufferedamountlow', done);
      channel.addEventListener('close', done);
    });
  }

  #take(data) {
    if (typeof data !== 'string') return this.#incoming?.piece(new Uint8Array(data));
    const message = JSON.parse(data);
    if (message.t === 'file') {
      this.#incoming = new Incoming(message);
      this.show(this.#incoming);
    } else if (message.t === 'end') {
      this.#incoming?.end(message.sha256);
      this.#incoming = undefined;
    }
  }
}

class Incoming {
  received = 0;
  #hash = new Sha256();
  #pieces = [];
  #loose = 0;

  constructor({ name, size, type }) {
    Object.assign(this, { name, size, type });
    this.done = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.done.catch(() => {});
  }

  piece(piece) {
    this.#hash.update(piece);
    this.#pieces.push(piece);
    this.received += piece.length;
    this.#loose += piece.length;
    // A Blob may live on disk, an array cannot.
    if (this.#loose > BLOB) {
      this.#pieces = [new Blob(this.#pieces)];
      this.#loose = 0;
    }
    this.onprogress?.(this.received);
  }

  end(sent) {
    const sha256 = this.#hash.hex();
    const blob = new Blob(this.#pieces, { type: this.type });
    this.resolve({ blob, sha256, good: sha256 === sent && blob.size === this.size });
  }

  fail(reason) {
    this.reject(new Error(reason));
  }
}
