/** A word for what was refused: those of the server's errors, and three of this library. */
export type ErrorCode =
  | 'bad_request' | 'unknown_type' | 'unsupported' | 'unauthorized' | 'token_expired' | 'forbidden' | 'not_found'
  | 'room_full' | 'not_in_room' | 'peer_not_found' | 'already_joined' | 'too_large' | 'rate_limited'
  | 'limit_reached' | 'conflict' | 'timeout' | 'backend_unavailable' | 'internal'
  /** The connection was lost and the session with it: it is not known whether the request was carried out. */
  | 'unknown'
  /** The session was closed before the request was sent. */
  | 'closed';

export class TurnpikeError extends Error {
  readonly code: ErrorCode;
  /** When to try again, in milliseconds. */
  readonly retryMs?: number;
  /** The server's whole answer. */
  readonly detail: Record<string, unknown>;
}

/** Objects with typed events; `on` returns the function that stops listening. */
export class Emitter<Events> extends EventTarget {
  on<Type extends keyof Events & string>(type: Type, listener: (detail: Events[Type]) => void): () => void;
}

export type Token = string | ((why: 'connect' | 'expired' | 'refresh' | 'join') => string | undefined | Promise<string | undefined>);

export interface ConnectOptions {
  /** A join token, or a function that fetches one whenever it is needed: to connect, before it expires, after it has. */
  token?: Token;
  /** What to connect over, best first; the second one is tried after two failures of the first. */
  carriers?: ('ws' | 'sse')[];
  /** The class to use where there is no global one, as in Node before 22. */
  WebSocket?: unknown;
}

/** Opens a session with the server at `url` (http, https, ws or wss), by default the one that the page came from. */
export function connect(url?: string | URL, options?: ConnectOptions): Session;

export interface Ice {
  servers: RTCIceServer[];
  /** Unix seconds. */
  expiresAt: number;
  refreshAt: number;
  policy: 'all' | 'relay';
}

export interface Limits {
  msg: number;
  meta: number;
  rooms: number;
  peers: number;
  rate: number;
  burst: number;
}

export type SessionState = 'connecting' | 'open' | 'offline' | 'closed';

export type UndeliveredReason = 'expired' | 'left' | 'overflow' | 'unconfirmed';

export interface Undelivered {
  room?: string;
  to: string;
  kind?: SignalKind;
  pc?: string;
  gen?: number;
  reason: UndeliveredReason;
}

export interface SessionEvents {
  /** The first connection stands. */
  open: {};
  /** The connection is back, and nothing was lost. */
  resumed: {};
  /** The connection is back, but something was missed: rosters and state were compared and the differences raised. */
  gap: {};
  /** The session could not be resumed: this is a new one, calls have ended, rooms are being joined again. */
  reset: {};
  state: { state: SessionState };
  /** Fresh ICE servers; the calls have them already. */
  ice: Ice;
  'token-expiring': { inMs: number; room?: string };
  /** The server is about to stop; the session moves by itself. */
  drain: { retryMs: number; deadlineMs: number };
  undelivered: Undelivered;
  error: Error;
  /** The session is over and does not come back by itself. */
  close: { code: number; reason?: string };
}

export class Session extends Emitter<SessionEvents> {
  constructor(url?: string | URL, options?: ConnectOptions);
  readonly state: SessionState;
  readonly carrier: 'ws' | 'sse';
  readonly id?: string;
  readonly peer?: string;
  readonly uid?: string | null;
  readonly node?: string;
  readonly features?: string[];
  readonly limits?: Limits;
  readonly ice?: Ice;
  readonly rooms: Map<string, Room>;
  /** The current ICE servers and policy. */
  readonly configuration: RTCConfiguration;
  /** The room of that name, joined or not. */
  room(name: string): Room;
  join(name: string, options?: JoinOptions): Promise<Room>;
  /** Hands in a new token, by default what the token function returns. */
  refresh(token?: string): Promise<{ exp: number }>;
  /** Drops the connection and resumes at once. */
  reconnect(): void;
  /** Ends the session; the others see this peer leave at once. */
  close(): Promise<void>;
}

export type Meta = Record<string, unknown>;

export interface JoinOptions {
  meta?: Meta;
  /** A token for this room alone. */
  token?: Token;
  as?: 'peer' | 'observer';
}

export interface Peer {
  readonly peer: string;
  /** Who it is by its token, if it had one. */
  readonly uid: string | null;
  readonly meta: Meta;
  readonly ord: number;
  readonly polite: boolean;
  /** Whether it is up to this end to call: true toward everybody who was here before. */
  readonly initiate: boolean;
  readonly online: boolean;
}

export interface Self {
  peer?: string;
  ord?: number | null;
  as?: 'peer' | 'observer';
}

export interface StateEntry {
  value: unknown;
  ver: number;
  by: string;
}

export type SignalKind = 'offer' | 'answer' | 'candidate' | 'end' | 'restart' | 'custom';

export type PeerId = string | Peer;

