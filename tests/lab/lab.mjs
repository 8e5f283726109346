// Network namespaces: a public net with a server on it, and clients behind NATs of their own.
//
//   client --192.168.x.0/24--> nat --203.0.113.0/24--> [bridge in `pub`] <-- server
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child, run } from './proc.mjs';
import { makeCertificates } from './tls.mjs';

const open = new Set();
let hooked = false;
let serial = 0;

const NAMES = /^tl(\d+)-\d+-/;

function hook() {
  if (hooked) return;
  hooked = true;
  process.on('exit', () => {
    for (const lab of open) lab.closeNow();
  });
  for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
    process.once(signal, () => process.exit(128 + number));
  }
  sweep();
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// What a lab that was killed outright left behind.
function sweep() {
  const left = new Set([...list('/run/netns'), ...list('/etc/netns')]);
  for (const name of left) {
    const pid = NAMES.exec(name)?.[1];
    if (pid && !alive(Number(pid))) removeNamespace(name);
  }
}

function list(dir) {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function removeNamespace(name) {
  const quiet = (file, args) => {
    try {
      return run(file, args);
    } catch {
      return '';
    }
  };
  for (let round = 0; round < 5; round += 1) {
    const pids = quiet('ip', ['netns', 'pids', name]).split('\n').filter(Boolean).map(Number);
    if (pids.length === 0) break;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {}
    }
  }
  quiet('ip', ['netns', 'del', name]);
  rmSync(join('/etc/netns', name), { recursive: true, force: true });
}

