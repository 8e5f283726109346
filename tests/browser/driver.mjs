// Runs inside a client's namespace: one browser with one page, told what to do in JSON lines on standard input.
//   {"id":1,"call":"offer","args":[]} -> {"id":1,"result":…} | {"id":1,"error":"…"};  {"event":…} by itself
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { launch } from './launch.mjs';

const { browser: kind, family, dir, ca } = JSON.parse(process.argv[2]);

const FILES = { '/': ['page.html', 'text/html'], '/page.js': ['page.js', 'text/javascript'] };

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

const browser = await launch(kind, { dir, ca });
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
