// The session half of web/turnpike.js against the daemon, without a browser.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Lab } from '../lab/lab.mjs';
import { Child, withLimit } from '../lab/proc.mjs';
import { startServer } from '../lab/server.mjs';
import { connect, TurnpikeError } from '../../web/turnpike.js';
import { Proxy } from './proxy.mjs';

// Node has one of its own from version 22 on.
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket;

const web = fileURLToPath(new URL('../../web/', import.meta.url));
const LIMIT = { timeout: 60_000 };
const STEP = 20_000;
const CUTS = process.env.LAB_TIER === 'full' ? 60 : 20;

let lab;
let open;
let closed;

before(async () => {
  lab = new Lab();
  [open, closed] = await Promise.all([daemon('--signal-auth', 'open'), daemon('--signal-auth', 'token', '--api-key', 'mint,token,publish,read@test-key-0123456789abcdef')]);
}, LIMIT);

after(() => lab.close());

async function daemon(...flags) {
  const server = await startServer({ lab, listen: ['127.0.0.1'], flags: ['--http', '127.0.0.1:0', '--relay-address', '127.0.0.1', ...flags] });
  server.http = await server.httpPort();
  server.url = `http://127.0.0.1:${server.http}`;
  return server;
}

/** Resolves with the detail of the next `type` that fits. */
function next(target, type, fits = () => true) {
  const found = new Promise((resolve) => {
    const off = target.on(type, (detail) => {
      if (!fits(detail)) return;
      off();
      resolve(detail);
    });
  });
  return withLimit(found, STEP, `no ${type}`);
}

function session(t, url, options) {
  const made = connect(url, { WebSocket, ...options });
  t.after(() => made.close());
  return made;
}

async function proxied(t, server = open) {
  const proxy = await Proxy.start({ port: server.http });
  t.after(() => proxy.close());
  return proxy;
}

let rooms = 0;
const newRoom = () => `room-${(rooms += 1)}`;

test('two sessions meet in a room, and what one does the other sees', LIMIT, async (t) => {
  const [a, b] = [session(t, open.url), session(t, open.url.replace('http', 'ws'))];
  const name = newRoom();
  const ours = await a.join(name, { meta: { name: 'Ann' } });
  const joined = next(ours, 'peer-joined');
  const theirs = await b.join(name, { meta: { name: 'Bo' } });
  assert.equal((await joined).meta.name, 'Bo');
  assert.deepEqual([...theirs.peers.values()].map(({ meta, polite, initiate }) => ({ meta, polite, initiate })), [{ meta: { name: 'Ann' }, polite: true, initiate: true }]);
  assert.deepEqual([...ours.peers.values()].map(({ polite }) => polite), [false]);
  assert.deepEqual([ours.self, theirs.self].map(({ peer, ord, as }) => [peer, ord, as]), [[a.peer, 1, 'peer'], [b.peer, 2, 'peer']]);

  const message = next(theirs, 'message');
  assert.equal(await ours.send({ text: 'ä' }, { event: 'chat' }), 1);
  assert.deepEqual(await message, { from: a.peer, event: 'chat', data: { text: 'ä' } });

  const updated = next(ours, 'peer-updated');
  await theirs.update({ name: null, hand: true });
  assert.deepEqual((await updated).meta, { hand: true });
  assert.deepEqual(theirs.meta, { hand: true });

  const state = next(theirs, 'state');
  const ver = await ours.setState('topic', { tea: 1 });
  assert.deepEqual(await state, { key: 'topic', value: { tea: 1 }, ver, by: a.peer });
  assert.deepEqual(ours.state.get('topic'), theirs.state.get('topic'));
  await assert.rejects(ours.setState('topic', 2, { ifVer: ver + 1 }), ({ code, detail }) => code === 'conflict' && detail.ver === ver);
  const gone = next(ours, 'state');
  await theirs.deleteState('topic');
  assert.equal((await gone).value, undefined);
  assert.equal(ours.state.size, 0);

  assert.ok(a.ice.servers.length > 0 && a.configuration.iceTransportPolicy === 'all');
  const left = next(ours, 'peer-left');
  await theirs.leave();
  assert.equal((await left).reason, 'leave');
  assert.equal(theirs.joined, false);
  await assert.rejects(theirs.send(1), ({ code }) => code === 'not_in_room');
});

