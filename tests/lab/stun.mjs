// STUN and TURN messages by hand, so that the server is judged by bytes that none of its own code made.
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { withLimit } from './proc.mjs';

export const COOKIE = 0x2112a442;

export const METHOD = { binding: 0x001, allocate: 0x003, refresh: 0x004, send: 0x006, data: 0x007, createPermission: 0x008, channelBind: 0x009 };
export const CLASS = { request: 0x000, indication: 0x010, success: 0x100, error: 0x110 };
export const ATTRIBUTE = {
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedAddressFamily: 0x0017,
  requestedTransport: 0x0019,
  xorMappedAddress: 0x0020,
};

function parseV6(text) {
  let head = text;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted) {
    const [a, b, c, d] = dotted.slice(2).map(Number);
    head = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [left, right] = head.split('::').map((half) => half.split(':').filter(Boolean));
  const groups = right ? [...left, ...Array(8 - left.length - right.length).fill('0'), ...right] : left;
  const bytes = Buffer.alloc(16);
  groups.forEach((group, index) => bytes.writeUInt16BE(parseInt(group, 16), index * 2));
  return bytes;
}

export function addressBytes(address) {
  return address.includes(':') ? parseV6(address) : Buffer.from(address.split('.').map(Number));
}

function showAddress(bytes) {
  if (bytes.length === 4) return [...bytes].join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  // The URL parser knows RFC 5952.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function mask(id) {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(COOKIE);
  id.copy(bytes, 4);
  return bytes;
}

export function xorAddress({ address, port }, id) {
  const ip = addressBytes(address);
  const key = mask(id);
  const value = Buffer.alloc(4 + ip.length);
  value[1] = ip.length === 4 ? 1 : 2;
  value.writeUInt16BE(port ^ (COOKIE >>> 16), 2);
  ip.forEach((byte, index) => (value[4 + index] = byte ^ key[index]));
  return value;
}

export function readXorAddress(value, id) {
  const key = mask(id);
  const ip = Buffer.from(value.subarray(4).map((byte, index) => byte ^ key[index]));
  return { address: showAddress(ip), port: value.readUInt16BE(2) ^ (COOKIE >>> 16) };
}

export function uint32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function attribute(type, value) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

export function typeOf(method, kind) {
  return ((method & 0xf80) << 2) | ((method & 0x070) << 1) | (method & 0x00f) | kind;
}

// attributes: [[type, bytes | ({ address, port })], …]; with `key`, MESSAGE-INTEGRITY is added.
export function encode({ method, kind = CLASS.request, id = randomBytes(12), attributes = [], key }) {
  const body = attributes.map(([type, value]) => attribute(type, Buffer.isBuffer(value) ? value : xorAddress(value, id)));
  const head = Buffer.alloc(20);
  head.writeUInt16BE(typeOf(method, kind));
  head.writeUInt32BE(COOKIE, 4);
  id.copy(head, 8);
  const length = body.reduce((sum, bytes) => sum + bytes.length, 0);
  if (key) {
    head.writeUInt16BE(length + 24, 2);
    body.push(attribute(ATTRIBUTE.messageIntegrity, createHmac('sha1', key).update(Buffer.concat([head, ...body])).digest()));
  } else {
    head.writeUInt16BE(length, 2);
  }
  return Buffer.concat([head, ...body]);
}

