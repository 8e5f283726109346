// Sessions and calls of web/turnpike.js in browsers: glare, cuts, the other carrier.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startServer } from '../lab/server.mjs';
import { callAt, connected, count, enter, got, greet, heard, resumed, stopCounting } from './ends.mjs';
import { Proxy } from './proxy.mjs';
import { FULL } from './scenario.mjs';
import { Browser } from './tab.mjs';

const LIMIT = { timeout: 400_000 };
const CALLS = FULL ? 50 : 10;
const SOON = 250;
const EVERY = 100;
const PAGE = '/demo/feed.html';

async function loopback(t) {
  const lab = new Lab();
  t.after(() => lab.close());
  const server = await startServer({ lab, listen: ['127.0.0.1'], flags: ['--http', '127.0.0.1:0', '--demo', '--relay-address', '127.0.0.1'] });
  return { lab, port: await server.httpPort() };
}

async function glare(t, kinds) {
  const { lab, port } = await loopback(t);
  const browsers = kinds.map((kind) => new Browser(lab, kind));
  const ends = [];
  for (let index = 0; index < 2; index += 1) ends.push(await (browsers[index] ?? browsers[0]).open(`http://127.0.0.1:${port}${PAGE}`));
  for (const end of ends) await end.run(enter, 'glare');
  await ends[0].until(() => globalThis.end.room.peers.size === 1);
  let crossed = 0;
  for (let round = 1; round <= CALLS; round += 1) {
    const id = `call ${round}`;
    const at = Date.now() + SOON;
    const called = await Promise.all(ends.map((end) => end.run(callAt, id, at)));
    if (called.every(Boolean)) crossed += 1;
    const states = await Promise.all(ends.map((end) => end.until(connected, id)));
    for (const state of states) assert.deepEqual(state, { calls: 1, one: true, signaling: 'stable' }, id);
    await Promise.all(ends.map((end) => end.run(greet, id)));
    for (const end of ends) assert.deepEqual(await end.until(got), [id]);
    await ends[round % 2].run(() => globalThis.end.call.close());
    for (const end of ends) await end.until(() => globalThis.end.room.calls.size === 0);
  }
  const glares = await Promise.all(ends.map((end) => end.run(() => globalThis.end.glares)));
  t.diagnostic(`${crossed} of ${CALLS} began at both ends, glare seen ${glares.join(' and ')} times`);
  assert.ok(crossed >= CALLS / 2 && glares[0] + glares[1] >= CALLS / 2);
  await Promise.all(browsers.map((browser) => browser.close()));
}

for (const kinds of [['chromium'], ...(FULL ? [['firefox', 'firefox'], ['chromium', 'firefox']] : [])]) {
  test(`${CALLS} times both call at once in ${kinds.join(' and ')}: one call each time`, LIMIT, (t) => glare(t, kinds));
}

const CUTS = {
  reset: ({ nat }) => cut(nat, 'iifname "lan" meta l4proto tcp reject with tcp reset'),
  silence: ({ nat }) => cut(nat, 'meta l4proto tcp drop'),
  address: (client) => {
    const [from, to] = client.moved ? [3, 2] : [2, 3];
    client.moved = !client.moved;
    const net = client.net;
    client.ip(`addr del ${net}.${from}/24 dev eth0`, `addr add ${net}.${to}/24 dev eth0`, `route replace default via ${net}.1`);
    return () => {};
  },
};

/** Until what it returns is called, the NAT does this to what it forwards. */
function cut(nat, rule) {
  nat.nft(`table inet cut { chain forward { type filter hook forward priority -10; ${rule}; }; }`);
  return () => nat.nft('delete table inet cut');
}

async function behindNats(t, kinds, check) {
  const lab = new Lab();
  t.after(() => lab.close());
  const certificate = lab.certificates();
  const host = lab.server();
  const server = await startServer({
    namespace: host,
    lab,
    certificate,
    relayAddresses: [host.v4],
    flags: ['--http', 'off', '--https', `${host.v4}:443`, '--demo-public', '--ping-interval', '2s'],
  });
  const clients = kinds.map((_, index) => Object.assign(lab.client('ab'[index], 20 + index), { net: `192.168.${20 + index}` }));
  const browsers = kinds.map((kind, index) => new Browser(lab, kind, { namespace: clients[index], ca: certificate.ca }));
  await Promise.all(browsers.map(({ ready }) => ready));
  const tabs = await Promise.all(browsers.map((browser) => browser.open(`https://${lab.hostName}${PAGE}`)));
  for (const tab of tabs) await tab.run(enter, 'cuts');
  try {
    await check(tabs, clients);
  } catch (error) {
    error.message += `\n--- server\n${server.child.tail(20)}`;
    throw error;
  }
  await Promise.all(browsers.map((browser) => browser.close()));
}