test('errors name themselves and settle their own request', LIMIT, async (t) => {
  const one = session(t, open.url);
  const room = one.room(newRoom());
  await assert.rejects(room.send(1), ({ code }) => code === 'not_in_room');
  await room.join();
  const results = await Promise.allSettled([
    room.send(1, { to: 'nobody' }),
    room.send('x'.repeat(70_000)),
    one.request({ t: 'nonsense' }),
    room.update({ $name: 'x' }),
    room.send(2),
  ]);
  const codes = results.map(({ reason, value }) => reason?.code ?? value);
  assert.deepEqual(codes, ['peer_not_found', 'too_large', 'unknown_type', 'bad_request', 0]);
  assert.ok(results[0].reason instanceof TurnpikeError);
  await one.close();
  await assert.rejects(room.send(3), ({ code }) => code === 'closed');
});

test('closing releases the session at once, and reaches its own rooms', LIMIT, async (t) => {
  const [a, b] = [session(t, open.url), session(t, open.url)];
  const name = newRoom();
  const ours = await a.join(name);
  const theirs = await b.join(name);
  const [left, over, end] = [next(ours, 'peer-left'), next(theirs, 'left'), next(b, 'close')];
  await b.close();
  assert.equal((await left).reason, 'leave');
  assert.equal((await over).reason, 'closed');
  assert.equal((await end).code, 1000);
});

async function surviveCuts(t, proxy, carriers, carrier) {
  const [a, b] = [session(t, proxy.url, { carriers }), session(t, proxy.url, { carriers })];
  const name = newRoom();
  const [ours, theirs] = [await a.join(name), await b.join(name)];
  const heard = { a: [], b: [] };
  let resets = 0;
  for (const one of [a, b]) for (const type of ['reset', 'gap']) one.on(type, () => (resets += 1));
  ours.on('message', ({ data }) => heard.a.push(data));
  theirs.on('message', ({ data }) => heard.b.push(data));
  const sent = [];
  let number = 0;
  for (let cut = 0; cut < CUTS; cut += 1) {
    const resumed = Promise.all([next(a, 'resumed'), next(b, 'resumed')]);
    for (let i = 0; i < 5; i += 1) {
      number += 1;
      sent.push(ours.send(number), theirs.send(number));
      if (i === cut % 5) proxy.cut();
    }
    await resumed;
    // The answers come by the new connections, so that the next cut finds them.
    await Promise.all(sent);
  }
  const done = Promise.all([next(ours, 'message', ({ data }) => data === 'end'), next(theirs, 'message', ({ data }) => data === 'end')]);
  sent.push(ours.send('end'), theirs.send('end'));
  assert.deepEqual(new Set(await Promise.all(sent)), new Set([1]));
  await done;
  const all = [...Array.from({ length: number }, (_, i) => i + 1), 'end'];
  assert.deepEqual(heard, { a: all, b: all });
  assert.equal(resets, 0);
  assert.deepEqual([a.carrier, b.carrier], [carrier, carrier]);
}

for (const carrier of ['ws', 'sse']) {
  test(`${CUTS} cuts over ${carrier}: nothing lost, nothing doubled, order kept`, LIMIT, async (t) => {
    await surviveCuts(t, await proxied(t), [carrier], carrier);
  });
}

