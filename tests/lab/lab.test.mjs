// The lab itself: what it reads from a log, and that it leaves nothing behind.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Agent } from './agent.mjs';
import { Lab } from './lab.mjs';
import { Child, withLimit } from './proc.mjs';
import { parseListening } from './server.mjs';
import { ATTRIBUTE, decode, encode, METHOD, readXorAddress, xorAddress } from './stun.mjs';

const LIMIT = 20_000;

test('a listening line names protocols, host and port', () => {
  assert.deepEqual(parseListening('listening udp 127.0.0.1:4000'), [{ protocol: 'udp', host: '127.0.0.1', port: 4000 }]);
  assert.deepEqual(parseListening('  listening on  [::]:3478 (UDP, TCP)'), [
    { protocol: 'udp', host: '::', port: 3478 },
    { protocol: 'tcp', host: '::', port: 3478 },
  ]);
  assert.deepEqual(parseListening('\x1b[32mINFO\x1b[0m listening protocol="tls" address=[::1]:9'), [{ protocol: 'tls', host: '::1', port: 9 }]);
  assert.deepEqual(parseListening('relay address 127.0.0.1:4000'), []);
});

test('addresses survive the XOR, and a message its encoding', () => {
  const id = Buffer.from('0123456789ab');
  for (const address of ['192.0.2.1', '2001:db8::1', '64:ff9b::7f00:1', '::ffff:7f00:1']) {
    assert.deepEqual(readXorAddress(xorAddress({ address, port: 32853 }, id), id), { address, port: 32853 });
  }
  const message = decode(encode({ method: METHOD.channelBind, id, attributes: [[ATTRIBUTE.realm, Buffer.from('lab')]], key: Buffer.from('key') }));
  assert.equal(message.method, METHOD.channelBind);
  assert.equal(message.attributes.get(ATTRIBUTE.realm).toString(), 'lab');
  assert.equal(message.attributes.get(ATTRIBUTE.messageIntegrity).length, 20);
});

// What each kind of NAT does, seen from two public hosts.
for (const [kind, mappings] of Object.entries({ symmetric: 2, cone: 1 })) {
  test(`a ${kind} NAT has ${mappings} mapping(s) for two peers and lets in only who was spoken to`, async (t) => {
    const lab = new Lab();
    t.after(() => lab.close());
    const hosts = [lab.publicHost('one', 11), lab.publicHost('two', 12)];
    const client = lab.client('a', 20, { kind });
    const [one, two] = await Promise.all(hosts.map((host) => new Agent(host).socket({ address: host.v4, port: 7000 })));
    const other = await new Agent(hosts[1]).socket({ address: hosts[1].v4, port: 7001 });
    const inside = await new Agent(client).socket({ address: '0.0.0.0' });
    const arrives = (socket, text) => withLimit(socket.until(({ bytes }) => bytes.toString() === text), LIMIT, text);

    inside.send(Buffer.from('to one'), { address: hosts[0].v4, port: 7000 });
    const first = (await arrives(one, 'to one')).from;
    // Unsolicited, before the client speaks to them: it must not take their place in the table.
    two.send(Buffer.from('too early'), first);
    const refused = async () => {
      while (client.nat.counter('inet nat', 'unsolicited').packets === 0) await setImmediate();
    };
    await withLimit(refused(), LIMIT, 'the unsolicited packet at the NAT');
    inside.send(Buffer.from('to two'), { address: hosts[1].v4, port: 7000 });
    const second = (await arrives(two, 'to two')).from;
    assert.equal(new Set([first.port, second.port]).size, mappings);

    other.send(Buffer.from('stranger'), first);
    two.send(Buffer.from('known'), second);
    await arrives(inside, 'known');
    one.send(Buffer.from('known too'), first);
    await arrives(inside, 'known too');
    const got = inside.got.map(({ bytes }) => bytes.toString());
    assert.deepEqual(got, ['known', 'known too']);
  });
}

test('with UDP blocked, TCP still passes', async (t) => {
  const lab = new Lab();
  t.after(() => lab.close());
  const host = lab.publicHost('one', 11);
  const client = lab.client('a', 20, { blockUdp: true });
  const listener = host.spawn(process.execPath, ['-e', `
    const socket = require('node:dgram').createSocket('udp4').on('message', (m) => console.log('got', String(m)));
    socket.bind(7000, () => require('node:net').createServer((c) => c.end('tcp')).listen(7000, () => console.log('ready')));
  `]);
  await listener.until((lines) => lines.includes('ready'), LIMIT, 'no listener');
  const output = client.run(process.execPath, ['-e', `
    require('node:dgram').createSocket('udp4').send('blocked', 7000, '${host.v4}', () => {
      require('node:net').connect(7000, '${host.v4}').on('data', (d) => { console.log(String(d)); process.exit(0); });
    });
  `], { timeout: LIMIT });
  assert.equal(output.trim(), 'tcp');
  assert.equal(listener.lines.includes('got blocked'), false);
});

test('an interrupted lab leaves no namespace and no process', async () => {
  const script = `
    const { Lab } = await import(${JSON.stringify(new URL('lab.mjs', import.meta.url).href)});
    const lab = new Lab();
    const sleeper = lab.publicHost('one', 11).spawn('sleep', ['1000']);
    console.log(JSON.stringify({ prefix: lab.prefix, dir: lab.dir, pid: sleeper.pid }));
    setInterval(() => {}, 1000);
  `;
  const child = new Child('interrupted lab', process.execPath, ['--input-type=module', '-e', script]);
  const { prefix, dir, pid } = JSON.parse(await child.until((lines) => lines.find((line) => line.startsWith('{')), LIMIT, 'no lab'));
  assert.ok(readdirSync('/run/netns').some((name) => name.startsWith(prefix)));
  assert.deepEqual(await child.stop('SIGINT', LIMIT), { code: 130, signal: null });
  for (const place of ['/run/netns', '/etc/netns']) {
    assert.equal(readdirSync(place).some((name) => name.startsWith(prefix)), false, place);
  }
  assert.equal(existsSync(dir), false);
  assert.ok(['gone', 'Z'].includes(state(pid)), state(pid));
});

// A zombie only waits for init to take note of its end.
function state(pid) {
  try {
    return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))[1];
  } catch {
    return 'gone';
  }
}
