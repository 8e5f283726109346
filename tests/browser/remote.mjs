// Runs inside a client's namespace: one browser, whose tabs do what JSON lines on standard input say.
//   {"id":1,"tab":0,"call":"evaluate","args":["1+1"]} -> {"id":1,"result":2} | {"id":1,"error":"…"};  {"event":…} by itself
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { launch } from './launch.mjs';

const { kind, ...settings } = JSON.parse(process.argv[2]);
const browser = await launch(kind, settings);
const tabs = [];

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const calls = {
  async open(_, { url, width = 1280, height = 800, features }) {
    const page = await browser.newPage();
    const tab = tabs.push(page) - 1;
    page.on('console', (message) => say({ event: { tab, console: message.text() } }));
    page.on('pageerror', (error) => say({ event: { tab, pageError: String(error) } }));
    await page.setViewport({ width, height, isMobile: kind === 'chromium' && width < 600, hasTouch: kind === 'chromium' && width < 600 });
    if (features) await page.emulateMediaFeatures(features);
    await page.goto(url);
    return tab;
  },
  // Serves one page with one script to this browser alone.
  async serve(_, script) {
    const bodies = { '/': ['text/html', '<!doctype html><title>page</title><script type="module" src="/script.js"></script>'], '/script.js': ['text/javascript', script] };
    const server = createServer(({ url }, response) => {
      const [type, body] = bodies[url] ?? ['text/plain', ''];
      response.writeHead(bodies[url] ? 200 : 404, { 'content-type': type });
      response.end(body);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://localhost:${server.address().port}/`;
  },
  evaluate: (page, source) => page.evaluate(source),
  click: (page, selector) => page.click(selector),
  type: (page, selector, text) => page.type(selector, text),
  keys: (page, text) => page.keyboard.type(text),
  press: (page, key) => page.keyboard.press(key),
  front: (page) => page.bringToFront(),
  offline: (page, on) => page.setOfflineMode(on),
  shot: (page, path) => page.screenshot({ path }).then(() => null),
};

let closing = false;
async function close() {
  if (closing) return;
  closing = true;
  await browser.close();
  process.exit(0);
}
process.on('SIGTERM', close);

say({ event: { ready: await browser.version() } });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, tab, call, args } = JSON.parse(line);
  calls[call](tabs[tab], ...args)
    .then((result) => say({ id, result: result ?? null }))
    .catch((error) => say({ id, error: String(error) }));
}
await close();
