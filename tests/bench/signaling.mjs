// CPU per relayed signal, signals a second and latency, side by side with Socket.IO, `peer` and a bare relay on our
// WebSocket library. Fails where we cost too much more than the bare relay that answers, or are too near to Socket.IO.
// At saturation each member has SIGNALING_WINDOW signals on their way.
//   node tests/bench/signaling.mjs   (SIGNALING_PAIRS, SIGNALING_WINDOW, SIGNALING_ROUNDS, SIGNALING_DIALECTS)
import { Lab } from '../lab/lab.mjs';
import { inOwnNetwork, limit, verdict } from './bench.mjs';
import { build, load, serve } from './signaling-bench.mjs';

const PAIRS = Number(process.env.SIGNALING_PAIRS ?? 500);
const WINDOW = Number(process.env.SIGNALING_WINDOW ?? 1);
const ROUNDS = Number(process.env.SIGNALING_ROUNDS ?? 3);
const DIALECTS = process.env.SIGNALING_DIALECTS?.split(',') ?? ['bare', 'turnpike', 'bare-answer', 'peer', 'socket.io', 'socket.io-ack'];
const FIRST_LINE = 600_000;

if (!process.env.BENCH_INSIDE) build();
inOwnNetwork();

async function measure(dialect) {
  const lab = new Lab();
  try {
    const server = await serve(lab, dialect);
    const child = load(lab, 'rate', server, dialect, { pairs: PAIRS, window: WINDOW });
    const found = (name) => child.until((lines) => lines.find((line) => line.includes(`"load":"${name}"`)), FIRST_LINE, `no ${name}`);
    const [full, half] = [JSON.parse(await found('saturated')), JSON.parse(await found('half'))];
    await child.exited;
    return { full, half };
  } finally {
    await lab.close();
  }
}

// In turns, so that a slow minute of the machine is everybody's.
const results = Object.fromEntries(DIALECTS.map((dialect) => [dialect, []]));
for (let round = 1; round <= ROUNDS; round += 1) {
  for (const dialect of DIALECTS) {
    const { full, half } = await measure(dialect);
    results[dialect].push({ full, half });
    console.log(
      `round ${round} ${dialect}: ${full.cpuMicros} us of CPU a signal at ${full.rate}/s (${full.busyPercent} % busy, p99 ${full.p99Micros} us); ` +
        `at ${half.rate}/s ${half.cpuMicros} us, p50 ${half.p50Micros}, p99 ${half.p99Micros} us; generator late ${half.generatorLateMicros} us`,
    );
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

for (const dialect of DIALECTS) {
  const costs = results[dialect].map(({ full }) => full.cpuMicros);
  console.log(`${dialect}: ${median(costs).toFixed(1)} us, the median of ${ROUNDS}`);
}
// Of one round each, since rounds differ more than servers do.
const times = (one, other) => median(results[one].map(({ full }, round) => full.cpuMicros / results[other][round].full.cpuMicros));
if (['turnpike', 'bare-answer', 'socket.io-ack'].every((dialect) => results[dialect])) {
  const bare = times('turnpike', 'bare-answer');
  const socketIo = times('socket.io-ack', 'turnpike');
  console.log(`turnpike costs ${bare.toFixed(2)} x the bare relay with an answer; Socket.IO with acknowledgements ${socketIo.toFixed(2)} x turnpike`);
  limit(bare <= 1.3, 'at most 1.3 x the bare relay with an answer');
  limit(socketIo >= 2.5, 'Socket.IO with acknowledgements costs at least 2.5 x');
}
verdict();
