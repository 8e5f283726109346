import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENOUGH } from './call.mjs';
import { FULL, relayedOver, scenario, URLS } from './scenario.mjs';

const LIMIT = { timeout: 180_000 };
const symmetric = { kind: 'symmetric' };
const cone = { kind: 'cone' };
const noUdp = { kind: 'symmetric', blockUdp: true };

function pair(first, second, networks) {
  return [
    { browser: first, ...networks[0] },
    { browser: second, ...networks[1] },
  ];
}

function bothRelayed(protocol) {
  return ({ stats, lab }) => {
    for (const end of stats) {
      assert.ok(relayedOver(protocol, end), JSON.stringify(end));
      assert.equal(end.remote.candidateType, 'relay');
      if (end.local.url) assert.equal(end.local.url, URLS[protocol](lab.hostName));
    }
  };
}

// Behind two symmetric NATs one relay is enough: the other end's packets come to it from a fresh mapping.
function relayedAtOneEnd(protocol) {
  return ({ stats }) => {
    const relays = stats.filter((end) => relayedOver(protocol, end));
    assert.ok(relays.length >= 1, JSON.stringify(stats));
    for (const end of stats) {
      const types = [end.local.candidateType, end.remote.candidateType];
      assert.ok(types.includes('relay'), JSON.stringify(end));
    }
  };
}

async function nothingRelayed({ stats, browsers, lab }) {
  for (const { local, remote } of stats) {
    for (const end of [local, remote]) {
      assert.equal(end.protocol, 'udp');
      assert.ok(['srflx', 'prflx'].includes(end.candidateType) || end === local, JSON.stringify(end));
      assert.notEqual(end.candidateType, 'relay');
    }
  }
  const before = lab.mediaAtServer();
  const later = stats.map((end) => ({ frames: end.framesDecoded + ENOUGH.frames, audio: end.audioPackets + ENOUGH.audio, direct: true }));
  await Promise.all(browsers.map((end, index) => end.call('until', later[index])));
  assert.deepEqual(lab.mediaAtServer(), before, 'media reached the server');
}

const REFLEXIVE = ['srflx', 'prflx'];

function meeting({ local, remote }) {
  const [from, to] = [local, remote].map(({ candidateType }) => (REFLEXIVE.includes(candidateType) ? 'reflexive' : candidateType));
  return `${from} to ${to}`;
}

// Both ends must tell of the same pair, one from each side.
const MEETINGS = ['relay to reflexive, reflexive to relay', 'reflexive to relay, relay to reflexive'];
const SETTLED = 15_000;

async function relayToReflexive({ stats, browsers }) {
  // A browser may begin on another pair before it settles on this one.
  for (const limit = Date.now() + SETTLED; !MEETINGS.includes(stats.map(meeting).join(', ')) && Date.now() < limit; ) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    stats = await Promise.all(browsers.map((end) => end.call('until', ENOUGH)));
  }
  assert.ok(MEETINGS.includes(stats.map(meeting).join(', ')), JSON.stringify(stats));
  const relay = stats.find(({ local }) => local.candidateType === 'relay');
  assert.ok(relayedOver('udp', relay), JSON.stringify(relay));
}

function mixed([first, second]) {
  for (const [name, networks] of [['symmetric and cone', [symmetric, cone]], ['cone and symmetric', [cone, symmetric]]]) {
    test(`${first} and ${second}, ${name}: relay to reflexive`, LIMIT, (t) =>
      scenario(t, { ends: pair(first, second, networks), transport: 'udp', stun: true }, relayToReflexive),
    );
    if (!FULL) break;
  }
}

function relayTests([first, second]) {
  const between = `${first} and ${second}`;
  for (const [policy, check] of [['relay', bothRelayed], ['all', relayedAtOneEnd]]) {
    test(`${between}, symmetric NATs, policy ${policy}: relayed over UDP`, LIMIT, (t) =>
      scenario(t, { ends: pair(first, second, [symmetric, symmetric]), transport: 'udp', policy }, check('udp')),
    );
  }
}

function blockedTests([first, second]) {
  for (const transport of ['tcp', 'tls']) {
    test(`${first} and ${second}, UDP blocked: relayed over ${transport.toUpperCase()}`, LIMIT, (t) =>
      scenario(t, { ends: pair(first, second, [noUdp, noUdp]), transport }, bothRelayed(transport)),
    );
  }
}

function directTest([first, second]) {
  test(`${first} and ${second}, cone NATs: direct, nothing relayed`, LIMIT, (t) =>
    scenario(t, { ends: pair(first, second, [cone, cone]), transport: 'udp', stun: true, direct: true }, nothingRelayed),
  );
}

const MIXED = ['chromium', 'firefox'];

relayTests(MIXED);
blockedTests(MIXED);
directTest(MIXED);
mixed(MIXED);

if (FULL) {
  for (const both of [['firefox', 'chromium'], ['chromium', 'chromium'], ['firefox', 'firefox']]) {
    relayTests(both);
    blockedTests(both);
    directTest(both);
    mixed(both);
  }
  for (const [first, second] of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
    for (const transport of ['udp', 'tcp', 'tls']) {
      const network = { ...(transport === 'udp' ? symmetric : noUdp) };
      test(`${first} with IPv6 only and ${second} with IPv4: relayed over ${transport.toUpperCase()}`, LIMIT, (t) =>
        scenario(
          t,
          { ends: pair(first, second, [{ ...network, family: 6 }, network]), transport, policy: 'relay' },
          bothRelayed(transport),
        ),
      );
    }
  }
}
