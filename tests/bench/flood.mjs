// A relayed stream beside a flood of requests that nobody may ask: what is lost, and who lost it. Fails where that is
// too much.
//   node tests/bench/flood.mjs   (FLOOD_RATE, FLOOD_SECONDS, STREAM_RATE, FLOOD_MOST_LOST in percent)
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Lab } from '../lab/lab.mjs';
import { Child, run } from '../lab/proc.mjs';
import { SERVER, startServer } from '../lab/server.mjs';
import { bound, fine, inOwnNetwork, limit, mib, rss, turnClient, udpDrops, verdict } from './bench.mjs';

inOwnNetwork();

const RATE = Number(process.env.FLOOD_RATE ?? 50_000);
const SECONDS = Number(process.env.FLOOD_SECONDS ?? 10);
const STREAM_RATE = Number(process.env.STREAM_RATE ?? 1_000);
const CHANNEL = 0x4000;
const MOST_LOST = Number(process.env.FLOOD_MOST_LOST ?? 1);
const MIB = 1024 * 1024;

const root = fileURLToPath(new URL('../..', import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');

function generator() {
  if (process.env.FLOOD_BIN) return process.env.FLOOD_BIN;
  run('cargo', ['build', '--locked', '--release', '--quiet', '--example', 'flood'], { cwd: root, stdio: 'inherit' });
  return join(target, 'release/examples/flood');
}

const lab = new Lab();
try {
  const flood = generator();
  const server = await startServer({
    lab,
    listen: ['127.0.0.1'],
    relayAddresses: ['127.0.0.1'],
    allowPeers: ['127.0.0.0/8'],
    coturnVerbose: false,
  });
  const port = server.port('udp');

  // The allocation belongs to the 5-tuple: the generator takes the port over.
  const peer = await bound();
  const peerPort = peer.address().port;
  const { socket, turn } = await turnClient(port);
  fine(await turn.allocate({ lifetime: 600 }), 'Allocate');
  fine(await turn.channelBind(CHANNEL, { address: '127.0.0.1', port: peerPort }), 'ChannelBind');
  const client = socket.address();
  await Promise.all([peer, socket].map((one) => new Promise((resolve) => one.close(resolve))));

  const stream = (seconds) =>
    lab.adopt(
      new Child('stream', flood, [
        'stream', '--server', `127.0.0.1:${port}`, '--client', `${client.address}:${client.port}`, '--peer', `127.0.0.1:${peerPort}`,
        '--channel', `${CHANNEL}`, '--rate', `${STREAM_RATE}`, '--seconds', `${seconds}`,
      ]),
    );
  const result = async (child) => {
    const status = await child.exited;
    if (status.code !== 0) throw new Error(`${child.name}: ${JSON.stringify(status)}\n${child.tail()}`);
    return JSON.parse(child.lines.at(-1));
  };
  const dropsNow = () => {
    const sum = { listener: 0, relay: 0 };
    for (const { port: at, drops } of udpDrops(server.pid)) sum[at === port ? 'listener' : 'relay'] += drops;
    return sum;
  };

  console.log(`server: ${SERVER}; flood ${RATE}/s for ${SECONDS} s, stream ${STREAM_RATE}/s each way`);
  const alone = await result(stream(2));
  console.log(`stream alone: ${JSON.stringify(alone)}`);

  const dropsBefore = dropsNow();
  const memory = [rss(server.pid)];
  const watch = setInterval(() => memory.push(rss(server.pid)), 1000);
  const [beside, requests] = await Promise.all([
    result(stream(SECONDS)),
    result(lab.adopt(new Child('flood', flood, ['requests', '--server', `127.0.0.1:${port}`, '--rate', `${RATE}`, '--seconds', `${SECONDS}`]))),
  ]);
  clearInterval(watch);
  memory.push(rss(server.pid));
  const dropsAfter = dropsNow();
  const dropped = { listener: dropsAfter.listener - dropsBefore.listener, relay: dropsAfter.relay - dropsBefore.relay };

  console.log(`stream beside the flood: ${JSON.stringify(beside)}`);
  console.log(`flood: ${JSON.stringify(requests)}`);
  console.log(`dropped by the kernel on the server's sockets: listeners ${dropped.listener}, relay ${dropped.relay}`);
  console.log(`RSS each second: ${memory.map(mib).join(', ')}`);

  const out = beside.sent - beside.atPeer;
  const home = beside.atPeer - beside.echoErrors - beside.back;
  const kernelOut = dropped.listener + beside.peerDrops;
  const kernelHome = dropped.relay + beside.clientDrops;
  const percent = (part) => `${((100 * part) / beside.sent).toFixed(3)} %`;
  console.log(`lost client to peer: ${out} (${percent(out)}); the kernel can answer for ${kernelOut}`);
  console.log(`lost peer to client: ${home} (${percent(home)}); the kernel can answer for ${kernelHome}`);
  // Listener drops hit stream and flood alike, so they are set against what both lost there.
  const unanswered = requests.sent - requests.answered - requests.ownDrops;
  const lost = unanswered + out - beside.peerDrops;
  console.log(`flood and stream lost together at the listeners: ${lost}, of which the kernel dropped ${dropped.listener}; the rest was refused or lost by the server`);
  const ours = Math.max(0, out - kernelOut) + Math.max(0, home - kernelHome);
  console.log(`stream packets that no kernel drop explains: ${ours}`);

  limit(Math.max(out, home) / beside.sent < MOST_LOST / 100, `less than ${MOST_LOST} % of the stream lost each way`);
  limit(ours === 0, 'no stream packet lost that no kernel drop explains');
  limit(lost <= dropped.listener, 'nothing lost at the listeners, of flood and stream, that no kernel drop explains');
  limit(Math.max(...memory) - memory[0] < 8 * MIB, 'RSS less than 8 MiB higher during the flood');
  const half = memory.slice(memory.length >> 1);
  limit(Math.max(...half) - half[0] < MIB, 'RSS less than 1 MiB higher in the second half of the flood');
  verdict();
  await server.stop();
} finally {
  await lab.close();
}
