// One call in a topology of its own, with what every call must show asserted.
import assert from 'node:assert/strict';
import { Lab } from '../lab/lab.mjs';
import { PASSWORD, USER, startServer } from '../lab/server.mjs';
import { Browser, connect } from './call.mjs';

export const FULL = process.env.LAB_TIER === 'full';

export const URLS = {
  udp: (host) => `turn:${host}:3478?transport=udp`,
  tcp: (host) => `turn:${host}:3478?transport=tcp`,
  tls: (host) => `turns:${host}:5349?transport=tcp`,
};

// ends: [{ browser, kind, blockUdp, family }, …]; the first one calls.
export async function scenario(t, { ends, transport, policy = 'all', stun = false, direct = false }, check) {
  const lab = new Lab();
  t.after(() => lab.close());
  const certificate = lab.certificates();
  const host = lab.server();
  const server = await startServer({
    namespace: host,
    lab,
    certificate,
    relayAddresses: [host.v4, host.v6],
    // The lab's addresses are documentation ranges, which are refused by default.
    allowPeers: [`${lab.v4}.0/24`, `${lab.v6}::/48`],
  });
  const iceServers = [
    ...(stun ? [{ urls: `stun:${lab.hostName}:3478` }] : []),
    { urls: URLS[transport](lab.hostName), username: USER, credential: PASSWORD },
  ];
  const browsers = ends.map(({ browser, ...network }, index) => {
    const name = 'ab'[index];
    const end = new Browser(browser, lab.client(name, 20 + index, network), certificate.ca);
    end.settings = { name, iceServers, iceTransportPolicy: policy };
    return end;
  });
  try {
    const { messages, stats } = await connect(...browsers, { direct });
    assert.deepEqual(messages, ['hello from b', 'hello from a']);
    for (const end of stats) {
      assert.equal(end.connectionState, 'connected');
      // A busy Chromium shows a pair in use as `in-progress` while a check is under way.
      assert.ok(['succeeded', 'in-progress'].includes(end.pairState), end.pairState);
    }
    t.diagnostic(stats.map((end) => `${show(end.local)} -> ${show(end.remote)}`).join(' | '));
    await check({ stats, browsers, lab });
  } catch (error) {
    error.message += `\n--- server\n${server.child.tail(60)}`;
    throw error;
  }
  await Promise.all(browsers.map((end) => end.close()));
}

function show({ candidateType, protocol, relayProtocol }) {
  return [candidateType, protocol, relayProtocol && `relay ${relayProtocol}`].filter(Boolean).join(' ');
}

export function relayedOver(protocol, { local }) {
  return local.candidateType === 'relay' && local.relayProtocol === protocol && local.protocol === 'udp';
}
