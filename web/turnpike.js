/** Signaling and calls for browsers over Turnpike's protocol `signal.v1.json`. */

const SDK = 'turnpike.js/0.1.0';
const PROTOCOL = 'signal.v1.json';
const ACK_FRAMES = 32;
const ACK_BYTES = 128 << 10;
const POST_BYTES = 60_000;
const PATIENCE = 10_000;
const COMMENT_EVERY = 15_000;
const BACKOFF = { first: 400, most: 15_000 };
const PROBE = { first: 30_000, most: 600_000 };
const REMEMBERED = 512;
const TOKEN_EXPIRED = 4502;

const bytes = (text) => new TextEncoder().encode(text).length;
const value = async (token, why) => (typeof token === 'function' ? token(why) : token);
const differ = (one, other) => JSON.stringify(one) !== JSON.stringify(other);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const backoff = ({ first, most }, attempt) => Math.random() * Math.min(most, first * 2 ** attempt);

/** What was refused. */
export class TurnpikeError extends Error {
  constructor(code, message = code, detail = {}) {
    super(message);
    this.name = 'TurnpikeError';
    this.code = code;
    this.retryMs = detail.retry_ms;
    this.detail = detail;
  }
}

class Emitter extends EventTarget {
  on(type, listener) {
    const wrapped = ({ detail }) => listener(detail);
    this.addEventListener(type, wrapped);
    return () => this.removeEventListener(type, wrapped);
  }

  emit(type, detail = {}) {
    this.dispatchEvent(Object.assign(new Event(type), { detail }));
  }
}

