// A TCP proxy that can do to connections what networks do: cut them, swallow what they carry, refuse WebSockets.
import { connect, createServer } from 'node:net';

export class Proxy {
  #pairs = new Set();

  constructor(target) {
    Object.assign(this, { target, down: false, upgrades: true, accepted: 0 });
    this.server = createServer((socket) => this.#accept(socket));
  }

  /** `target` is what `net.connect` takes: a port of this host, or the path of a socket. */
  static async start(target) {
    const proxy = new Proxy(target);
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  get connections() {
    return this.#pairs.size;
  }

  #accept(socket) {
    this.accepted += 1;
    if (this.down) return socket.destroy();
    const server = connect(this.target);
    const pair = { socket, server, silent: false };
    this.#pairs.add(pair);
    let first = true;
    socket.on('data', (data) => {
      if (first && !this.upgrades && /^upgrade:/im.test(data.toString('latin1'))) {
        return socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
      }
      first = false;
      if (!pair.silent) server.write(data);
    });
    server.on('data', (data) => pair.silent || socket.write(data));
    const end = () => {
      this.#pairs.delete(pair);
      socket.destroy();
      server.destroy();
    };
    for (const one of [socket, server]) one.on('close', end).on('error', end);
  }

  /** Kills every connection, as it is, in the middle of what it carries. */
  cut() {
    for (const { socket, server } of this.#pairs) {
      socket.resetAndDestroy();
      // A local socket knows no reset.
      if (this.target.path) server.destroy();
      else server.resetAndDestroy();
    }
  }

  /** Lets every connection stand and carry nothing any more. */
  silence() {
    for (const pair of this.#pairs) pair.silent = true;
  }

  close() {
    this.server.close();
    this.cut();
  }
}
