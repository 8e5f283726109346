// What the benches share: a network of their own, the server's memory, and the kernel's drops.
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { TurnClient } from '../lab/stun.mjs';
import { PASSWORD, SERVER, USER } from '../lab/server.mjs';

// Runs the whole bench again with a loopback of its own: every port is free, and every counter is ours.
export function inOwnNetwork() {
  if (process.env.BENCH_INSIDE) return;
  const command = `ip link set lo up && sysctl -qw net.ipv4.ip_local_port_range='10000 48000' && exec "$@"`;
  const { status } = spawnSync('unshare', ['--net', 'sh', '-c', command, 'sh', process.execPath, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, BENCH_INSIDE: '1' },
  });
  process.exit(status ?? 1);
}

export function rss(pid) {
  return Number(/^Rss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) * 1024;
}

export function mib(bytes) {
  return `${(bytes / 1024 / 1024).toFixed(2)} MiB`;
}

// Drops by the kernel on each UDP socket of a process: [{ port, drops }].
export function udpDrops(pid) {
  const inodes = new Set();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (inode) inodes.add(inode[1]);
    } catch {}
  }
  return ['udp', 'udp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => inodes.has(fields[9]))
      .map((fields) => ({ port: parseInt(fields[1].split(':').at(-1), 16), drops: Number(fields.at(-1)) })),
  );
}

export async function bound(address = '127.0.0.1', port = 0) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  await new Promise((resolve, reject) => socket.once('error', reject).bind({ address, port, exclusive: true }, resolve));
  return socket;
}

let clients = 0;

// Each from an address of its own: a 5-tuple that comes again may still be somebody's.
export async function turnClient(serverPort) {
  clients += 1;
  const socket = await bound(`127.1.${(clients >> 8) & 255}.${clients & 255}`);
  const path = { send: (bytes) => socket.send(bytes, serverPort, '127.0.0.1') };
  socket.on('message', (bytes) => path.onMessage(bytes));
  return { socket, turn: new TurnClient(path, { username: USER, password: PASSWORD }) };
}

export function fine(answer, what) {
  if (answer.error) throw new Error(`${what}: ${answer.error}`);
  return answer;
}

export async function inParallel(total, width, work) {
  let next = 0;
  const lane = async () => {
    while (next < total) await work((next += 1));
  };
  await Promise.all(Array.from({ length: Math.min(width, total) }, lane));
}

let missed = 0;

// What turnpike has to keep; of another server it is only measured.
export function limit(holds, what) {
  if (SERVER !== 'turnpike') return;
  console.log(`${holds ? 'kept' : 'MISSED'}: ${what}`);
  if (!holds) missed += 1;
}

export function verdict() {
  if (missed > 0) process.exitCode = 1;
}
