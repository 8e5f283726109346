// A page of its own with a credential from POST /v1/credentials: what happens when nobody renews it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startServer } from '../lab/server.mjs';
import { Browser, connect } from './call.mjs';
import { FULL, URLS } from './scenario.mjs';

const KEY = 'test-key-0123456789abcdef';
const TTL = 20;
const GRACE = 30;
const LIFETIME = 20;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function credential(host) {
  const script = `
    const answer = await fetch('http://127.0.0.1:8080/v1/credentials', {
      method: 'POST',
      headers: { authorization: 'Bearer ${KEY}', 'content-type': 'application/json' },
      body: JSON.stringify({ subject: 'page', ttl: ${TTL} }),
    });
    console.log(await answer.text());`;
  return JSON.parse(host.run(process.execPath, ['--input-type=module', '-e', script]));
}

function expiry(kinds) {
  test(`${kinds.join(' and ')}: a call with a credential that nobody renews lives until the grace is over`, { timeout: 240_000 }, async (t) => {
    const lab = new Lab();
    t.after(() => lab.close());
    const host = lab.server();
    const certificate = lab.certificates();
    const server = await startServer({
      namespace: host,
      lab,
      relayAddresses: [host.v4],
      allowPeers: [`${lab.v4}.0/24`],
      flags: [
        '--api-key', `mint@${KEY}`,
        '--expiry-grace', `${GRACE}s`, '--default-lifetime', `${LIFETIME}s`, '--max-lifetime', `${LIFETIME}s`, '--log-level', 'debug',
      ],
    });
    await server.httpPort();
    const browsers = kinds.map((kind, index) => new Browser(kind, lab.client('ab'[index], 20 + index), certificate.ca));
    await Promise.all(browsers.map(({ ready }) => ready));
    const { username, password } = credential(host);
    const expires = Number(username.split(':')[0]) * 1000;
    for (const [index, end] of browsers.entries()) {
      end.settings = {
        name: 'ab'[index],
        iceServers: [{ urls: URLS.udp(lab.hostName), username, credential: password }],
        iceTransportPolicy: 'relay',
      };
    }
    await connect(...browsers);
    assert.ok(Date.now() < expires, 'connected before the credential expired');
    let count = 0;
    let flowed = Date.now();
    while (Date.now() - flowed < 4000) {
      await pause(250);
      const { framesDecoded } = await browsers[0].call('stats');
      if (framesDecoded > count) flowed = Date.now();
      count = framesDecoded;
    }
    const lived = (flowed - expires) / 1000;
    t.diagnostic(`media until ${lived.toFixed(1)} s after expiry`);
    assert.ok(lived > GRACE - 1, `${lived} s`);
    assert.ok(lived < GRACE + LIFETIME + 3, `${lived} s`);
    assert.ok(server.child.lines.some((line) => line.includes('lease_ended')), server.child.tail(60));
    await Promise.all(browsers.map((end) => end.close()));
  });
}

if (FULL) expiry(['chromium', 'firefox']);
