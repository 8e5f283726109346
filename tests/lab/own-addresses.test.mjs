// An address that the server's host gets while the server runs is an own address from then on.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Agent } from './agent.mjs';
import { Lab } from './lab.mjs';
import { withLimit } from './proc.mjs';
import { SERVER, startServer } from './server.mjs';
import { CLASS, decode, encode, METHOD, TurnClient } from './stun.mjs';

const LIMIT = { timeout: 60_000 };
const ARRIVAL = 10_000;

describe('an address added after the start', { concurrency: 1, skip: SERVER === 'coturn' && 'coturn has no such rule' }, () => {
  let lab;
  let host;
  let server;
  let clientAgent;
  let clientHost;
  let peer;
  const added = {};

  before(async () => {
    lab = new Lab({ v4: '9.9.0', v6: '2600:9:0:1' });
    host = lab.server();
    clientHost = lab.publicHost('client', 30);
    const peerHost = lab.publicHost('peer', 40);
    Object.assign(added, { 4: `${lab.v4}.200`, 6: `${lab.v6}::200` });
    host.nft(`
      table inet own {
        counter relayed {}
        chain out {
          type filter hook output priority 0;
          udp sport 49152-65535 ip daddr ${added[4]} counter name relayed
          udp sport 49152-65535 ip6 daddr ${added[6]} counter name relayed
        }
      }`);
    // Its own defaults: it listens on every address.
    server = await startServer({ namespace: host, lab, users: [], realm: undefined });
    clientAgent = new Agent(clientHost);
    const peerAgent = new Agent(peerHost);
    peer = { 4: await peerAgent.socket({ address: peerHost.v4 }), 6: await peerAgent.socket({ address: peerHost.v6 }) };
  });

  after(() => lab?.close());

  const relayed = () => host.counter('inet own', 'relayed').packets;

  // One client's datagrams are handled in order: once this has come through, all that it sent before was judged.
  async function passMarker(turn, family) {
    const marker = Buffer.from(`marker ${Math.random()}`);
    assert.equal((await turn.createPermission(peer[family].address)).error, undefined);
    turn.send({ address: peer[family].address, port: peer[family].port }, marker);
    await withLimit(peer[family].until(({ bytes }) => bytes.equals(marker)), ARRIVAL, () => `${marker}\n${server.child.tail()}`);
  }

  async function untilPermission(turn, address, error) {
    const limit = Date.now() + ARRIVAL;
    for (;;) {
      const answer = await turn.createPermission(address);
      if (answer.error === error) return;
      assert.ok(Date.now() < limit, `CreatePermission for ${address}: ${answer.error}, not ${error}\n${server.child.tail()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  for (const family of [4, 6]) {
    test(`IPv${family}: no relay reaches it, and the wildcard listener answers from it`, LIMIT, async () => {
      const address = added[family];
      const onLink = `${address}/${family === 4 ? 24 : 64}`;
      const port = server.port('udp');
      const path = await clientAgent.socket({ address: clientHost.v4, to: { address: host.v4, port } });
      const turn = new TurnClient(path, server.credential('alice'));
      const data = [];
      turn.onData = (one) => data.push(one);
      const request = () => encode({ method: METHOD.binding });
      const tryBoth = async () => {
        turn.send({ address, port }, request());
        turn.sendOnChannel(0x4000, request());
        await passMarker(turn, family);
      };

      // Somebody else's until then, so it may be a peer. The trap sees what leaves for it.
      assert.equal((await turn.allocate({ family })).error, undefined, server.child.tail());
      assert.equal((await turn.channelBind(0x4000, { address, port })).error, undefined);
      const atFirst = relayed();
      await tryBoth();
      const before = relayed();
      assert.equal(before, atFirst + 2, 'the trap');

      host.ip(`addr add ${onLink} dev eth0${family === 6 ? ' nodad' : ''}`);
      await untilPermission(turn, address, 403);
      assert.equal((await turn.channelBind(0x4000, { address, port })).error, 403);
      assert.equal((await turn.channelBind(0x4001, { address, port: 9 })).error, 403);
      // The permission and the channel of before are still there.
      await tryBoth();
      assert.equal(relayed(), before, 'a packet left for an own address');
      assert.deepEqual(data, []);

      const source = family === 4 ? clientHost.v4 : clientHost.v6;
      const direct = await clientAgent.socket({ address: source, to: { address, port } });
      direct.send(request());
      const { from } = await withLimit(direct.until(({ bytes }) => decode(bytes)?.kind === CLASS.success), ARRIVAL, () => server.child.tail());
      assert.deepEqual(from, { address, port });

      host.ip(`addr del ${onLink} dev eth0`);
      await untilPermission(turn, address, undefined);
      assert.equal((await turn.refresh(0)).error, undefined);
    });
  }
});