/** Starts an nginx as its package configures it in front of the daemon; resolves with the path of its socket. */
async function nginx(port) {
  const directory = lab.tempDir('nginx');
  const socket = join(directory, 'nginx.socket');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${directory}/${kind};`);
  const configuration = `
    daemon off; worker_processes 1; pid ${directory}/pid; error_log stderr notice; events {}
    http { access_log off; ${temporary.join(' ')}
      server { listen unix:${socket}; location / { proxy_pass http://127.0.0.1:${port}; } } }`;
  writeFileSync(join(directory, 'nginx.conf'), configuration);
  const child = lab.adopt(new Child('nginx', 'nginx', ['-e', 'stderr', '-c', join(directory, 'nginx.conf')]));
  await child.until((lines) => lines.some((line) => line.includes('start worker process ')), STEP, 'no worker');
  return socket;
}

test(`${CUTS} cuts through an nginx with its defaults, which knows no WebSocket and buffers`, LIMIT, async (t) => {
  const proxy = await Proxy.start({ path: await nginx(open.http) });
  t.after(() => proxy.close());
  await surviveCuts(t, proxy, undefined, 'sse');
});

test('a proxy that refuses WebSockets leads to server-sent events, and back once it allows them', LIMIT, async (t) => {
  const proxy = await proxied(t);
  proxy.upgrades = false;
  const one = session(t, proxy.url);
  const room = await one.join(newRoom());
  assert.equal(one.carrier, 'sse');
  const { peer } = one;
  proxy.upgrades = true;
  const other = session(t, open.url);
  const theirs = await other.join(room.name);
  const message = next(room, 'message');
  await theirs.send(1);
  assert.equal((await message).data, 1);
  const resumed = next(one, 'resumed');
  // What the browser does when the network changes.
  one.dispatchEvent(new Event('test'));
  proxy.cut();
  await resumed;
  assert.equal(one.peer, peer);
  assert.equal(await room.send(2), 1);
});

test('a connection that has gone silent is given up and resumed', LIMIT, async (t) => {
  const quick = await daemon('--signal-auth', 'open', '--ping-interval', '1s');
  const proxy = await proxied(t, quick);
  const one = session(t, proxy.url, { carriers: ['ws'] });
  const room = await one.join(newRoom());
  const resumed = next(one, 'resumed');
  proxy.silence();
  const state = next(one, 'state', ({ state: now }) => now === 'offline');
  const sent = room.setState('k', 1);
  await state;
  await resumed;
  assert.equal(await sent, 1);
  await one.close();
  await quick.stop();
});

test('a session that cannot be resumed starts anew in the same rooms', LIMIT, async (t) => {
  const brief = await daemon('--signal-auth', 'open', '--resume-grace', '1s');
  const proxy = await proxied(t, brief);
  const one = session(t, proxy.url);
  const other = session(t, brief.url);
  const name = newRoom();
  const room = await one.join(name, { meta: { name: 'A' } });
  const theirs = await other.join(name, { meta: { name: 'B' } });
  await room.update({ hand: true });
  const before = one.peer;
  const reset = next(one, 'reset');
  const gone = next(theirs, 'peer-left');
  proxy.down = true;
  proxy.cut();
  await next(one, 'state', ({ state }) => state === 'offline');
  const queued = room.send('queued');
  await gone;
  const back = next(theirs, 'peer-joined');
  const heard = next(theirs, 'message');
  proxy.down = false;
  await reset;
  assert.notEqual(one.peer, before);
  assert.deepEqual((await back).meta, { name: 'A', hand: true });
  assert.equal(await queued, 1);
  assert.deepEqual({ ...(await heard) }, { from: one.peer, event: null, data: 'queued' });
  assert.deepEqual([...room.peers.keys()], [other.peer]);
  await Promise.all([one.close(), other.close()]);
  await brief.stop();
});

test('after a reset what was on its way is unknown, never repeated', LIMIT, async (t) => {
  const brief = await daemon('--signal-auth', 'open', '--resume-grace', '1s');
  const proxy = await proxied(t, brief);
  const one = session(t, proxy.url, { carriers: ['ws'] });
  const other = session(t, brief.url);
  const name = newRoom();
  const room = await one.join(name);
  const theirs = await other.join(name);
  const heard = [];
  theirs.on('message', ({ data }) => heard.push(data));
  proxy.silence();
  const lost = assert.rejects(room.send('lost'), ({ code }) => code === 'unknown');
  const gone = next(theirs, 'peer-left');
  proxy.down = true;
  proxy.cut();
  await gone;
  const joined = next(room, 'joined');
  proxy.down = false;
  await Promise.all([lost, joined]);
  const after = next(theirs, 'message', ({ data }) => data === 'after');
  await room.send('after');
  await after;
  assert.deepEqual(heard, ['after']);
  await Promise.all([one.close(), other.close()]);
  await brief.stop();
});

test('after a gap the roster and the state are compared', LIMIT, async (t) => {
  const proxy = await proxied(t);
  const one = session(t, proxy.url);
  const [stays, leaves, speaks] = [session(t, open.url), session(t, open.url), session(t, open.url)];
  const name = newRoom();
  const theirs = await stays.join(name, { meta: { n: 1 } });
  await leaves.join(name);
  const room = await one.join(name);
  const told = [];
  for (const type of ['peer-joined', 'peer-left', 'peer-updated', 'state']) room.on(type, ({ peer, key }) => told.push([type, peer ?? key]));
  const kept = next(room, 'state');
  await theirs.setState('kept', 1);
  await kept;
  proxy.down = true;
  proxy.cut();
  const left = leaves.peer;
  await leaves.close();
  await theirs.update({ n: 2 });
  await theirs.setState('new', 1);
  const third = await speaks.join(name);
  // More than a ring holds, from two so that neither is too fast.
  for (const from of [theirs, third]) await Promise.all(Array.from({ length: 150 }, (_, i) => from.send(i)));
  told.length = 0;
  const gap = next(one, 'gap');
  proxy.down = false;
  await gap;
  assert.deepEqual(told.sort(), [['peer-joined', speaks.peer], ['peer-left', left], ['peer-updated', stays.peer], ['state', 'new']].sort());
  assert.equal(await room.send('on'), 2);
  assert.deepEqual([...room.peers.keys()].sort(), [stays.peer, speaks.peer].sort());
});

test('a crash of the daemon: rooms are joined again on the next one', LIMIT, async (t) => {
  const first = await daemon('--signal-auth', 'open');
  const proxy = await proxied(t, first);
  const one = session(t, proxy.url);
  const room = await one.join(newRoom(), { meta: { name: 'A' } });
  const reset = next(one, 'reset');
  const joined = next(room, 'joined');
  await first.stop();
  const second = await daemon('--signal-auth', 'open');
  proxy.target.port = second.http;
  await reset;
  await joined;
  assert.equal(await room.setState('k', 1), 1);
  await one.close();
  await second.stop();
});

async function mint(claims) {
  const answer = await fetch(`${closed.url}/v1/tokens`, {
    method: 'POST',
    headers: { authorization: 'Bearer test-key-0123456789abcdef', 'content-type': 'application/json' },
    body: JSON.stringify(claims),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).token;
}

test('without a token there is no session where tokens are required', LIMIT, async (t) => {
  for (const carriers of [['ws'], ['sse']]) {
    const one = session(t, closed.url, { carriers });
    assert.equal((await next(one, 'close')).code, 4501);
    assert.equal(one.state, 'closed');
  }
});

test('a token function is asked to connect, before expiry and after it', LIMIT, async (t) => {
  const proxy = await proxied(t, closed);
  const asked = [];
  const token = async (why) => {
    asked.push(why);
    return mint({ sub: 'ann', room: '*', ttl: asked.length < 3 ? 2 : 3600, perm: ['join', 'observe', 'signal', 'send', 'state'] });
  };
  const one = session(t, proxy.url, { token });
  const room = await one.join(newRoom());
  assert.equal(one.uid, 'ann');
  // Both short ones are announced at once; the third is far from its end.
  for (const why of ['connect', 'refresh', 'refresh']) if (!asked.includes(why)) await next(one, 'token-expiring');
  await withLimit((async () => { while (asked.length < 3) await next(one, 'token-expiring'); })(), STEP, 'tokens').catch(() => {});
  assert.deepEqual(asked.slice(0, 2), ['connect', 'refresh']);
  assert.equal(await room.setState('k', 1), 1);
  await assert.rejects(room.kick('nobody'), ({ code }) => ['forbidden', 'peer_not_found'].includes(code));
});

test('an expired token ends a session with a fixed token, and renews one with a function', LIMIT, async (t) => {
  const short = await mint({ sub: 'bo', ttl: 1 });
  const fixed = session(t, closed.url, { token: short });
  let first = true;
  const renewed = session(t, closed.url, {
    token: (why) => {
      if (why === 'refresh') return 'not a token';
      const now = first ? short : mint({ sub: 'bo', ttl: 3600 });
      first = false;
      return now;
    },
  });
  const reset = next(renewed, 'reset');
  assert.equal((await next(fixed, 'close')).code, 4502);
  await reset;
  assert.equal(renewed.state, 'open');
  assert.equal(renewed.uid, 'bo');
});

test('messages of the server arrive, and the feed of a room shows them', LIMIT, async (t) => {
  const one = session(t, closed.url, { token: await mint({ sub: 'ann', room: '*' }) });
  const room = await one.join(newRoom());
  const message = next(room, 'message');
  await fetch(`${closed.url}/v1/rooms/${room.name}/messages`, {
    method: 'POST',
    headers: { authorization: 'Bearer test-key-0123456789abcdef', 'content-type': 'application/json' },
    body: JSON.stringify({ event: 'price', data: 7 }),
  });
  assert.deepEqual(await message, { from: 'server', event: 'price', data: 7 });
});

test('the client is small, and its package is complete', () => {
  assert.ok(gzipSync(readFileSync(`${web}turnpike.js`), { level: 9 }).length <= 10 << 10);
  const [pack] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: web, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  const files = pack.files.map(({ path }) => path).sort();
  assert.deepEqual(files, ['README.md', 'package.json', 'turnpike.d.ts', 'turnpike.js']);
  assert.equal(pack.name, 'turnpike-client');
});

test('the types hold an application to the library', () => {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const run = () => execFileSync(process.execPath, [`${here}node_modules/typescript/bin/tsc`, '-p', `${here}types`], { encoding: 'utf8' });
  assert.doesNotThrow(run, ({ stdout }) => assert.fail(stdout));
});
