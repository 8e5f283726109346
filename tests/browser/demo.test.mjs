// The demo page over HTTPS, each browser behind a symmetric NAT.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startServer } from '../lab/server.mjs';
import { chat, enter, frames, sendFile, share, stats } from './demo.mjs';
import { FULL } from './scenario.mjs';
import { Browser } from './tab.mjs';

const LIMIT = { timeout: 300_000 };
const MB = 1 << 20;
const NETWORKS = {
  'symmetric NATs': { kind: 'symmetric' },
  'UDP blocked, 443 alone': { kind: 'symmetric', blockUdp: true, onlyPorts: { tcp: [443] } },
};

async function meeting(t, kinds, network, flags, check) {
  const lab = new Lab();
  t.after(() => lab.close());
  const certificate = lab.certificates();
  const host = lab.server();
  const server = await startServer({
    namespace: host,
    lab,
    certificate,
    relayAddresses: [host.v4],
    allowPeers: [`${lab.v4}.0/24`],
    flags: ['--http', 'off', '--https', `${host.v4}:443`, '--demo-public', ...flags],
  });
  const browsers = kinds.map((kind, index) => new Browser(lab, kind, { namespace: lab.client('ab'[index], 20 + index, network), ca: certificate.ca }));
  try {
    await Promise.all(browsers.map(({ ready }) => ready));
    const url = `https://${lab.hostName}/demo/#room=tea`;
    await check(await Promise.all(browsers.map((browser, index) => enter(browser, url, ['Ann', 'Bo'][index]))), lab);
    assert.deepEqual(browsers.flatMap(({ errors }) => errors), []);
  } catch (error) {
    error.message += browsers.map(({ child, log }) => `\n--- ${child.name}\n${log.slice(-15).join('\n')}`).join('');
    error.message += `\n--- server\n${server.child.tail(30)}`;
    throw error;
  }
  await Promise.all(browsers.map((browser) => browser.close()));
}

function wholeMeeting(kinds, [name, network]) {
  test(`${kinds.join(' and ')}, ${name}: picture, screen, chat and a file`, LIMIT, (t) =>
    meeting(t, kinds, network, [], async ([ann, bo]) => {
      const first = await Promise.all([frames(ann), frames(bo)]);
      await chat(ann, bo, 'Hello Bo');
      await chat(bo, ann, 'Hello Ann');
      await share(ann, bo);
      await sendFile(bo, ann, network.blockUdp && !FULL ? MB : 20 * MB);
      await Promise.all([frames(ann, first[0] + 20), frames(bo, first[1] + 20)]);
      const both = await Promise.all([stats(ann), stats(bo)]);
      t.diagnostic(both.map(({ path, local, remote, transport }) => `${path} ${local} ${remote} ${transport}`).join(' | '));
      for (const end of both) assert.equal(end.path, 'relay', JSON.stringify(both));
      if (network.blockUdp) for (const end of both) assert.equal(end.transport, 'tls', JSON.stringify(both));
      await ann.until(() => /Relayed/.test(document.querySelector('.tile:not(.mine) .path').textContent));
      await bo.click('#leave');
      await ann.until(() => !document.querySelector('#alone').hidden);
    }),
  );
}

const PAIRS = [['chromium', 'firefox'], ['chromium', 'chromium'], ['firefox', 'firefox']];

for (const kinds of FULL ? PAIRS : PAIRS.slice(0, 1)) {
  for (const network of Object.entries(NETWORKS)) wholeMeeting(kinds, network);
}

const BRIEF = ['--credential-ttl', '20s', '--default-lifetime', '20s', '--max-lifetime', '20s'];
const LIFETIMES = 3;
const SECOND = 1000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function longMeeting(kinds) {
  test(`${kinds.join(' and ')}: a relayed call outlives ${LIFETIMES} lifetimes of its credential`, LIMIT, (t) =>
    meeting(t, kinds, NETWORKS['symmetric NATs'], BRIEF, async (ends) => {
      await ends[0].click('#open-people');
      await ends[0].click('.switch');
      for (const end of ends) {
        await end.until(async () => (await [...globalThis.turnpike.room.calls.values()][0]?.stats())?.path === 'relay');
        await end.run(() => {
          globalThis.seen = { ice: 0, broken: [] };
          globalThis.turnpike.session.on('ice', () => (globalThis.seen.ice += 1));
          const [call] = globalThis.turnpike.room.calls.values();
          for (const type of ['state', 'ended', 'error']) call.on(type, (detail) => globalThis.seen.broken.push([type, detail]));
        });
      }
      let before = await Promise.all(ends.map((end) => frames(end)));
      for (const until = Date.now() + (LIFETIMES * 20 + 10) * SECOND; Date.now() < until; ) {
        await pause(3 * SECOND);
        const now = await Promise.all(ends.map((end) => frames(end)));
        assert.ok(now.every((count, index) => count > before[index]), `${before} then ${now}`);
        before = now;
      }
      for (const end of ends) {
        const { ice, broken } = await end.run(() => globalThis.seen);
        assert.deepEqual(broken, []);
        assert.ok(ice >= 2 * LIFETIMES, `${ice} pushes`);
        assert.equal((await stats(end)).path, 'relay');
      }
    }),
  );
}

if (FULL) {
  longMeeting(['chromium', 'firefox']);
  longMeeting(['chromium', 'chromium']);
}