export class Namespace {
  constructor(lab, name) {
    this.lab = lab;
    this.name = `${lab.prefix}-${name}`;
    this.hosts = ['127.0.0.1 localhost', '::1 localhost'];
    this.dir = join('/etc/netns', this.name);
    mkdirSync(this.dir, { recursive: true });
    // Nobody listens there, so a lookup is refused at once and does not hang.
    writeFileSync(join(this.dir, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n');
    this.writeHosts();
    run('flock', ['/run/lock/turnpike-lab', 'ip', 'netns', 'add', this.name]);
    this.ip('link set lo up');
    // A forwarded v6 prefix must work at once; there is nobody to collide with.
    this.sysctl({ 'net.ipv6.conf.all.accept_dad': 0, 'net.ipv6.conf.default.accept_dad': 0, 'net.ipv4.ip_local_port_range': '20000 48000' });
  }

  writeHosts() {
    writeFileSync(join(this.dir, 'hosts'), `${this.hosts.join('\n')}\n`);
  }

  // With a trailing dot too: Chromium asks for TURN over UDP servers by absolute name.
  host(address, name) {
    this.hosts.push(`${address} ${name} ${name}.`);
    this.writeHosts();
  }

  ip(...lines) {
    run('ip', ['-n', this.name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  sysctl(values) {
    const assignments = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    run('ip', ['netns', 'exec', this.name, 'sysctl', '-qw', ...assignments]);
  }

  nft(rules) {
    run('ip', ['netns', 'exec', this.name, 'nft', '-f', '-'], { input: rules });
  }

  counter(table, name) {
    const json = JSON.parse(run('ip', ['netns', 'exec', this.name, 'nft', '-j', 'list', 'counter', ...table.split(' '), name]));
    const { packets, bytes } = json.nftables.find((entry) => entry.counter).counter;
    return { packets, bytes };
  }

  run(file, args, options) {
    return run('ip', ['netns', 'exec', this.name, file, ...args], options);
  }

  // `ip netns exec` becomes the program, so the child's pid is the program's.
  spawn(file, args, options = {}) {
    return this.lab.adopt(new Child(options.name ?? file.split('/').pop(), 'ip', ['netns', 'exec', this.name, file, ...args], options));
  }
}

export class Lab {
  constructor({ v4 = '203.0.113', v6 = '2001:db8:1', host = 'turn.lab.test' } = {}) {
    hook();
    if (process.getuid() !== 0) throw new Error('the lab needs root: it makes network namespaces');
    serial += 1;
    this.prefix = `tl${process.pid}-${serial}`;
    this.v4 = v4;
    this.v6 = v6;
    this.hostName = host;
    this.namespaces = [];
    this.children = new Set();
    this.servers = [];
    this.dir = mkdtempSync(join(tmpdir(), 'turnpike-lab-'));
    open.add(this);
  }

  namespace(name) {
    const namespace = new Namespace(this, name);
    this.namespaces.push(namespace);
    return namespace;
  }

  adopt(child) {
    this.children.add(child);
    child.exited.then(() => this.children.delete(child));
    return child;
  }

  // Of which `close` asks that it ends cleanly when it is told to, and not before.
  adoptServer(child) {
    this.servers.push(child);
    return child;
  }

  tempDir(name) {
    return mkdtempSync(join(this.dir, `${name}-`));
  }

  certificates(subject = { names: [this.hostName], addresses: [`${this.v4}.10`, `${this.v6}::10`] }) {
    return makeCertificates(this.tempDir('tls'), subject);
  }

  // The public net. Its bridge is every public host's default route.
  public() {
    if (this.pub) return this.pub;
    const pub = this.namespace('pub');
    pub.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    pub.ip(
      'link add br0 type bridge',
      'link set br0 up',
      `addr add ${this.v4}.1/24 dev br0`,
      `addr add ${this.v6}::1/64 dev br0 nodad`,
    );
    this.pub = pub;
    return pub;
  }

  // A host with an address of its own on the public net; `n` is the last number of both addresses.
  publicHost(name, n) {
    const pub = this.public();
    const host = this.namespace(name);
    pub.ip(`link add p${n} type veth peer name eth0 netns ${host.name}`, `link set p${n} master br0`, `link set p${n} up`);
    host.ip(
      `addr add ${this.v4}.${n}/24 dev eth0`,
      `addr add ${this.v6}::${n}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via ${this.v4}.1`,
      `route add default via ${this.v6}::1`,
    );
    host.v4 = `${this.v4}.${n}`;
    host.v6 = `${this.v6}::${n}`;
    return host;
  }

  server(n = 10) {
    const server = this.publicHost('server', n);
    server.host(server.v4, this.hostName);
    server.host(server.v6, this.hostName);
    server.nft(`
      table inet lab {
        counter relay_media {}
        counter relay_any {}
        counter channel_media {}
        counter send_media {}
        chain in {
          type filter hook input priority 0;
          udp dport 49152-65535 counter name relay_any
          # Not STUN (RFC 7983): DTLS, RTP and RTCP that reach a relayed address.
          udp dport 49152-65535 @th,64,8 >= 20 counter name relay_media
          # ChannelData that carries anything but STUN, and Send indications too long for a connectivity check.
          meta l4proto udp @th,64,8 >= 64 @th,64,8 < 80 @th,96,8 >= 20 udp dport < 49152 counter name channel_media
          meta l4proto udp @th,64,16 0x0016 udp length > 400 udp dport < 49152 counter name send_media
        }
      }`);
    this.serverHost = server;
    return server;
  }

  mediaAtServer() {
    const read = (name) => this.serverHost.counter('inet lab', name).packets;
    return { relay: read('relay_media'), channels: read('channel_media'), sends: read('send_media') };
  }

  // kind: 'symmetric' | 'cone'. family: 4 | 6; with 6 the client has no IPv4 at all, and a stateful firewall
  // in place of the NAT. blockUdp and onlyPorts ({ tcp: [443] }) are the firewall of a strict company.
  client(name, n, { kind = 'symmetric', family = 4, blockUdp = false, onlyPorts } = {}) {
    const nat = this.publicHost(`nat-${name}`, n);
    const client = this.namespace(name);
    nat.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    nat.ip(`link add lan type veth peer name eth0 netns ${client.name}`, 'link set lan up');
    if (family === 4) {
      nat.ip(`addr add 192.168.${n}.1/24 dev lan`);
      client.sysctl({ 'net.ipv6.conf.eth0.disable_ipv6': 1 });
      client.ip(`addr add 192.168.${n}.2/24 dev eth0`, 'link set eth0 up', `route add default via 192.168.${n}.1`);
      client.host(`${this.v4}.10`, this.hostName);
    } else {
      const prefix = `${this.v6}:${n}`;
      nat.ip(`addr add ${prefix}::1/64 dev lan nodad`);
      client.ip(`addr add ${prefix}::2/64 dev eth0 nodad`, 'link set eth0 up', `route add default via ${prefix}::1`);
      this.pub.ip(`route add ${prefix}::/64 via ${this.v6}::${n}`);
      client.host(`${this.v6}::10`, this.hostName);
    }
    client.family = family;
    client.nat = nat;
    nat.nft(natRules({ kind, blockUdp, onlyPorts }));
    return client;
  }

  closeNow() {
    if (!open.delete(this)) return;
    for (const child of this.children) child.process.kill('SIGKILL');
    for (const namespace of this.namespaces) removeNamespace(namespace.name);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  async close() {
    await Promise.all([...this.children].map((child) => child.stop()));
    this.closeNow();
    for (const server of this.servers) server.assertEndedCleanly();
  }
}

export function natRules({ kind, blockUdp = false, onlyPorts }) {
  const masquerade = { symmetric: 'masquerade fully-random', cone: 'masquerade' }[kind];
  if (!masquerade) throw new Error(`unknown kind of NAT: ${kind}`);
  const ports = Object.entries(onlyPorts ?? {}).map(([protocol, list]) => `${protocol} dport { ${list.join(', ')} } accept`);
  return `
    table inet nat {
      counter unsolicited {}
      chain unsolicited {
        type filter hook prerouting priority mangle;
        # Before it is confirmed: a conntrack entry of such a packet would take the port that the client's own
        # packet to that peer needs, and a port-keeping NAT would turn into a symmetric one.
        iifname "eth0" ip6 daddr fe80::/10 accept
        iifname "eth0" meta l4proto { tcp, udp } ct state new counter name unsolicited drop
      }
      chain forward {
        type filter hook forward priority 0; policy drop;
        iifname "eth0" ct state established,related accept
        ${blockUdp ? 'iifname "lan" meta l4proto udp drop' : ''}
        ${onlyPorts ? `iifname "lan" ct state established,related accept\n        ${ports.join('\n        ')}` : 'iifname "lan" accept'}
      }
      chain post {
        type nat hook postrouting priority srcnat;
        meta nfproto ipv4 oifname "eth0" ${masquerade}
      }
    }`;
}
