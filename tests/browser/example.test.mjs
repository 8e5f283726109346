// The example of the README, as it is printed, in two browsers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startServer } from '../lab/server.mjs';
import { Browser } from './tab.mjs';

const LIMIT = { timeout: 180_000 };

function example(file) {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  return /<!-- run as it stands by [^>]* -->\n```js\n(.*?)```\n/s.exec(text)[1];
}

test('the example of the README makes a video call', LIMIT, async (t) => {
  const script = example('README.md');
  assert.ok(script.trim().split('\n').length <= 20);
  assert.equal(example('web/README.md'), script);
  const lab = new Lab({ host: 'turn.example.org' });
  t.after(() => lab.close());
  const certificate = lab.certificates();
  const host = lab.server();
  await startServer({
    namespace: host,
    lab,
    certificate,
    relayAddresses: [host.v4],
    allowPeers: [`${lab.v4}.0/24`],
    flags: ['--http', 'off', '--https', `${host.v4}:443`, '--signal-auth', 'open', '--allow-origin', '*'],
  });
  const browsers = ['chromium', 'firefox'].map((kind, index) => new Browser(lab, kind, { namespace: lab.client('ab'[index], 20 + index), ca: certificate.ca }));
  await Promise.all(browsers.map(({ ready }) => ready));
  const tabs = await Promise.all(browsers.map(async (browser) => browser.open(await browser.serve(script))));
  const plays = () => {
    const videos = [...document.querySelectorAll('video')];
    return videos.length === 1 && videos[0].videoWidth > 0 && videos[0].currentTime > 0.5;
  };
  for (const tab of tabs) await tab.until(plays);
  await tabs[1].run(() => location.replace('about:blank'));
  await tabs[0].until(() => document.querySelectorAll('video').length === 0);
  await Promise.all(browsers.map((browser) => browser.close()));
});