/** A JSON merge patch (RFC 7396). */
function merge(target, patch) {
  if (!patch || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const out = target && typeof target === 'object' && !Array.isArray(target) ? { ...target } : {};
  for (const [key, part] of Object.entries(patch)) {
    if (part === null) delete out[key];
    else out[key] = merge(out[key], part);
  }
  return out;
}

// Carriers: `take` gets what comes, `closed` is called once, with a code or nothing.

class Socket {
  constructor(ws) {
    this.ws = ws;
  }

  open(hello, take, closed) {
    const { ws } = this;
    const greet = () => ws.send(JSON.stringify(hello));
    if (ws.readyState === 1) greet();
    else ws.onopen = greet;
    ws.onmessage = ({ data }) => take(JSON.parse(data), data.length);
    ws.onerror = () => {};
    ws.onclose = ({ code }) => closed(code);
  }

  send(texts) {
    for (const text of texts) this.ws.send(text);
  }

  close() {
    this.ws.onopen = this.ws.onmessage = this.ws.onclose = null;
    this.ws.close();
  }
}

class Stream {
  #outbox = [];
  #posting = false;
  #abort = new AbortController();

  constructor(base, secret) {
    this.base = base;
    this.secret = secret;
  }

  closed() {}

  async open(hello, take, closed) {
    this.closed = closed;
    try {
      const answer = await this.#post('/v1/session', JSON.stringify(hello));
      const body = await answer.json();
      if (!answer.ok) return closed({ token_expired: TOKEN_EXPIRED, unauthorized: 4501, forbidden: 4504, bad_request: 4500 }[body.code]);
      this.secret = body.welcome.resume;
      take({ ...body.welcome, t: 'welcome' }, 0);
      const events = await fetch(new URL(body.events_url, `${this.base}/`), { signal: this.#abort.signal, cache: 'no-store' });
      if (events.ok) await this.#read(events.body.getReader(), take);
    } catch {}
    closed();
  }

  async #read(reader, take) {
    const decoder = new TextDecoder();
    let text = '';
    for (;;) {
      const { done, value: chunk } = await reader.read();
      if (done) return;
      text += decoder.decode(chunk, { stream: true });
      const events = text.split('\n\n');
      text = events.pop();
      for (const event of events) {
        const data = /^data:(.*)/m.exec(event);
        take(data ? JSON.parse(data[1]) : {}, event.length);
      }
    }
  }

  #post(path, body, headers, keepalive) {
    const { signal } = this.#abort;
    headers = { 'content-type': 'application/json', ...headers };
    return fetch(this.base + path, { method: 'POST', body, headers, signal, keepalive });
  }

  async send(texts, last) {
    this.#outbox.push(...texts);
    if (this.#posting) return;
    this.#posting = true;
    try {
      while (this.#outbox.length) {
        let size = bytes(this.#outbox[0]);
        let count = 1;
        while (count < this.#outbox.length && (size += bytes(this.#outbox[count]) + 1) < POST_BYTES) count += 1;
        const body = `[${this.#outbox.splice(0, count).join(',')}]`;
        const { ok } = await this.#post('/v1/session/messages', body, { authorization: `Bearer ${this.secret}` }, last);
        if (!ok) return this.closed();
      }
    } catch {
      return this.closed();
    } finally {
      this.#posting = false;
    }
  }

  close() {
    this.#abort.abort();
  }
}

export class Session extends Emitter {
  state = 'connecting';
  rooms = new Map();
  #base;
  #token;
  #carriers;
  #WebSocket;
  #carrier;
  #resume;
  #epoch = 0;
  #seq = 0;
  #acked = 0;
  #unacked = 0;
  #unackedBytes = 0;
  #rebase = false;
  #settle;
  #nextId = 1;
  #inflight = new Map();
  #queue = [];
  #held = true;
  #signals = new Map();
  #attempt = 0;
  #failedSockets = 0;
  #failedTokens = 0;
  #expired = false;
  #bye;
  #timers = {};
  #cleanups = [];

  constructor(url = globalThis.location?.origin, { token, carriers = ['ws', 'sse'], WebSocket = globalThis.WebSocket } = {}) {
    super();
    const { origin, pathname } = new URL(url, globalThis.location?.href);
    this.#base = origin.replace(/^ws/, 'http') + pathname.replace(/\/+$/, '');
    this.#token = token;
    this.#carriers = carriers;
    this.#WebSocket = WebSocket;
    this.#listen(globalThis.window, 'online', () => this.#network());
    const link = globalThis.navigator?.connection;
    let type = link?.type;
    this.#listen(link, 'change', () => type !== (type = link.type) && this.#network());
    this.#listen(globalThis.document, 'visibilitychange', () => {
      if (document.visibilityState === 'visible' && (this.state === 'offline' || Date.now() > this.#deadAt)) this.reconnect();
    });
    this.#listen(globalThis.window, 'pagehide', ({ persisted }) => persisted || this.close());
    this.#connect();
  }

  get configuration() {
    return { iceServers: this.ice?.servers ?? [], iceTransportPolicy: this.ice?.policy ?? 'all' };
  }

  get carrier() {
    return this.#carrier instanceof Stream ? 'sse' : 'ws';
  }

  room(name) {
    if (!this.rooms.has(name)) this.rooms.set(name, new Room(this, name));
    return this.rooms.get(name);
  }

  join(name, options) {
    return this.room(name).join(options);
  }

  /** Sends a request; `apply` sees its reply before any later push. */
  request(message, apply, again) {
    return new Promise((resolve, reject) => {
      if (this.state === 'closed') return reject(new TurnpikeError('closed'));
      this.#queue.push({ message, apply, again, resolve, reject });
      this.#flush();
    });
  }

  async refresh(token) {
    return this.request({ t: 'refresh', token: token ?? (await value(this.#token, 'refresh')) });
  }

  /** Drops the connection, if there is one, and resumes at once. */
  reconnect() {
    if (this.state === 'closed') return;
    this.#attempt = 0;
    this.#lost(0);
  }

  /** Releases the session: the others see this peer leave now. */
  async close() {
    if (this.state === 'open' && !this.#held) {
      const bye = this.request({ t: 'bye' });
      await Promise.race([bye.catch(() => {}), new Promise((resolve) => this.#timer('bye', 2000, resolve))]);
    } else if (this.state === 'offline' && this.#resume) {
      // Firefox closes the sockets of a page before it tells the page that it goes.
      new Stream(this.#base, this.#resume).send([JSON.stringify({ t: 'bye', id: this.#nextId })], true);
    }
    this.#end(1000, 'bye');
  }

  #deadAt = Infinity;

  #listen(target, type, listener) {
    target?.addEventListener?.(type, listener);
    this.#cleanups.push(() => target?.removeEventListener?.(type, listener));
  }

  #network() {
    this.#failedSockets = 0;
    this.reconnect();
    for (const call of this.#calls()) call.restart();
  }

  #calls() {
    return [...this.rooms.values()].flatMap((room) => [...room.calls.values()]);
  }

  #become(state) {
    if (this.state === state || this.state === 'closed') return;
    this.state = state;
    this.emit('state', { state });
  }

  #timer(name, ms, run) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(run, ms);
  }

  async #connect(ready) {
    clearTimeout(this.#timers.retry);
    const epoch = (this.#epoch += 1);
    const current = () => epoch === this.#epoch;
    const hello = { t: 'hello', sdk: SDK };
    if (this.#resume) Object.assign(hello, { resume: this.#resume, last_seq: this.#seq });
    let welcomed = false;
    const closed = (code) => {
      if (!current()) return;
      if (!welcomed) this.#failedSockets = this.carrier === 'ws' ? this.#failedSockets + 1 : 0;
      this.#closed(this.#bye?.code ?? code, this.#bye?.reason);
    };
    try {
      if (this.#token && (!this.#resume || this.#expired)) hello.token = await value(this.#token, this.#expired ? 'expired' : 'connect');
      if (!current()) return ready?.close();
      const [first, second] = this.#carriers;
      const stream = (this.#failedSockets >= 2 ? (second ?? first) : first) === 'sse';
      this.#carrier = stream ? new Stream(this.#base) : new Socket(ready ?? this.#socket());
    } catch (error) {
      if (!current()) return;
      this.emit('error', error);
      return this.#lost(backoff(BACKOFF, (this.#attempt += 1)));
    }
    this.#bye = undefined;
    this.#timer('dead', PATIENCE, closed);
    this.#carrier.open(
      hello,
      (message, size) => {
        if (!current()) return;
        if (message.t === 'welcome') welcomed = true;
        this.#take(message, size);
      },
      closed,
    );
  }

  #socket() {
    return new this.#WebSocket(`${this.#base.replace(/^http/, 'ws')}/v1/ws`, PROTOCOL);
  }

  #closed(code, reason) {
    if (code === TOKEN_EXPIRED && typeof this.#token === 'function' && this.#failedTokens < 2) {
      this.#failedTokens += 1;
      this.#expired = true;
      return this.#lost(backoff(BACKOFF, this.#failedTokens - 1));
    }
    if (code >= 4500) return this.#end(code, reason);
    this.#lost(backoff(BACKOFF, this.#attempt));
    this.#attempt += 1;
  }

  #lost(delay) {
    this.#epoch += 1;
    this.#carrier?.close();
    this.#held = true;
    this.#deadAt = Infinity;
    for (const name of ['dead', 'probe', 'drain']) clearTimeout(this.#timers[name]);
    this.#become('offline');
    if (this.state !== 'closed') this.#timer('retry', delay, () => this.#connect());
  }

  #end(code, reason) {
    if (this.state === 'closed') return;
    this.#lost(0);
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    for (const cleanup of this.#cleanups) cleanup();
    this.#become('closed');
    this.#abandon();
    for (const { reject } of this.#queue.splice(0)) reject(new TurnpikeError('closed'));
    for (const room of this.rooms.values()) room.left('closed');
    this.emit('close', { code, reason });
  }

  #abandon(upTo = Infinity) {
    for (const [id, { reject }] of this.#inflight) {
      if (id > upTo) continue;
      this.#inflight.delete(id);
      reject(new TurnpikeError('unknown', 'it may have been done'));
    }
  }

  #take(message, size) {
    const quiet = this.carrier === 'sse' ? Math.max(COMMENT_EVERY, this.pingMs ?? 0) : (this.pingMs ?? message.ping_ms);
    this.#deadAt = Date.now() + quiet + PATIENCE;
    this.#timer('dead', quiet + PATIENCE, () => this.#lost(0));
    if (!message.t) return;
    if (message.seq && message.t !== 'welcome') {
      if (this.#rebase) this.#rebase = false;
      else if (message.seq <= this.#seq) return;
      this.#seq = message.seq;
      this.#unacked += 1;
      this.#unackedBytes += size;
    }
    this.#dispatch(message);
    if (this.#settle && message.t !== 'welcome' && !(message.seq < this.#settle.seq)) {
      this.#abandon(this.#settle.id);
      this.#settle = undefined;
    }
    if (this.#unacked >= ACK_FRAMES || this.#unackedBytes >= ACK_BYTES) this.#pong();
  }

  #dispatch(message) {
    const { t, room: name } = message;
    if (message.re !== undefined && t !== 'undelivered') return this.#reply(message);
    const own = {
      welcome: () => this.#welcome(message),
      ping: () => this.#pong(),
      ice: () => this.#useIce(message),
      bye: () => (this.#bye = message),
      drain: () => {
        this.#timer('drain', message.retry_ms, () => this.reconnect());
        this.emit('drain', { retryMs: message.retry_ms, deadlineMs: message.deadline_ms });
      },
      error: () => this.emit('error', new TurnpikeError(message.code, message.msg, message)),
      'token-expiring': () => this.#tokenExpiring(message),
      undelivered: () => {
        const signal = this.#signals.get(message.re);
        const detail = { ...signal, to: message.to, reason: message.reason };
        this.emit('undelivered', detail);
        if (signal) this.rooms.get(signal.room)?.undelivered(detail);
      },
    }[t];
    if (own) own();
    else if (name !== undefined) this.rooms.get(name)?.take(message);
  }

  #reply(message) {
    const pending = this.#inflight.get(message.re);
    if (!pending) return;
    this.#inflight.delete(message.re);
    if (message.t === 'error') return pending.reject(new TurnpikeError(message.code, message.msg, message));
    pending.apply?.(message);
    pending.resolve(message);
  }

  #tokenExpiring({ in_ms: inMs, room }) {
    this.emit('token-expiring', { inMs, room });
    if (room === undefined && typeof this.#token === 'function') this.refresh().catch((error) => this.emit('error', error));
  }

  #useIce(ice) {
    if (!ice) return;
    const { servers, expires_at, refresh_at, policy } = ice;
    this.ice = { servers, expiresAt: expires_at, refreshAt: refresh_at, policy };
    for (const call of this.#calls()) call.configure();
    this.emit('ice', this.ice);
  }

  #welcome(message) {
    const again = this.peer !== undefined;
    const { resumed, gap, rooms = [] } = message;
    this.#resume = message.resume;
    const { session: id, ping_ms: pingMs, peer, uid, limits, node, features } = message;
    Object.assign(this, { id, pingMs, peer, uid, limits, node, features });
    this.#attempt = this.#failedTokens = this.#unacked = this.#unackedBytes = 0;
    this.#expired = false;
    this.#acked = this.#seq;
    if (this.carrier === 'ws') this.#failedSockets = 0;
    else if (this.#carriers.includes('ws')) this.#probe(0);
    this.#useIce(message.ice);
    if (resumed) {
      if (gap) {
        this.#rebase = true;
        this.#settle = { id: message.last_id, seq: message.seq };
        const there = new Map(rooms.map((room) => [room.room, room]));
        for (const [name, room] of this.rooms) {
          if (there.has(name)) room.enter(there.get(name));
          else if (room.joined) room.left('gap');
        }
        for (const [id, { again, resolve, message: join }] of this.#inflight) {
          if (again && there.has(join.room) && this.#inflight.delete(id)) resolve();
        }
      }
      const rest = [...this.#inflight].filter(([id]) => id > message.last_id);
      for (const [id] of rest) this.#inflight.delete(id);
      this.#held = false;
      for (const [id, pending] of rest) this.#transmit(id, pending);
      this.#opened(gap ? 'gap' : 'resumed');
      return;
    }
    this.#seq = this.#acked = 0;
    this.#nextId = 1;
    this.#settle = undefined;
    this.#rebase = false;
    this.#signals.clear();
    // Only joins may be asked for again.
    const joins = [...this.#inflight.values()].filter(({ again }) => again);
    for (const [id, { again: isJoin }] of this.#inflight) if (isJoin) this.#inflight.delete(id);
    this.#abandon();
    for (const call of this.#calls()) call.finish('reset');
    const epoch = this.#epoch;
    const lost = [...this.rooms.values()].filter((room) => room.joined);
    Promise.all(lost.map((room) => room.rejoin().catch(() => room.left('unauthorized')))).then((rejoins) => {
      if (epoch !== this.#epoch) return;
      this.#held = false;
      this.#queue.unshift(...rejoins.filter(Boolean), ...joins);
      this.#flush();
    });
    this.#opened(again ? 'reset' : 'open');
  }

  #opened(type) {
    this.emit(type);
    this.#become('open');
    this.#flush();
  }

  #probe(attempt) {
    this.#timer('probe', Math.min(PROBE.most, PROBE.first * 2 ** attempt), () => {
      const ws = this.#socket();
      ws.onerror = () => this.state === 'open' && this.carrier === 'sse' && this.#probe(attempt + 1);
      ws.onopen = () => {
        if (this.state !== 'open' || this.carrier === 'ws') return ws.close();
        this.#failedSockets = 0;
        this.#lost(0);
        this.#connect(ws);
      };
    });
  }

  #flush() {
    while (!this.#held && this.#queue.length) {
      const pending = this.#queue.shift();
      this.#transmit(this.#nextId, pending);
    }
  }

  #transmit(id, pending) {
    const { t, ...rest } = pending.message;
    const text = this.#acknowledged({ t, id, ...rest });
    if (text.length * 3 > this.limits.msg && bytes(text) > this.limits.msg && id === this.#nextId) {
      return pending.reject(new TurnpikeError('too_large', `over ${this.limits.msg} bytes`));
    }
    this.#nextId = Math.max(this.#nextId, id + 1);
    this.#inflight.set(id, pending);
    if (t === 'signal') {
      this.#signals.set(id, { room: rest.room, kind: rest.kind, pc: rest.pc, gen: rest.gen });
      if (this.#signals.size > REMEMBERED) this.#signals.delete(this.#signals.keys().next().value);
    }
    this.#carrier.send([text], t === 'bye');
  }

  #acknowledged(message) {
    if (this.#seq > this.#acked) message.ack = this.#acked = this.#seq;
    this.#unacked = this.#unackedBytes = 0;
    return JSON.stringify(message);
  }

  #pong() {
    this.#carrier.send([this.#acknowledged({ t: 'pong' })]);
  }
}

export class Room extends Emitter {
  joined = false;
  self = {};
  meta = {};
  peers = new Map();
  state = new Map();
  calls = new Map();
  generations = new Map();
  ver = 0;
  #options = {};
  #joining;

  constructor(session, name) {
    super();
    this.session = session;
    this.name = name;
  }

  async join(options = {}) {
    if (this.joined) return this;
    this.#joining ??= this.#join(options).finally(() => (this.#joining = null));
    return this.#joining;
  }

  async #join(options) {
    this.session.rooms.set(this.name, this);
    this.#options = options;
    this.meta = options.meta ?? {};
    try {
      const { message, apply } = await this.rejoin();
      await this.session.request(message, apply, true);
    } catch (error) {
      this.left(error.code);
      throw error;
    }
    return this;
  }

  /** The request that joins, which a new session sends again. */
  async rejoin() {
    const { token, as } = this.#options;
    return {
      message: { t: 'join', room: this.name, meta: this.meta, token: await value(token, 'join'), as },
      apply: (message) => this.enter(message),
      resolve: () => {},
      reject: ({ code }) => code === 'unknown' || this.left(code),
    };
  }

  async leave() {
    await this.#request({ t: 'leave' }, () => this.left('leave'));
  }

  send(data, { to, event, echo } = {}) {
    return this.#request({ t: 'send', to: idOf(to), event, data, echo }).then(({ n }) => n);
  }

  signal(to, kind, { pc, gen, data, ttlMs }) {
    return this.#request({ t: 'signal', to: idOf(to), kind, pc, gen, data, ttl_ms: ttlMs }).then(({ delivered }) => delivered);
  }

  update(patch) {
    return this.#request({ t: 'update', meta: patch }, () => (this.meta = merge(this.meta, patch))).then(({ ver }) => ver);
  }

  setState(key, data, { ttlMs, ifVer } = {}) {
    return this.#write({ op: 'set', key, value: data, ttl_ms: ttlMs, if_ver: ifVer });
  }

  deleteState(key, { ifVer } = {}) {
    return this.#write({ op: 'del', key, if_ver: ifVer });
  }

  kick(peer, { reason, banS } = {}) {
    return this.#request({ t: 'kick', peer: idOf(peer), reason, ban_s: banS });
  }

  /** Calls a peer, or accepts its call if it was first. */
  call(peer, stream, options = {}) {
    const id = options.id ?? 'main';
    const there = this.peers.get(idOf(peer));
    if (!there) throw new TurnpikeError('peer_not_found');
    let call = this.calls.get(`${there.peer}/${id}`);
    if (call?.pc) return call;
    call ??= new Call(this, there, id);
    return call.accept(stream, options);
  }

  #request(message, apply) {
    const { t, ...rest } = message;
    return this.session.request({ t, room: this.name, ...rest }, apply);
  }

  #write(message) {
    const apply = ({ ver }) => this.#store({ key: message.key, value: message.value, ver, by: this.session.peer });
    return this.#request({ t: 'state', ...message }, apply).then(({ ver }) => ver);
  }

  #store({ key, value: data, ver, by }) {
    if ((this.state.get(key)?.ver ?? 0) >= ver) return;
    if (data === undefined) this.state.delete(key);
    else this.state.set(key, { value: data, ver, by });
    this.emit('state', { key, value: data, ver, by });
  }

  /** Takes over a roster and raises what differs. */
  enter({ t, ver, you, peers, state }) {
    const again = this.joined;
    this.joined = true;
    this.self = { peer: this.session.peer, ...you };
    const stays = new Set(peers.map(({ peer }) => peer));
    for (const peer of this.peers.keys()) if (!stays.has(peer)) this.#remove(peer, 'gap');
    for (const peer of peers) {
      const known = this.peers.has(peer.peer) && { ...this.peers.get(peer.peer) };
      const there = this.#put(peer);
      if (!known) {
        if (again) this.emit('peer-joined', there);
        continue;
      }
      if (differ(known.meta, peer.meta)) this.emit('peer-updated', there);
      if (known.online !== peer.online) this.emit('peer-status', there);
    }
    this.ver = ver;
    for (const key of this.state.keys()) if (!state[key] && this.state.delete(key)) this.emit('state', { key });
    for (const [key, entry] of Object.entries(state)) {
      const known = this.state.get(key);
      this.state.set(key, entry);
      if (again && differ(known, entry)) this.emit('state', { key, ...entry });
    }
    if (t) this.emit('joined');
    for (const call of this.calls.values()) {
      call.stale = true;
      call.recover();
    }
  }

  left(reason) {
    if (this.session.rooms.get(this.name) === this) this.session.rooms.delete(this.name);
    this.#closeCalls(reason);
    if (!this.joined) return;
    this.joined = false;
    this.emit('left', { reason });
  }

  #closeCalls(reason) {
    for (const call of [...this.calls.values()]) call.finish(reason);
  }

  #put({ peer, uid, meta, ord, polite, initiate, online }) {
    const known = this.peers.get(peer) ?? {};
    this.peers.set(peer, Object.assign(known, { peer, uid, meta, ord, polite, initiate, online }));
    return known;
  }

  #remove(peer, reason) {
    const gone = this.peers.get(peer);
    if (!gone) return;
    this.peers.delete(peer);
    for (const key of this.generations.keys()) if (key.startsWith(`${peer}/`)) this.generations.delete(key);
    for (const call of [...this.calls.values()]) if (call.peer.peer === peer) call.finish(reason);
    this.emit('peer-left', { ...gone, reason });
  }

  take(message) {
    const { t, peer, ver } = message;
    if (t.startsWith('peer-')) {
      if (ver <= this.ver) return;
      this.ver = ver;
      if (peer === this.session.peer) {
        if (t === 'peer-left') this.#expelled(message.reason);
        return;
      }
      if (t === 'peer-left') return this.#remove(peer, message.reason);
      if (t === 'peer-status') {
        const there = this.peers.get(peer);
        if (!there) return;
        there.online = message.online;
        this.emit(t, there);
        if (there.online) for (const call of this.calls.values()) if (call.peer === there) call.recover();
        return;
      }
      this.emit(t, this.#put(message));
    } else if (t === 'signal') this.#signal(message);
    else if (t === 'message') this.emit(t, { from: message.from, event: message.event, data: message.data });
    else if (t === 'state') this.#store(message);
  }

  async #expelled(reason) {
    this.left(reason);
    if (reason !== 'token-expired' || typeof this.#options.token !== 'function') return;
    await this.join({ ...this.#options, meta: this.meta }).catch((error) => this.emit('error', error));
  }

  #signal(message) {
    const { from, kind, pc, gen, data } = message;
    const peer = this.peers.get(from);
    const key = `${from}/${pc}`;
    this.generations.set(key, Math.max(this.generations.get(key) ?? 0, gen));
    if (kind === 'custom') return this.emit('signal', { from, pc, gen, data });
    let call = this.calls.get(key);
    if (!call && kind === 'offer' && peer) {
      call = new Call(this, peer, pc, gen);
      call.receive(message);
      return this.emit('call', call);
    }
    call?.receive(message);
  }

  undelivered(detail) {
    this.emit('undelivered', detail);
    const call = this.calls.get(`${detail.to}/${detail.pc}`);
    if (!call || detail.reason === 'left') return;
    call.stale = true;
    if (call.peer.online) call.recover();
  }
}

const idOf = (peer) => (Array.isArray(peer) ? peer.map(idOf) : (peer?.peer ?? peer));

/** One peer connection, kept in negotiation with the same one at a peer. */
export class Call extends Emitter {
  state = 'incoming';
  streams = new Map();
  stale = false;
  #options = {};
  #stream;
  #held = [];
  #candidates = [];
  #chain = Promise.resolve();
  #offering = false;
  #gathered;
  #gathering = new Promise((resolve) => (this.#gathered = resolve));
  #offered;
  #first;
  #last;
  #told;

  constructor(room, peer, id, gen) {
    super();
    Object.assign(this, { room, peer, id });
    this.key = `${peer.peer}/${id}`;
    this.incoming = gen !== undefined;
    this.#first = gen ?? (room.generations.get(this.key) ?? 0) + 1;
    room.calls.set(this.key, this);
  }

  get gen() {
    return this.room.generations.get(this.key) ?? 0;
  }

  accept(stream, options = {}) {
    if (this.pc || this.state === 'ended') return this;
    this.#options = options;
    this.#stream = stream;
    const pc = (this.pc = new RTCPeerConnection(this.#configuration()));
    this.#become('connecting');
    if (options.data !== false) this.data = pc.createDataChannel('data', { negotiated: true, id: 0 });
    for (const [label, settings] of Object.entries(options.channels ?? {})) this.channel(label, settings);
    for (const track of stream?.getTracks() ?? []) pc.addTrack(track, stream);
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => {
      this.#gathered();
      if (candidate?.candidate) this.#signal('candidate', candidate.toJSON());
    };
    pc.ondatachannel = ({ channel }) => this.emit('channel', channel);
    pc.ontrack = ({ track, streams, transceiver }) => {
      for (const one of streams) {
        const fresh = !this.streams.has(one.id);
        this.streams.set(one.id, one);
        one.onremovetrack = () => one.getTracks().length || (this.streams.delete(one.id) && this.emit('stream-removed', one));
        if (fresh) this.emit('stream', one);
      }
      this.emit('track', { track, streams, transceiver });
    };
    pc.onconnectionstatechange = () => {
      this.#become(pc.connectionState === 'new' ? 'connecting' : pc.connectionState);
      if (pc.connectionState === 'failed') this.restart();
      if (pc.connectionState === 'connected') this.#watch();
    };
    for (const message of this.#held.splice(0)) this.receive(message);
    return this;
  }

  reject(reason = 'rejected') {
    this.close(reason);
  }

  close(reason = 'closed') {
    if (this.state === 'ended') return;
    this.#signal('end', { reason });
    this.finish(reason);
  }

  channel(label, settings) {
    return this.pc.createDataChannel(label, settings);
  }

  addTrack(track, ...streams) {
    return this.pc.addTrack(track, ...streams);
  }

  async replaceTrack(old, track) {
    await this.#sender(old)?.replaceTrack(track);
  }

  removeTrack(track) {
    const sender = this.#sender(track);
    if (sender) this.pc.removeTrack(sender);
  }

  #sender(track) {
    return this.pc?.getSenders().find((sender) => sender.track === track);
  }

  restart() {
    this.pc?.restartIce();
  }

  /** Calls again, through a relay alone or not: a browser keeps a better way that it has. */
  forceRelay(on = true) {
    this.close('relay');
    return this.room.call(this.peer, this.#stream, { ...this.#options, relay: on });
  }

  configure() {
    if (this.state !== 'ended') this.pc?.setConfiguration(this.#configuration());
  }

  #configuration() {
    const { relay, configuration } = this.#options;
    const config = { bundlePolicy: 'max-bundle', ...this.room.session.configuration, ...configuration };
    return relay ? { ...config, iceTransportPolicy: 'relay' } : config;
  }

  /** Offers again what may have been lost while one of the two was away. */
  recover() {
    this.#next(async () => {
      const { pc, stale } = this;
      this.stale = false;
      if (stale && pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      if (stale || ['failed', 'disconnected'].includes(pc.connectionState)) this.restart();
    });
  }

  #next(step) {
    this.#chain = this.#chain
      .then(() => this.pc && this.state !== 'ended' && step())
      .catch((error) => this.state === 'ended' || this.emit('error', error));
  }

  finish(reason, by = 'local') {
    if (this.state === 'ended') return;
    if (this.room.calls.get(this.key) === this) this.room.calls.delete(this.key);
    clearTimeout(this.timer);
    this.pc?.close();
    this.#become('ended');
    this.emit('ended', { reason, by });
  }

  #become(state) {
    if (this.state === state || this.state === 'ended') return;
    this.state = state === 'closed' ? 'ended' : state;
    this.emit('state', { state: this.state });
  }

  async #signal(kind, data, gen = Math.max(this.gen, this.#first)) {
    try {
      return await this.room.signal(this.peer, kind, { pc: this.id, gen, data });
    } catch (error) {
      if (this.state === 'ended' && kind !== 'end') return;
      if (error.code === 'rate_limited') {
        await pause(error.retryMs ?? 500);
        return this.#signal(kind, data, gen);
      }
      if (error.code === 'peer_not_found') this.finish('left');
      else if (this.state !== 'ended') this.emit('error', error);
    }
  }

  async #offer() {
    const { pc } = this;
    try {
      this.#offering = true;
      await pc.setLocalDescription();
      if (pc.localDescription?.type !== 'offer') return;
      this.#offered = Math.max(this.gen + 1, this.#first);
      this.room.generations.set(this.key, this.#offered);
      this.#signal('offer', pc.localDescription.toJSON(), this.#offered);
    } catch (error) {
      if (this.state !== 'ended') this.emit('error', error);
    } finally {
      this.#offering = false;
    }
  }

  receive(message) {
    if (message.kind === 'end') return this.#hungUp(message);
    if (!this.pc) {
      if (this.#held.push(message) > REMEMBERED) this.#held.splice(1, 1);
      return;
    }
    this.#next(() => this.#negotiate(message));
  }

  #hungUp({ gen, data }) {
    if (gen < this.#first) return;
    // An offer of ours may have crossed it and would ring there.
    if (gen < this.gen) this.#signal('end', data);
    this.finish(data?.reason ?? 'closed', 'remote');
  }

  async #negotiate({ kind, gen, data, polite, glare }) {
    const { pc } = this;
    if (kind === 'restart') return this.restart();
    if (kind === 'candidate') return this.#candidate(data);
    if (kind === 'answer' && (gen !== this.#offered || pc.signalingState !== 'have-local-offer')) return;
    if (kind === 'offer') {
      const collides = this.#offering || pc.signalingState !== 'stable';
      if (collides || glare) this.emit('glare', { polite });
      if (collides && !polite) return;
      // Chromium may lose the transport of data channels if it rolls back before the first candidate.
      if (collides) await Promise.race([this.#gathering, pause(500)]);
    }
    await pc.setRemoteDescription(data);
    if (kind === 'offer') {
      await pc.setLocalDescription();
      this.#signal('answer', pc.localDescription.toJSON(), gen);
    }
    for (const candidate of this.#candidates.splice(0)) await this.#candidate(candidate);
  }

  async #candidate(candidate) {
    if (!candidate) return;
    const name = candidate.usernameFragment ?? '';
    if (this.pc.remoteDescription?.sdp.includes(`a=ice-ufrag:${name}`)) await this.pc.addIceCandidate(candidate);
    else if (this.#candidates.push(candidate) > REMEMBERED) this.#candidates.shift();
  }

  #watch() {
    const look = () => this.stats().catch(() => {});
    const ice = (this.pc.sctp ?? this.pc.getSenders().find((sender) => sender.transport) ?? {}).transport?.iceTransport;
    if (ice) ice.onselectedcandidatepairchange = look;
    look();
    clearTimeout(this.timer);
    this.timer = setTimeout(look, 3000);
  }

  async stats() {
    const report = await this.pc.getStats();
    const entries = [...report.values()];
    const chosen = entries.find(({ selectedCandidatePairId }) => selectedCandidatePairId);
    const pair = chosen
      ? report.get(chosen.selectedCandidatePairId)
      : entries.find((entry) => entry.type === 'candidate-pair' && (entry.selected ?? entry.state === 'succeeded'));
    const [local, remote] = [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => report.get(id) ?? {});
    const now = { id: pair?.id, at: performance.now(), bytesSent: 0, bytesReceived: 0, ...pair };
    const last = (this.#last?.id === now.id && this.#last) || now;
    this.#last = now;
    const rate = (key) => (8000 * (now[key] - last[key])) / (now.at - last.at || 1);
    const types = [local.candidateType, remote.candidateType];
    const path = !pair ? undefined : types.includes('relay') ? 'relay' : types.every((type) => type === 'host') ? 'direct' : 'reflexive';
    const stats = {
      state: this.pc.connectionState,
      path,
      local: types[0],
      remote: types[1],
      transport: local.relayProtocol ?? local.protocol,
      roundTripMs: pair?.currentRoundTripTime === undefined ? undefined : 1000 * pair.currentRoundTripTime,
      sendBps: rate('bytesSent'),
      receiveBps: rate('bytesReceived'),
    };
    this.#tell(stats, local);
    return stats;
  }

  #tell({ state, path, local, remote }, { protocol, relayProtocol }) {
    const selected = path && { local, remote, protocol, relay: relayProtocol };
    const told = JSON.stringify([state, selected]);
    if (told === this.#told || this.state === 'ended') return;
    this.#told = told;
    this.room.session.request({ t: 'stats', room: this.room.name, to: this.peer.peer, pc: this.id, state, selected }).catch(() => {});
    this.emit('path', { path, local, remote });
  }
}

export function connect(url, options) {
  return new Session(url, options);
}