export function decode(bytes) {
  if (bytes.length < 20 || bytes[0] > 3 || bytes.readUInt32BE(4) !== COOKIE) return undefined;
  const type = bytes.readUInt16BE();
  const id = Buffer.from(bytes.subarray(8, 20));
  const attributes = new Map();
  for (let at = 20; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16BE(at + 2);
    const name = bytes.readUInt16BE(at);
    if (!attributes.has(name)) attributes.set(name, Buffer.from(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length + ((4 - (length % 4)) % 4);
  }
  const code = attributes.get(ATTRIBUTE.errorCode);
  return {
    method: ((type & 0x3e00) >> 2) | ((type & 0x00e0) >> 1) | (type & 0x000f),
    kind: type & 0x0110,
    id,
    attributes,
    error: code && code[2] * 100 + code[3],
    address: (name) => attributes.has(name) && readXorAddress(attributes.get(name), id),
  };
}

export function channelData(number, payload) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(number);
  head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

const RETRANSMIT = [500, 1000, 2000, 4000];

// One 5-tuple. `path` is { send(bytes), onMessage }, a socket here or in another namespace.
export class TurnClient {
  constructor(path, { username, password }) {
    this.path = path;
    this.username = username;
    this.password = password;
    this.pending = new Map();
    this.onData = () => {};
    path.onMessage = (bytes) => this.#take(bytes);
  }

  #take(bytes) {
    if (bytes[0] >= 0x40 && bytes[0] <= 0x4f) {
      this.onData({ channel: bytes.readUInt16BE(), payload: bytes.subarray(4, 4 + bytes.readUInt16BE(2)) });
      return;
    }
    const message = decode(bytes);
    if (!message) return;
    if (message.method === METHOD.data) {
      this.onData({ peer: message.address(ATTRIBUTE.xorPeerAddress), payload: message.attributes.get(ATTRIBUTE.data) });
      return;
    }
    const id = message.id.toString('hex');
    this.pending.get(id)?.(message);
    this.pending.delete(id);
  }

  // Sends again as RFC 8489 §6.2.1 says; an answer that never comes is an error.
  async exchange(bytes) {
    const id = bytes.subarray(8, 20).toString('hex');
    const answer = new Promise((resolve) => this.pending.set(id, resolve));
    this.path.send(bytes);
    let timer;
    const again = (round) => {
      timer = setTimeout(() => {
        this.path.send(bytes);
        if (round + 1 < RETRANSMIT.length) again(round + 1);
      }, RETRANSMIT[round]);
    };
    again(0);
    try {
      return await withLimit(answer, 10_000, `answer to 0x${bytes.readUInt16BE().toString(16)}`);
    } finally {
      clearTimeout(timer);
      this.pending.delete(id);
    }
  }

  signed(method, attributes) {
    const own = [
      [ATTRIBUTE.username, Buffer.from(this.username)],
      [ATTRIBUTE.realm, this.realm],
      [ATTRIBUTE.nonce, this.nonce],
    ];
    return encode({ method, attributes: [...attributes, ...own], key: this.key });
  }

  #learn({ attributes }) {
    this.nonce = attributes.get(ATTRIBUTE.nonce);
    this.realm = attributes.get(ATTRIBUTE.realm);
    this.key = createHash('md5').update(`${this.username}:${this.realm}:${this.password}`).digest();
  }

  async request(method, attributes = []) {
    let answer;
    if (this.nonce) {
      answer = await this.exchange(this.signed(method, attributes));
      if (answer.error !== 401 && answer.error !== 438) return answer;
      if (answer.error === 401 && this.challenged) return answer;
    } else {
      answer = await this.exchange(encode({ method, attributes }));
      if (answer.error !== 401) return answer;
    }
    this.challenged = true;
    this.#learn(answer);
    return this.exchange(this.signed(method, attributes));
  }

  async allocate({ family, lifetime } = {}) {
    const attributes = [[ATTRIBUTE.requestedTransport, Buffer.from([17, 0, 0, 0])]];
    if (family) attributes.push([ATTRIBUTE.requestedAddressFamily, Buffer.from([family === 4 ? 1 : 2, 0, 0, 0])]);
    if (lifetime !== undefined) attributes.push([ATTRIBUTE.lifetime, uint32(lifetime)]);
    const answer = await this.request(METHOD.allocate, attributes);
    if (!answer.error) this.relayed = answer.address(ATTRIBUTE.xorRelayedAddress);
    return answer;
  }

  refresh(lifetime) {
    return this.request(METHOD.refresh, [[ATTRIBUTE.lifetime, uint32(lifetime)]]);
  }

  createPermission(...addresses) {
    return this.request(METHOD.createPermission, addresses.map((address) => [ATTRIBUTE.xorPeerAddress, { address, port: 0 }]));
  }

  channelBind(number, peer) {
    const channel = Buffer.alloc(4);
    channel.writeUInt16BE(number);
    return this.request(METHOD.channelBind, [[ATTRIBUTE.channelNumber, channel], [ATTRIBUTE.xorPeerAddress, peer]]);
  }

  send(peer, payload) {
    this.path.send(encode({ method: METHOD.send, kind: CLASS.indication, attributes: [[ATTRIBUTE.xorPeerAddress, peer], [ATTRIBUTE.data, payload]] }));
  }

  sendOnChannel(number, payload) {
    this.path.send(channelData(number, payload));
  }
}
