// Uses every part of the library as an application would; checked by `tsc --strict`, never run.
import { connect, TurnpikeError } from 'turnpike-client';
import type { Call, CallStats, ConnectOptions, Peer, Room, Session } from 'turnpike-client';

const options: ConnectOptions = {
  token: async (why) => (why === 'expired' ? 'another' : undefined),
  carriers: ['ws', 'sse'],
  WebSocket,
};
const session: Session = connect('https://turn.example.org', options);
const other = connect();
const third = connect(new URL('wss://turn.example.org'), { token: 'a.b.c' });

session.on('open', () => {});
session.on('resumed', () => {});
session.on('gap', () => {});
session.on('reset', () => {});
session.on('state', ({ state }) => {
  if (state === 'offline') session.reconnect();
});
session.on('ice', ({ servers, expiresAt, refreshAt, policy }) => new RTCPeerConnection({ iceServers: servers, iceTransportPolicy: policy }) && expiresAt - refreshAt);
session.on('token-expiring', ({ inMs, room }) => inMs.toFixed() + (room ?? ''));
session.on('drain', ({ retryMs, deadlineMs }) => retryMs + deadlineMs);
session.on('undelivered', ({ to, reason, kind, pc, gen, room }) => [to, reason, kind, pc, gen, room]);
session.on('error', (error) => error.message);
const off: () => void = session.on('close', ({ code, reason }) => `${code + 1} ${reason ?? ''}`);
off();
// @ts-expect-error there is no such event
session.on('closed', () => {});
// @ts-expect-error the state is for reading
session.state = 'open';

function facts({ state, carrier, id, peer, uid, node, features, limits, ice, configuration, rooms }: Session) {
  return [state, carrier, id, peer, uid, node, features?.[0], limits?.msg, ice?.servers, configuration.iceServers, rooms.size];
}

async function inRoom() {
  const room: Room = await session.join('tea', { meta: { name: 'Ann' }, token: () => 'x', as: 'peer' });
  const observed = await other.room('tea').join({ as: 'observer' });
  room.on('joined', () => {});
  room.on('left', ({ reason }) => reason.length);
  for (const type of ['peer-joined', 'peer-updated', 'peer-status'] as const) room.on(type, ({ peer, uid, meta, ord, polite, initiate, online }) => [peer, uid, meta.name, ord, polite, initiate, online]);
  room.on('peer-left', ({ peer, reason }) => peer + reason);
  room.on('message', ({ from, event, data }) => [from, event, data]);
  room.on('state', ({ key, value, ver, by }) => [key, value, ver, by]);
  room.on('signal', ({ from, pc, gen, data }) => [from, pc, gen, data]);
  room.on('undelivered', ({ reason }) => reason === 'left');
  room.on('error', (error) => error.name);
  const peer: Peer | undefined = room.peers.get('x');
  if (!peer) return;
  const copies: number = await room.send({ text: 'hello' }, { to: [peer, 'x'], event: 'chat', echo: true });
  await room.send(1, { to: { uid: 'ann' } });
  const delivered: boolean = await room.signal(peer, 'custom', { pc: 'p', gen: 1, data: 1, ttlMs: 0 });
  await room.update({ name: null });
  await room.setState('topic', 'milk', { ttlMs: 1000, ifVer: copies });
  await room.deleteState('topic', { ifVer: 1 });
  await room.kick(peer, { reason: 'noise', banS: 60 }).catch((error: unknown) => {
    if (error instanceof TurnpikeError && error.code === 'rate_limited') return error.retryMs;
    throw error;
  });
  const about = [room.session, room.name, room.joined, room.self.ord, room.meta, room.state.get('topic')?.ver, room.calls.size, delivered, observed];
  await room.leave();
  return about;
}

async function inCall(room: Room, peer: Peer, stream: MediaStream, track: MediaStreamTrack) {
  room.on('call', (incoming) => (incoming.incoming ? incoming.accept(stream, { relay: true }) : incoming.reject('busy')));
  const call: Call = room.call(peer, stream, { id: 'second', relay: false, data: true, channels: { game: { ordered: false } }, configuration: { iceCandidatePoolSize: 1 } });
  call.on('state', ({ state }) => state === 'connected');
  call.on('stream', (remote) => (document.createElement('video').srcObject = remote));
  call.on('stream-removed', (remote) => remote.id);
  call.on('track', ({ track: one, streams, transceiver }) => [one.kind, streams[0], transceiver.mid]);
  call.on('channel', (channel) => channel.label);
  call.on('path', ({ path, local, remote }) => [path, local, remote]);
  call.on('glare', ({ polite }) => polite);
  call.on('ended', ({ reason, by }) => reason + by);
  call.on('error', (error) => error.message);
  const sender: RTCRtpSender = call.addTrack(track, stream);
  await call.replaceTrack(track, null);
  call.removeTrack(track);
  call.channel('files', { ordered: true }).send('x');
  const again: Call = call.forceRelay().forceRelay(false);
  again.close();
  call.restart();
  const stats: CallStats = await call.stats();
  const shown = [stats.state, stats.path, stats.local, stats.remote, stats.transport, stats.roundTripMs, stats.sendBps, stats.receiveBps];
  const about = [call.room, call.peer, call.id, call.state, call.pc?.iceConnectionState, call.gen, call.data?.readyState, call.streams.size, sender, shown];
  call.close('done');
  return about;
}

export const used = [facts, inRoom, inCall];
await session.refresh();
const { exp } = await session.refresh('token');
exp.toFixed();
await Promise.all([session.close(), third.close()]);
