// Resident memory and CPU of idle WebSockets, plain and with TLS, beside other servers. Fails where that is too much.
//   node tests/bench/signaling-memory.mjs   (SIGNALING_IDLE_SECONDS)
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { Lab } from '../lab/lab.mjs';
import { inOwnNetwork, limit, mib, rss, verdict } from './bench.mjs';
import { build, load, serve } from './signaling-bench.mjs';

const SECONDS = Number(process.env.SIGNALING_IDLE_SECONDS ?? 60);
const MOST = { plain: 10_000, tls: 20_000 };
const OPEN_LIMIT = 300_000;

if (!process.env.BENCH_INSIDE) build();
inOwnNetwork();

function cpuSeconds(pid) {
  const run = (task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return readdirSync(`/proc/${pid}/task`).map(run).reduce((sum, one) => sum + one, 0) / 1e9;
}

async function measure(dialect, connections, { tls = false, rooms = false } = {}) {
  const lab = new Lab();
  try {
    const server = await serve(lab, dialect, { tls });
    const idle = rss(server.pid);
    const options = { connections, ...(tls ? { trust: server.trust } : {}), ...(rooms ? { rooms: 1 } : {}) };
    const child = load(lab, 'idle', server, dialect, options);
    await child.until((lines) => lines.some((line) => line.startsWith('{"open"')), OPEN_LIMIT, 'not all are open');
    const begun = cpuSeconds(server.pid);
    await pause(SECONDS * 1000);
    const core = ((cpuSeconds(server.pid) - begun) / SECONDS) * 100;
    const each = Math.round((rss(server.pid) - idle) / connections);
    child.process.stdin.end();
    const lost = await child.until((lines) => lines.find((line) => line.startsWith('{"lost"')), OPEN_LIMIT, 'no end');
    if (JSON.parse(lost).lost > 0) throw new Error(`${dialect}: ${lost} of ${connections}`);
    const name = `${dialect}${tls ? ' with TLS' : ''}${rooms ? ' in rooms of two' : ''}, ${connections} connections`;
    console.log(`${name}: RSS idle ${mib(idle)}, ${each} bytes each, ${core.toFixed(2)} % of a core over ${SECONDS} s`);
    if (dialect !== 'turnpike') return;
    if (!rooms) limit(each <= (tls ? MOST.tls : MOST.plain), `${name}: at most ${tls ? MOST.tls : MOST.plain} bytes each`);
    // With TLS every ping costs more; that is only told.
    if (connections <= 10_000 && !tls) limit(core < 2, `${name}: under 2 % of a core`);
  } finally {
    await lab.close();
  }
}

await measure('turnpike', 10_000);
await measure('turnpike', 18_000);
await measure('turnpike', 10_000, { tls: true });
await measure('turnpike', 18_000, { tls: true });
await measure('turnpike', 10_000, { rooms: true });
for (const dialect of ['bare-answer', 'socket.io', 'peer']) await measure(dialect, 10_000);
verdict();