export interface RoomEvents {
  /** This end is in, for the first time or again after a reset. */
  joined: {};
  left: { reason: string };
  'peer-joined': Peer;
  'peer-left': Peer & { reason: string };
  'peer-updated': Peer;
  'peer-status': Peer;
  message: { from: string; event: string | null; data: unknown };
  /** Without `value`: deleted or expired. */
  state: { key: string; value?: unknown; ver?: number; by?: string };
  /** A peer calls: `accept` or `reject` it. */
  call: Call;
  /** A signal of kind `custom`. */
  signal: { from: string; pc: string; gen: number; data: unknown };
  undelivered: Undelivered;
  error: Error;
}

export class Room extends Emitter<RoomEvents> {
  readonly session: Session;
  readonly name: string;
  readonly joined: boolean;
  readonly self: Self;
  readonly meta: Meta;
  readonly peers: Map<string, Peer>;
  readonly state: Map<string, StateEntry>;
  readonly calls: Map<string, Call>;
  join(options?: JoinOptions): Promise<this>;
  leave(): Promise<void>;
  /** Sends to all others, or to some; resolves with the number of copies. */
  send(data: unknown, options?: { to?: PeerId | PeerId[] | { uid: string }; event?: string; echo?: boolean }): Promise<number>;
  /** Sends a signal of its own kind; resolves with whether it went out at once. */
  signal(to: PeerId, kind: SignalKind, options: { pc: string; gen: number; data?: unknown; ttlMs?: number }): Promise<boolean>;
  /** Changes this peer's meta by a JSON merge patch. */
  update(patch: Meta): Promise<number>;
  setState(key: string, value: unknown, options?: { ttlMs?: number; ifVer?: number }): Promise<number>;
  deleteState(key: string, options?: { ifVer?: number }): Promise<number>;
  kick(peer: PeerId, options?: { reason?: string; banS?: number }): Promise<unknown>;
  /** Calls a peer; if it called first, accepts. Calls of both at once become one. */
  call(peer: PeerId, stream?: MediaStream | null, options?: CallOptions): Call;
}

export interface CallOptions {
  /** Tells apart several calls with one peer; `main` by default. */
  id?: string;
  /** Lets nothing pass but through a relay. */
  relay?: boolean;
  /** `false` leaves out the data channel that every call has. */
  data?: boolean;
  /** Further data channels by label; those that are not `negotiated` come to the peer as `channel`. */
  channels?: Record<string, RTCDataChannelInit | undefined>;
  /** Laid over the server's configuration. */
  configuration?: RTCConfiguration;
}

export type CallState = 'incoming' | 'connecting' | 'connected' | 'disconnected' | 'failed' | 'ended';

export type Path = 'direct' | 'reflexive' | 'relay';

export interface CallStats {
  state: RTCPeerConnectionState;
  /** How it connects; undefined until it does. */
  path?: Path;
  local?: RTCIceCandidateType;
  remote?: RTCIceCandidateType;
  /** `udp`, `tcp` or `tls`: to the relay, if this end uses one. */
  transport?: string;
  roundTripMs?: number;
  /** Bits a second since the last look. */
  sendBps: number;
  receiveBps: number;
}

export interface CallEvents {
  state: { state: CallState };
  stream: MediaStream;
  'stream-removed': MediaStream;
  track: { track: MediaStreamTrack; streams: readonly MediaStream[]; transceiver: RTCRtpTransceiver };
  channel: RTCDataChannel;
  /** It connects another way now. */
  path: { path?: Path; local?: RTCIceCandidateType; remote?: RTCIceCandidateType };
  /** Offers of both ends met; this one is settled by itself. */
  glare: { polite: boolean };
  ended: { reason: string; by: 'local' | 'remote' };
  error: Error;
}

export class Call extends Emitter<CallEvents> {
  readonly room: Room;
  readonly peer: Peer;
  readonly id: string;
  readonly incoming: boolean;
  readonly state: CallState;
  /** The connection, once the call is accepted or made. */
  readonly pc?: RTCPeerConnection;
  /** The data channel that every call has. */
  readonly data?: RTCDataChannel;
  readonly streams: Map<string, MediaStream>;
  /** The newest round of offer and answer. */
  readonly gen: number;
  accept(stream?: MediaStream | null, options?: CallOptions): this;
  reject(reason?: string): void;
  close(reason?: string): void;
  channel(label: string, settings?: RTCDataChannelInit): RTCDataChannel;
  addTrack(track: MediaStreamTrack, ...streams: MediaStream[]): RTCRtpSender;
  replaceTrack(old: MediaStreamTrack, track: MediaStreamTrack | null): Promise<void>;
  removeTrack(track: MediaStreamTrack): void;
  /** Restarts ICE. */
  restart(): void;
  /** Hangs up and calls again with the same stream, through a relay alone or no longer so; the peer gets a new call too. */
  forceRelay(on?: boolean): Call;
  stats(): Promise<CallStats>;
}
