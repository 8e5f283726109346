// What a server started with default flags relays to, judged on the wire in a namespace whose addresses are public.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Agent } from './agent.mjs';
import { Lab } from './lab.mjs';
import { withLimit } from './proc.mjs';
import { PASSWORD, SERVER, USER, startServer } from './server.mjs';
import { encode, METHOD, TurnClient } from './stun.mjs';

const LIMIT = { timeout: 60_000 };
const ARRIVAL = 10_000;
const RELAY_PORTS = '49152-65535';
const COTURN = SERVER === 'coturn';

const DENIED = {
  4: ['127.0.0.1', '0.0.0.0', '169.254.169.254', '10.0.0.1'],
  6: ['::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::', 'fe80::1', 'ff02::1'],
};

// coturn denies less by itself; told to, it proves this file.
const COTURN_DENIED = [
  '0.0.0.0-0.255.255.255', '10.0.0.0-10.255.255.255', '127.0.0.0-127.255.255.255', '169.254.0.0-169.254.255.255',
  '::-::1', '::ffff:127.0.0.0-::ffff:127.255.255.255', '64:ff9b::-64:ff9b::ffff:ffff', '2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  'fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
];

describe('default policy', { concurrency: 1 }, () => {
  let lab;
  let host;
  let server;
  let outside;
  let clientAgent;
  let peers;
  let number = 0;

  before(async () => {
    lab = new Lab({ v4: '9.9.0', v6: '2600:9:0:1' });
    host = lab.server();
    const client = lab.publicHost('client', 30);
    const peer = lab.publicHost('peer', 40);
    host.nft(`
      table inet leaks {
        counter leaked {}
        chain out {
          type filter hook output priority 0;
          udp sport ${RELAY_PORTS} ip daddr { ${peer.v4}, ${client.v4} } accept
          udp sport ${RELAY_PORTS} ip6 daddr { ${peer.v6}, ${client.v6} } accept
          udp sport ${RELAY_PORTS} counter name leaked
        }
      }`);
    server = await startServer({
      namespace: host,
      lab,
      users: COTURN ? [[USER, PASSWORD]] : [],
      realm: COTURN ? 'lab' : undefined,
      // It takes any IPv4 address for less than an IPv6 one, so for a part of an IPv6 range.
      coturnFlags: ['-E', host.v4, '-E', host.v6, '--allowed-peer-ip', `${lab.v4}.0-${lab.v4}.255`, ...COTURN_DENIED.flatMap((range) => ['--denied-peer-ip', range])],
    });
    clientAgent = new Agent(client);
    outside = new Agent(peer);
    peers = { 4: await outside.socket({ address: peer.v4 }), 6: await outside.socket({ address: peer.v6 }) };
  });

  after(() => lab?.close());

  const leaked = () => host.counter('inet leaks', 'leaked').packets;
  const relayAddress = (family) => (family === 4 ? host.v4 : host.v6);

  async function client(family) {
    const path = await clientAgent.socket({ address: clientAddress(), to: { address: host.v4, port: server.port('udp') } });
    const credential = COTURN ? { username: USER, password: PASSWORD } : server.credential('alice');
    const turn = new TurnClient(path, credential);
    const answer = await turn.allocate({ family });
    assert.equal(answer.error, undefined, server.child.tail());
    assert.equal(turn.relayed.address, relayAddress(family));
    turn.data = [];
    turn.onData = (data) => {
      turn.data.push(data);
      turn.wake?.();
    };
    turn.until = async (wanted) => {
      for (;;) {
        const found = turn.data.find(wanted);
        if (found) return found;
        await new Promise((resolve) => (turn.wake = resolve));
      }
    };
    return turn;
  }

  function clientAddress() {
    return `${lab.v4}.30`;
  }

  // One client's datagrams are handled in order: once this has come through, all that it sent before was judged.
  async function passMarker(turn, family) {
    const peer = peers[family];
    const marker = Buffer.from(`marker ${(number += 1)}`);
    assert.equal((await turn.createPermission(peer.address)).error, undefined);
    turn.send({ address: peer.address, port: peer.port }, marker);
    const { from } = await withLimit(peer.until(({ bytes }) => bytes.equals(marker)), ARRIVAL, () => `${marker}\n${server.child.tail()}`);
    assert.deepEqual(from, turn.relayed);
  }

  test('the trap counts what leaves a relay port for a forbidden peer', LIMIT, async () => {
    const own = new Agent(host);
    const sockets = { 4: await own.socket({ address: '0.0.0.0', port: 49160 }), 6: await own.socket({ address: '::', port: 49160 }) };
    for (const family of [4, 6]) {
      for (const address of DENIED[family].filter((address) => !/^::ffff:/.test(address))) {
        const before = leaked();
        const zone = /^(fe80|ff02)/.test(address) ? '%eth0' : '';
        sockets[family].send(Buffer.from('probe'), { address: address + zone, port: 9 });
        // The agent's next datagram leaves after it.
        sockets[family].send(Buffer.from(`sent ${address}`), { address: peers[family].address, port: peers[family].port });
        await withLimit(peers[family].until(({ bytes }) => bytes.equals(Buffer.from(`sent ${address}`))), ARRIVAL, address);
        assert.equal(leaked(), before + 1, address);
      }
    }
    await own.child.stop();
  });

  for (const family of [4, 6]) {
    for (const address of DENIED[family]) {
      test(`${address} is refused, and a Send to it is silent`, LIMIT, async () => {
        const turn = await client(family);
        const before = leaked();
        assert.equal((await turn.createPermission(address)).error, 403);
        assert.equal((await turn.channelBind(0x4000, { address, port: 9 })).error, 403);
        turn.send({ address, port: 9 }, Buffer.from('forbidden'));
        await passMarker(turn, family);
        turn.sendOnChannel(0x4000, Buffer.from('forbidden'));
        await passMarker(turn, family);
        assert.equal(leaked(), before, 'a packet left for a forbidden peer');
        assert.deepEqual(turn.data, []);
        assert.equal((await turn.refresh(0)).error, undefined);
      });
    }

    test(`the server's own listener on its IPv${family} relay address is out of reach`, { ...LIMIT, skip: COTURN && 'coturn has no such rule' }, async () => {
      const turn = await client(family);
      const listener = { address: relayAddress(family), port: server.port('udp') };
      const before = leaked();
      assert.equal((await turn.createPermission(listener.address)).error, undefined);
      assert.equal((await turn.channelBind(0x4000, listener)).error, 403);
      turn.send(listener, encode({ method: METHOD.binding }));
      await passMarker(turn, family);
      assert.equal(leaked(), before, 'a packet left for an endpoint of the server');
      assert.deepEqual(turn.data, []);
      assert.equal((await turn.refresh(0)).error, undefined);
    });

    test(`two clients reach each other through their IPv${family} relayed addresses`, LIMIT, async () => {
      const [one, two] = await Promise.all([client(family), client(family)]);
      for (const [from, to] of [[one, two], [two, one]]) {
        assert.equal((await from.createPermission(to.relayed.address)).error, undefined);
      }
      for (const [from, to] of [[one, two], [two, one]]) {
        const payload = Buffer.from(`send from ${from.relayed.port}`);
        from.send(to.relayed, payload);
        const got = await withLimit(to.until((data) => data.payload.equals(payload)), ARRIVAL, () => `${payload}\n${server.child.tail()}`);
        assert.deepEqual(got.peer, from.relayed);
      }
      for (const [from, to] of [[one, two], [two, one]]) {
        assert.equal((await from.channelBind(0x4001, to.relayed)).error, undefined);
      }
      for (const [from, to] of [[one, two], [two, one]]) {
        const payload = Buffer.from(`channel from ${from.relayed.port}`);
        from.sendOnChannel(0x4001, payload);
        const got = await withLimit(to.until((data) => data.payload.equals(payload)), ARRIVAL, () => `${payload}\n${server.child.tail()}`);
        assert.equal(got.channel, 0x4001);
      }
      await Promise.all([one, two].map((turn) => turn.refresh(0)));
    });
  }
});
