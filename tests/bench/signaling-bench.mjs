// What the signaling benches share: the servers, each on the first core, and the load on the second.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, run } from '../lab/proc.mjs';
import { cleanEnv, turnpikeBinary } from '../lab/server.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
const peers = join(root, 'tests/bench/peers');
const START_LIMIT = 20_000;
const UNLIMITED = ['--signal-rate=0', '--signal-rate-per-ip=0', '--signal-bytes=0', '--max-connections-per-ip=0'];

// Before the network is our own: packages come from outside.
export function build() {
  run('npm', ['ci'], { cwd: peers });
  const examples = ['--example', 'bare_relay', '--example', 'signal_load'];
  run('cargo', ['build', '--locked', '--release', '--quiet', ...examples], { cwd: root, stdio: 'inherit' });
}

function example(name) {
  return join(target, 'release/examples', name);
}

function pinned(core, name, command, options) {
  return new Child(name, 'taskset', ['-c', `${core}`, ...command], options);
}

// Starts the server that speaks a dialect; `address` is where, `trust` the certificate of TLS.
export async function serve(lab, dialect, { tls = false } = {}) {
  const state = lab.tempDir('state');
  const commands = {
    turnpike: [
      turnpikeBinary(), 'serve', '--state-dir', state, '--listen=127.0.0.1:0', '--http=127.0.0.1:0', '--relay-address=127.0.0.1',
      '--signal-auth=open', ...UNLIMITED, ...(tls ? ['--https=127.0.0.1:0', '--listen-tls=127.0.0.1:0', '--tls-self-signed'] : []),
    ],
    'socket.io': [process.execPath, join(peers, 'socketio.mjs')],
    'socket.io-ack': [process.execPath, join(peers, 'socketio.mjs')],
    peer: [process.execPath, join(peers, 'peer.mjs')],
    bare: [example('bare_relay')],
    'bare-answer': [example('bare_relay'), '--answer'],
  };
  const child = lab.adopt(pinned(0, dialect, commands[dialect], { env: cleanEnv() }));
  const listening = (lines) => {
    const wanted = dialect !== 'turnpike' ? /listening (127\.0\.0\.1:\d+)/ : tls ? /listening https (127\.0\.0\.1:\d+)/ : /listening http (127\.0\.0\.1:\d+)/;
    return lines.map((line) => wanted.exec(line.replace(/\x1b\[[0-9;]*m/g, ''))?.[1]).find(Boolean);
  };
  const address = await child.until(listening, START_LIMIT, 'not listening');
  return { child, pid: child.pid, address, trust: tls ? join(state, 'self-signed.pem') : undefined };
}

export function load(lab, mode, server, dialect, options) {
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const command = [example('signal_load'), mode, '--server', server.address, '--pid', `${server.pid}`, '--dialect', dialect, ...words];
  return lab.adopt(pinned(1, `${mode} ${dialect}`, command));
}
