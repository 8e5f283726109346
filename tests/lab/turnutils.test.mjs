// coturn's own load client against the server: nothing may be lost, over any transport.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab } from './lab.mjs';
import { withLimit } from './proc.mjs';
import { PASSWORD, SECRET, SERVER, USER, startServer } from './server.mjs';
import { outcome } from './uclient.mjs';

const CALL_LIMIT = 60_000;

// Its TLS client reads one record for each time that the socket is readable, and never sees the rest of those that
// arrived together: so few and far between.
const TRANSPORTS = {
  udp: ['-m', '4', '-n', '50'],
  tcp: ['-t', '-m', '4', '-n', '50'],
  tls: ['-t', '-S', '-m', '2', '-n', '10', '-z', '250'],
};
const WAYS = { channels: [], send: ['-s'] };
const FAMILIES = {
  'IPv4': { server: '127.0.0.1', peer: '127.0.0.1', flags: [] },
  'IPv6 relay': { server: '127.0.0.1', peer: '::1', flags: ['-x'] },
  'IPv6': { server: '::1', peer: '::1', flags: ['-x'] },
};

for (const auth of ['user', 'secret']) {
  describe(`turnutils_uclient, ${auth}`, { concurrency: 8 }, () => {
    let lab;
    let host;
    let server;

    before(async () => {
      lab = new Lab();
      host = lab.namespace('host');
      server = await startServer({
        namespace: host,
        lab,
        listen: ['127.0.0.1', '::1'],
        listenTls: ['127.0.0.1', '::1'],
        selfSigned: true,
        secret: SERVER === 'coturn' && auth === 'user' ? undefined : SECRET,
        relayAddresses: ['127.0.0.1', '::1'],
        allowPeers: ['127.0.0.0/8', '::1/128'],
        flags: ['--unauthenticated-rate', '0', '--max-allocations-per-user', '0'],
      });
      await Promise.all(['127.0.0.1', '::1'].map((address) => echoPeer(host, address)));
    });

    after(() => lab?.close());

    async function call(transport, family, flags) {
      const { server: address, peer, flags: familyFlags } = FAMILIES[family];
      const credentials = auth === 'user' ? ['-u', USER, '-w', PASSWORD] : ['-u', USER, '-W', SECRET];
      const port = server.port(transport, address);
      const toPeer = flags.includes('-y') ? [] : ['-e', peer];
      const args = ['-p', `${port}`, ...credentials, ...TRANSPORTS[transport], ...familyFlags, ...toPeer, ...flags, address];
      const client = host.spawn('turnutils_uclient', args, { name: 'uclient' });
      const status = await withLimit(client.exited, CALL_LIMIT, () => `turnutils_uclient ${args.join(' ')}\n${client.tail()}`);
      const shown = `turnutils_uclient ${args.join(' ')}\n${client.tail(20)}\n--- server\n${server.child.tail(15)}`;
      assert.deepEqual(status, { code: 0, signal: null }, shown);
      assert.deepEqual(outcome(client.lines), { lost: 0, sendDropped: 0, complete: true }, shown);
    }

    for (const transport of Object.keys(TRANSPORTS)) {
      for (const way of Object.keys(WAYS)) {
        const families = auth === 'user' ? Object.keys(FAMILIES) : ['IPv4', 'IPv6'];
        for (const family of families) {
          test(`relays over ${transport} with ${way}, ${family}`, () => call(transport, family, WAYS[way]));
        }
      }
      test(`relays from client to client over ${transport}`, () => call(transport, 'IPv4', ['-y']));
      test(`relays from client to client over ${transport} with send`, () => call(transport, 'IPv4', ['-y', '-s']));
    }
    test('relays from client to client over udp, IPv6', () => call('udp', 'IPv6', ['-y']));
  });
}

async function echoPeer(host, address) {
  const peer = host.spawn('turnutils_peer', ['-L', address, '-p', '3480'], { name: 'peer' });
  // It says nothing once it is bound, so the kernel is asked.
  const bound = () => host.run('ss', ['-Hlun', `sport = :3480`]).includes(address);
  await withLimit(
    (async () => {
      while (!bound()) {
        if (peer.status) throw new Error(`turnutils_peer ended: ${peer.tail()}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })(),
    5000,
    `turnutils_peer on ${address}`,
  );
}
