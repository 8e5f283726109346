// What the daemon keeps after allocations are gone, and what each one holds. Fails where that is too much.
//   node tests/bench/memory.mjs   (MEMORY_MOST_HELD, bytes)
import { Lab } from '../lab/lab.mjs';
import { SERVER, startServer } from '../lab/server.mjs';
import { bound, fine, inOwnNetwork, inParallel, limit, mib, rss, turnClient, udpDrops, verdict } from './bench.mjs';

inOwnNetwork();

const FIRST = 1_000;
const ALL = 10_000;
const HELD = 10_000;
const WIDTH = 64;
const SHORT = 2;
const MOST_HELD = Number(process.env.MEMORY_MOST_HELD ?? 3072);
const MIB = 1024 * 1024;

const lab = new Lab();

function start(flags = []) {
  return startServer({
    lab,
    listen: ['127.0.0.1'],
    relayAddresses: ['127.0.0.1'],
    allowPeers: ['127.0.0.0/8'],
    coturnVerbose: false,
    flags: ['--unauthenticated-rate', '0', '--max-allocations-per-user', '0', '--max-allocations-per-ip', '0', ...flags],
  });
}

const echo = await bound();
echo.on('message', (bytes, { address, port }) => echo.send(bytes, port, address));
const peer = { address: '127.0.0.1', port: echo.address().port };

async function cycle(server, { end, lifetime }) {
  const { socket, turn } = await turnClient(server.port('udp'));
  fine(await turn.allocate({ lifetime }), 'Allocate');
  fine(await turn.createPermission(peer.address), 'CreatePermission');
  const back = new Promise((resolve) => (turn.onData = resolve));
  const again = setInterval(() => turn.send(peer, Buffer.from('again')), 500);
  turn.send(peer, Buffer.from('there and back'));
  await back;
  clearInterval(again);
  if (end) fine(await turn.refresh(0), 'Refresh');
  socket.close();
}

async function cycles(name, flags, options) {
  const server = await start(flags);
  const idle = rss(server.pid);
  await inParallel(FIRST, WIDTH, () => cycle(server, options));
  await allGone(server, options);
  const first = rss(server.pid);
  // In rounds as large as the first, so that no more are alive at once than then.
  for (let done = FIRST; done < ALL; done += FIRST) {
    await inParallel(FIRST, WIDTH, () => cycle(server, options));
    await allGone(server, options);
  }
  const all = rss(server.pid);
  console.log(`${name}: RSS idle ${mib(idle)}, after ${FIRST} cycles ${mib(first)}, after ${ALL} ${mib(all)} (${mib(all - first)} more)`);
  limit(all <= 1.1 * first + MIB, `${name}: at most 10 % and 1 MiB more after ${ALL} cycles than after ${FIRST}`);
  await server.stop();
}

// An allocation made now is the last to expire: the server gives its 5-tuple a new one once it has.
async function allGone(server, { end, lifetime }) {
  if (end) return;
  const { socket, turn } = await turnClient(server.port('udp'));
  const { port } = (fine(await turn.allocate({ lifetime }), 'Allocate'), turn.relayed);
  const limit = Date.now() + 60_000;
  for (;;) {
    if (Date.now() > limit) throw new Error(`an allocation of ${lifetime} s is still there after 60 s`);
    const answer = await turn.allocate({ lifetime });
    if (!answer.error && turn.relayed.port !== port) break;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  fine(await turn.refresh(0), 'Refresh');
  socket.close();
}

async function held() {
  const server = await start();
  // The first allocations pay for tables and code that stay.
  await inParallel(100, WIDTH, () => cycle(server, { end: true }));
  const idle = rss(server.pid);
  const sockets = [];
  await inParallel(HELD, WIDTH, async () => {
    const { socket, turn } = await turnClient(server.port('udp'));
    sockets.push(socket);
    fine(await turn.allocate({ lifetime: 3600 }), 'Allocate');
  });
  const full = rss(server.pid);
  const relays = udpDrops(server.pid).filter(({ port }) => port >= 49152).length;
  if (relays < HELD) throw new Error(`only ${relays} relay sockets for ${HELD} allocations`);
  const each = Math.round((full - idle) / HELD);
  console.log(`${HELD} held allocations: RSS idle ${mib(idle)}, held ${mib(full)}, ${each} bytes each (goal 2048)`);
  limit(each <= MOST_HELD, `at most ${MOST_HELD} bytes for each held allocation`);
  for (const socket of sockets) socket.close();
  await server.stop();
}

try {
  console.log(`server: ${SERVER}`);
  await cycles('ended by Refresh 0', [], { end: true });
  if (SERVER === 'coturn') console.log('expired: left out, coturn keeps every allocation for 600 s');
  else await cycles(`expired after ${SHORT} s`, ['--default-lifetime', `${SHORT}s`, '--max-lifetime', `${SHORT}s`], { end: false, lifetime: SHORT });
  await held();
  verdict();
} finally {
  echo.close();
  await lab.close();
}
