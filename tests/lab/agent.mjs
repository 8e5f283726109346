// UDP sockets inside a namespace, for a test that runs outside: `Agent` there, this file's main part here.
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const FILE = fileURLToPath(import.meta.url);

export class Agent {
  constructor(namespace) {
    this.serial = 0;
    this.opening = new Map();
    this.sockets = new Map();
    this.child = namespace.spawn(process.execPath, [FILE], {
      name: `agent in ${namespace.name}`,
      onLine: (line, stream) => stream === 'stdout' && this.#take(JSON.parse(line)),
    });
  }

  #take({ socket, opened, failed, from, data }) {
    if (opened || failed) {
      // A failure later than that is a packet that could not be sent.
      if (!this.opening.has(socket)) return;
      const { resolve, reject } = this.opening.get(socket);
      this.opening.delete(socket);
      if (failed) reject(new Error(failed));
      else resolve(opened);
      return;
    }
    this.sockets.get(socket)?.take(Buffer.from(data, 'base64'), from);
  }

  #tell(message) {
    this.child.process.stdin.write(`${JSON.stringify(message)}\n`);
  }

  async socket({ address, port = 0, to }) {
    const id = (this.serial += 1);
    const socket = {
      got: [],
      waiting: [],
      take(bytes, from) {
        socket.onMessage?.(bytes, from);
        socket.got.push({ bytes, from });
        for (const wake of socket.waiting.splice(0)) wake();
      },
      send: (bytes, target = to) => this.#tell({ socket: id, to: target, data: bytes.toString('base64') }),
      async until(wanted) {
        for (;;) {
          const found = socket.got.find(wanted);
          if (found) return found;
          await new Promise((resolve) => socket.waiting.push(resolve));
        }
      },
    };
    this.sockets.set(id, socket);
    const opened = new Promise((resolve, reject) => this.opening.set(id, { resolve, reject }));
    this.#tell({ socket: id, open: { address, port } });
    Object.assign(socket, await opened);
    return socket;
  }
}

if (process.argv[1] === FILE) {
  const sockets = new Map();
  const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const { socket: id, open, to, data } = JSON.parse(line);
    if (!open) {
      sockets.get(id).send(Buffer.from(data, 'base64'), to.port, to.address);
      continue;
    }
    const socket = createSocket(open.address.includes(':') ? { type: 'udp6', ipv6Only: true } : 'udp4');
    sockets.set(id, socket);
    socket.on('error', (error) => say({ socket: id, failed: String(error) }));
    socket.on('message', (bytes, { address, port }) => say({ socket: id, from: { address, port }, data: bytes.toString('base64') }));
    socket.bind({ address: open.address, port: open.port, exclusive: true }, () => say({ socket: id, opened: { address: open.address, port: socket.address().port } }));
  }
}