const SOME = ['reset', 'address', 'reset', 'silence', 'reset', 'address'];
const MANY = [...SOME, ...SOME, ...SOME, 'silence', 'reset'];

function cutsTest(kinds) {
  const cuts = FULL ? MANY : SOME;
  test(`${cuts.length} cuts of ${kinds[0]}, behind a NAT, on the way to ${kinds[1]}: nothing lost, doubled or reordered`, LIMIT, (t) =>
    behindNats(t, kinds, async (tabs, [client]) => {
      for (const tab of tabs) await tab.run(count, EVERY);
      for (const kind of cuts) {
        const before = await tabs[0].run(resumed);
        const mend = CUTS[kind](client);
        await tabs[0].until((times) => globalThis.end.session.state === 'offline' || globalThis.end.events.filter((type) => type === 'resumed').length > times, before);
        mend();
        await tabs[0].until((times) => globalThis.end.events.filter((type) => type === 'resumed').length > times, before);
      }
      const totals = await Promise.all(tabs.map((tab) => tab.run(stopCounting)));
      for (const [index, tab] of tabs.entries()) {
        const { sent, answers } = totals[1 - index];
        assert.deepEqual(answers, [1]);
        const end = await tab.until(heard, sent);
        assert.deepEqual(end.heard, Array.from({ length: sent }, (_, n) => n + 1));
        assert.deepEqual(end.events.filter((type) => !['open', 'resumed'].includes(type)), []);
      }
      t.diagnostic(`${totals.map(({ sent }) => sent).join(' and ')} messages, resumed ${await tabs[0].run(resumed)} times`);
    }),
  );
}

cutsTest(['chromium', 'firefox']);
if (FULL) cutsTest(['firefox', 'chromium']);

test('when the browser is online again, the session is resumed at once', LIMIT, (t) =>
  behindNats(t, ['chromium'], async ([tab], [client]) => {
    const mend = CUTS.reset(client);
    await tab.until(() => globalThis.end.session.state === 'offline');
    await tab.offline(true);
    // Long enough for the pauses between attempts to have grown.
    await tab.run(() => new Promise((resolve) => setTimeout(resolve, 6000)));
    mend();
    await tab.offline(false);
    await tab.until(resumed);
    const { online, resumed: at } = await tab.run(() => globalThis.end.times);
    assert.ok(at > online && at - online < 2000, `${at - online} ms`);
  }),
);

test('where a proxy refuses WebSockets the browser uses server-sent events, and moves back on the same session', LIMIT, async (t) => {
  const { lab, port } = await loopback(t);
  const proxy = await Proxy.start({ port });
  t.after(() => proxy.close());
  proxy.upgrades = false;
  const browser = new Browser(lab, 'chromium');
  const first = await browser.open(`${proxy.url}${PAGE}`);
  const second = await browser.open(`http://127.0.0.1:${port}${PAGE}`);
  const peer = await first.run(enter, 'sse');
  await second.run(enter, 'sse');
  assert.equal(await first.run(() => globalThis.end.session.carrier), 'sse');
  assert.equal(await second.run(() => globalThis.end.session.carrier), 'ws');
  await first.run(() => globalThis.end.room.send('by POST'));
  await second.run(() => globalThis.end.room.send('by an event'));
  assert.deepEqual((await second.until(heard, 1)).heard, ['by POST']);
  assert.deepEqual((await first.until(heard, 1)).heard, ['by an event']);
  proxy.upgrades = true;
  await first.run(() => dispatchEvent(new Event('online')));
  await first.until(resumed);
  await second.run(() => globalThis.end.room.send('by a frame'));
  assert.deepEqual((await first.until(heard, 2)).heard, ['by an event', 'by a frame']);
  assert.deepEqual(await first.run(() => [globalThis.end.session.carrier, globalThis.end.session.peer, globalThis.end.events]), ['ws', peer, ['open', 'resumed']]);
  await browser.close();
});
