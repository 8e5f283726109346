// Starts the server under test in a namespace: turnpike, or coturn with LAB_SERVER=coturn to prove the lab itself.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, run } from './proc.mjs';

export const SERVER = process.env.LAB_SERVER ?? 'turnpike';
export const USER = 'alice';
export const PASSWORD = 'lab-password';
export const SECRET = 'lab-shared-secret-0123456789abcdef';
export const REALM = 'lab';

const START_LIMIT = 20_000;

export function turnpikeBinary() {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const path = resolve(process.env.TURNPIKE_BIN ?? join(target, 'release/turnpike'));
  if (!existsSync(path)) throw new Error(`no server at ${path}: build it, or set TURNPIKE_BIN or LAB_SERVER=coturn`);
  return path;
}

// `listening udp 127.0.0.1:3478` and `listening on [::]:3478 (UDP, TCP)`, however the log decorates them.
export function parseListening(line) {
  const plain = line.replace(/\x1b\[[0-9;]*m/g, '');
  const address = /(\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+):(\d+)/i.exec(plain);
  if (!address || !/\blistening\b/.test(plain)) return [];
  const protocols = plain.match(/\b(udp|tcp|dtls|tls|https|http|metrics)\b/gi) ?? [];
  const host = address[1].replace(/[[\]]/g, '');
  return protocols.map((protocol) => ({ protocol: protocol.toLowerCase(), host, port: Number(address[2]) }));
}

function isV6(host) {
  return host.includes(':');
}

// Without what would configure the server: its own variables, and the journal's.
export function cleanEnv() {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('TURNPIKE_') && name !== 'JOURNAL_STREAM');
  return { ...Object.fromEntries(kept), NO_COLOR: '1' };
}

export class Server {
  constructor(child, listeners, stateDir) {
    this.child = child;
    this.listeners = listeners;
    this.stateDir = stateDir;
  }

  get pid() {
    return this.child.pid;
  }

  port(protocol, host) {
    const fits = (listener) =>
      listener.protocol === protocol &&
      (host === undefined || listener.host === host || (listener.host === '::' || listener.host === '0.0.0.0'));
    const found = this.listeners.find(fits);
    if (!found) throw new Error(`no ${protocol} listener${host ? ` on ${host}` : ''}: ${JSON.stringify(this.listeners)}`);
    return found.port;
  }

  // HTTP begins to listen after the rest.
  httpPort() {
    const found = (lines) => lines.flatMap(parseListening).find(({ protocol }) => protocol === 'http')?.port;
    return this.child.until(found, START_LIMIT, 'no HTTP');
  }

  // What `turnpike credential` mints with the secret that the server made for itself.
  credential(subject) {
    const output = run(turnpikeBinary(), ['credential', '--state-dir', this.stateDir, '--ttl', '1h', subject], { env: cleanEnv() });
    const username = new RegExp(`\\b\\d{10,}:${subject}\\b`).exec(output)?.[0];
    const password = /[A-Za-z0-9+/]{27}=/.exec(output)?.[0];
    if (!username || !password) throw new Error(`no credential in the output of turnpike credential:\n${output}`);
    return { username, password };
  }

  async stop() {
    await this.child.stop();
    if (SERVER === 'turnpike') this.child.assertEndedCleanly();
  }
}

// listen, listenTls: hosts (an IPv6 one without brackets) that get port 0, or `host` with `port`. With neither,
// the server's own defaults (every address, 3478 and, with a certificate, 5349).
export async function startServer({
  namespace,
  lab,
  listen,
  listenTls,
  certificate,
  selfSigned = false,
  realm = REALM,
  users = [[USER, PASSWORD]],
  secret,
  relayAddresses = [],
  allowPeers = [],
  flags = [],
  coturnFlags = [],
  coturnVerbose = true,
  env = {},
}) {
  const stateDir = lab.tempDir('state');
  const tls = Boolean(certificate || selfSigned);
  const coturn = SERVER === 'coturn';
  const args = coturn ? coturnArgs() : turnpikeArgs();
  const file = coturn ? 'turnserver' : turnpikeBinary();

  const wanted = ['udp', 'tcp'].flatMap((protocol) => (listen ?? ['any']).map((host) => [protocol, host]));
  if (tls) wanted.push(...(listenTls ?? ['any']).map((host) => ['tls', host]));

  const options = { name: SERVER, env: { ...cleanEnv(), ...env } };
  const child = namespace ? namespace.spawn(file, args, options) : lab.adopt(new Child(SERVER, file, args, options));
  if (!coturn) lab.adoptServer(child);
  const listeners = await child.until(coturn ? coturnListeners : turnpikeListeners, START_LIMIT, `not listening on ${wanted.map((pair) => pair.join(' ')).join(', ')}`);
  return new Server(child, listeners, stateDir);

  function turnpikeListeners(lines) {
    const found = lines.flatMap(parseListening);
    const all = wanted.every(([protocol, host]) => found.some((l) => l.protocol === protocol && (host === 'any' || l.host === host)));
    return all && found;
  }

  // It names a listener by the most that it can do (DTLS/UDP, TLS/TCP), always on the same ports.
  function coturnListeners(lines) {
    if (!lines.some((line) => line.includes('(auth thread)'))) return undefined;
    return wanted.map(([protocol, host]) => ({ protocol, host: host === 'any' ? '::' : host, port: protocol === 'tls' ? 5349 : 3478 }));
  }

  function turnpikeArgs() {
    const bracketed = (host) => (isV6(host) ? `[${host}]` : host);
    return [
      'serve',
      '--state-dir', stateDir,
      ...(listen ?? []).flatMap((host) => ['--listen', `${bracketed(host)}:0`]),
      ...(listenTls ?? []).flatMap((host) => ['--listen-tls', `${bracketed(host)}:0`]),
      ...(selfSigned ? ['--tls-self-signed'] : []),
      ...(certificate ? ['--tls-cert', certificate.cert, '--tls-key', certificate.key] : []),
      ...users.flatMap(([name, password]) => ['--user', `${name}:${password}`]),
      ...(secret ? ['--auth-secret', secret] : []),
      ...relayAddresses.flatMap((address) => ['--relay-address', address]),
      ...allowPeers.flatMap((cidr) => ['--allow-peer', cidr]),
      ...(realm ? ['--realm', realm] : []),
      ...flags,
    ];
  }

  function coturnArgs() {
    const hosts = [...new Set([...(listen ?? []), ...(listenTls ?? [])])];
    return [
      '-n', ...(coturnVerbose ? ['-v'] : []), '--no-cli', '--log-file', 'stdout', '--pidfile', join(stateDir, 'pid'), '--realm', REALM,
      '--userdb', join(stateDir, 'turndb'),
      ...hosts.flatMap((host) => ['-L', host]),
      ...relayAddresses.flatMap((address) => ['-E', address]),
      ...(tls ? ['--cert', (certificate ?? ownCertificate()).cert, '--pkey', (certificate ?? ownCertificate()).key] : ['--no-tls', '--no-dtls']),
      ...(secret ? ['--use-auth-secret', '--static-auth-secret', secret] : ['--lt-cred-mech', ...users.flatMap(([name, password]) => ['--user', `${name}:${password}`])]),
      ...(allowPeers.length > 0 ? ['--allow-loopback-peers'] : []),
      ...coturnFlags,
    ];
  }

  function ownCertificate() {
    certificate = lab.certificates({ names: ['localhost'], addresses: ['127.0.0.1', '::1'] });
    return certificate;
  }
}
