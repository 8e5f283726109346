// Runs inside a client's namespace: one browser with one page, told what to do in JSON lines on standard input.
//   {"id":1,"call":"offer","args":[]} -> {"id":1,"result":…} | {"id":1,"error":"…"};  {"event":…} by itself
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const { browser: kind, family, dir, ca } = JSON.parse(process.argv[2]);

const FILES = { '/': ['page.html', 'text/html'], '/page.js': ['page.js', 'text/javascript'] };

const LAUNCH = { chromium: launchChromium, firefox: launchFirefox };

function trust(database) {
  mkdirSync(database, { recursive: true });
  execFileSync('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
  execFileSync('certutil', ['-A', '-d', `sql:${database}`, '-n', 'lab', '-t', 'C,,', '-i', ca]);
}

function launchChromium() {
  trust(join(dir, '.pki/nssdb'));
  return puppeteer.launch({
    browser: 'chrome',
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    pipe: true,
    userDataDir: join(dir, 'profile'),
    env: { ...process.env, HOME: dir, XDG_CONFIG_HOME: join(dir, '.config'), XDG_CACHE_HOME: join(dir, '.cache') },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-default-apps',
      '--disable-extensions',
      '--disable-domain-reliability',
      '--no-pings',
      '--autoplay-policy=no-user-gesture-required',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
    ],
  });
}

function launchFirefox() {
  const profile = join(dir, 'profile');
  trust(profile);
  return puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    userDataDir: profile,
    env: { ...process.env, HOME: dir, MOZ_DISABLE_CONTENT_SANDBOX: '1', MOZ_CRASHREPORTER_DISABLE: '1' },
    extraPrefsFirefox: {
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.gmp-manager.updateEnabled': false,
      'media.gmp-gmpopenh264.enabled': false,
      'app.normandy.enabled': false,
      'app.update.enabled': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'security.enterprise_roots.enabled': false,
    },
  });
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const server = createServer((request, response) => {
  const [file, type] = FILES[request.url] ?? [];
  response.writeHead(file ? 200 : 404, { 'content-type': type ?? 'text/plain' });
  response.end(file ? readFileSync(new URL(file, import.meta.url)) : '');
});
// Firefox gathers in the address family that the page came over.
const host = family === 6 ? '::1' : '127.0.0.1';
await new Promise((resolve) => server.listen(0, host, resolve));

const browser = await LAUNCH[kind]();
const page = (await browser.pages())[0] ?? (await browser.newPage());
page.on('console', (message) => say({ event: { console: message.text() } }));
page.on('pageerror', (error) => say({ event: { pageError: String(error) } }));
await page.goto(`http://${family === 6 ? '[::1]' : 'localhost'}:${server.address().port}/`);
say({ event: { ready: await browser.version() } });

let closing = false;
async function close() {
  if (closing) return;
  closing = true;
  await browser.close();
  process.exit(0);
}
process.on('SIGTERM', close);

(async () => {
  while (!closing) for (const event of await page.evaluate(() => window.lab.next())) say({ event });
})().catch((error) => closing || say({ event: { pageError: String(error) } }));

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, args } = JSON.parse(line);
  page
    .evaluate((name, rest) => window.lab[name](...rest), call, args)
    .then((result) => say({ id, result: result ?? null }))
    .catch((error) => say({ id, error: String(error) }));
}
await close();
