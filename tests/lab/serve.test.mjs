// `turnpike serve` with no other set-up: what it prints for a page to use is used here.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab } from './lab.mjs';
import { withLimit } from './proc.mjs';
import { cleanEnv, parseListening, SERVER, turnpikeBinary } from './server.mjs';
import { outcome } from './uclient.mjs';

const LIMIT = 60_000;
const COTURN = SERVER === 'coturn' && 'coturn prints no iceServers';

test('a server started with no flags prints iceServers that work', { timeout: 2 * LIMIT, skip: COTURN }, async (t) => {
  const lab = new Lab({ v4: '9.9.0', v6: '2600:9:0:1' });
  t.after(() => lab.close());
  const host = lab.server();
  const client = lab.publicHost('client', 30);
  // On a terminal, where a person would see it; with an empty home, as on a fresh machine.
  const home = lab.tempDir('home');
  const env = { ...cleanEnv(), HOME: home, XDG_STATE_HOME: home, STATE_DIRECTORY: home };
  const terminal = host.spawn('script', ['-qefc', `'${turnpikeBinary()}' serve`, '/dev/null'], { name: 'turnpike', env });
  const iceServers = await terminal.until(printedIceServers, LIMIT, 'no iceServers');
  const [{ urls, username, credential }] = iceServers;
  assert.ok(terminal.lines.flatMap(parseListening).length > 0, terminal.tail());

  for (const [transport, flags] of [['udp', []], ['tcp', ['-t']]]) {
    const url = urls.find((one) => one.startsWith('turn:') && one.endsWith(`?transport=${transport}`));
    const [, address, port = '3478'] = /^turn:([\d.]+)(?::(\d+))?\?/.exec(url) ?? [];
    assert.equal(address, host.v4, url);
    const args = ['-y', '-m', '2', '-n', '25', '-u', username, '-w', credential, '-p', port, ...flags, address];
    const uclient = client.spawn('turnutils_uclient', args, { name: 'uclient' });
    const status = await withLimit(uclient.exited, LIMIT, () => uclient.tail());
    const shown = `turnutils_uclient ${args.join(' ')}\n${uclient.tail(20)}\n--- server\n${terminal.tail(15)}`;
    assert.deepEqual(status, { code: 0, signal: null }, shown);
    assert.deepEqual(outcome(uclient.lines), { lost: 0, sendDropped: 0, complete: true }, shown);
  }
});

test('a change of addresses without a free descriptor ends no call', { timeout: LIMIT, skip: COTURN }, async (t) => {
  const lab = new Lab({ v4: '9.9.0', v6: '2600:9:0:1' });
  t.after(() => lab.close());
  const host = lab.server();
  const client = lab.publicHost('client', 30);
  const home = lab.tempDir('home');
  const serve = `ulimit -n 64; exec '${turnpikeBinary()}' serve --workers 1`;
  const daemon = host.spawn('sh', ['-c', serve], { name: 'turnpike', env: { ...cleanEnv(), XDG_STATE_HOME: home, STATE_DIRECTORY: home } });
  lab.adoptServer(daemon);
  await daemon.until((lines) => lines.some((line) => / ready$/.test(line)), LIMIT, 'not ready');
  const idle = `for i in $(seq 80); do exec {fd}<>/dev/tcp/${host.v4}/3478; done; echo open; sleep 30`;
  const crowd = client.spawn('bash', ['-c', idle], { name: 'crowd' });
  await crowd.until((lines) => lines.includes('open'), LIMIT, 'the crowd did not connect');
  await daemon.until((lines) => lines.some((line) => line.includes('no connection can be accepted')), LIMIT, 'there are descriptors left');
  host.ip('addr add 9.9.0.200/24 dev eth0');
  await daemon.until((lines) => lines.some((line) => line.includes('addresses of this host cannot be read')), LIMIT, 'no trouble');
  await crowd.stop();
  await daemon.until((lines) => lines.some((line) => line.includes('addresses of this host changed')), LIMIT, 'not read again');
});

// The JSON object at the end of the banner.
function printedIceServers(lines) {
  const text = lines.join('\n');
  const start = text.search(/^\{\s*"iceServers"/m);
  const end = text.indexOf('\n}', start);
  if (start < 0 || end < 0) return undefined;
  return JSON.parse(text.slice(start, end + 2)).iceServers;
}
