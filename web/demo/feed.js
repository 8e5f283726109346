const $ = (id) => document.getElementById(id);
const KEPT = 200;
const RETRY = 3000;
const people = new Map();
const state = new Map();
let source;
let count = 0;
let retry;

function row(...parts) {
  const node = document.createElement('li');
  for (const [tag, text, attributes = {}] of parts) {
    const part = document.createElement(tag);
    part.textContent = text;
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
    node.append(part);
  }
  return node;
}

const nameOf = (peer) => peer?.meta?.$name ?? peer?.meta?.name ?? peer?.uid ?? 'Guest';
const short = (value) => {
  const text = JSON.stringify(value) ?? '';
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
};

function happened(text, data) {
  const parts = [['time', new Date().toLocaleTimeString()], ['span', text, { class: 'what' }]];
  const node = row(...parts);
  if (data !== undefined) node.lastChild.append(document.createElement('br'), Object.assign(document.createElement('code'), { textContent: short(data) }));
  $('events').prepend(node);
  while ($('events').children.length > KEPT) $('events').lastChild.remove();
  $('n-events').textContent = count += 1;
}

function show() {
  $('n-people').textContent = people.size;
  $('n-state').textContent = state.size;
  $('people').replaceChildren(
    ...[...people.values()].map((peer) => row(['span', '', { class: 'online', 'data-online': peer.online, title: peer.online ? 'online' : 'away' }], ['span', nameOf(peer), { class: 'what' }])),
  );
  $('state').replaceChildren(...[...state].map(([key, { value }]) => row(['strong', key], ['code', short(value), { class: 'what' }])));
}

const EVENTS = {
  joined({ peers, state: entries }) {
    people.clear();
    state.clear();
    for (const peer of peers) people.set(peer.peer, peer);
    for (const [key, entry] of Object.entries(entries)) state.set(key, entry);
    happened(peers.length === 1 ? 'Watching: one is here' : `Watching: ${peers.length} are here`);
  },
  'peer-joined'(peer) {
    people.set(peer.peer, peer);
    happened(`${nameOf(peer)} joined`);
  },
  'peer-updated'(peer) {
    people.set(peer.peer, peer);
    happened(`${nameOf(peer)} changed`, peer.meta);
  },
  'peer-left'({ peer, reason }) {
    happened(`${nameOf(people.get(peer))} left (${reason})`);
    people.delete(peer);
  },
  'peer-status'({ peer, online }) {
    const known = people.get(peer);
    if (known) known.online = online;
    happened(`${nameOf(known)} is ${online ? 'back' : 'away'}`);
  },
  message({ from, event, data }) {
    happened(`${from === 'server' ? 'The server' : nameOf(people.get(from))} sent ${event ?? 'a message'}`, data);
  },
  state({ key, value, ver, by }) {
    if (value === undefined) state.delete(key);
    else state.set(key, { value, ver, by });
    happened(value === undefined ? `${key} was removed` : `${key} was set`, value);
  },
};

function status(text, kind) {
  $('status').textContent = text;
  $('status').dataset.state = kind;
}

/** An EventSource cannot send a token; the answer to a POST names an address that needs none. */
async function address(room, token) {
  const path = `/v1/rooms/${encodeURIComponent(room)}/events`;
  if (!token) return path;
  const answer = await fetch(path, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: '{}' });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? body.title);
  return body.events_url;
}

async function watch(room, token) {
  source?.close();
  clearTimeout(retry);
  $('title').textContent = `Live feed: ${room}`;
  $('problem').textContent = '';
  status('Connecting…', 'connecting');
  try {
    source = new EventSource(await address(room, token));
  } catch (error) {
    $('problem').textContent = error.message;
    return status('Not connected', 'closed');
  }
  const mine = source;
  mine.onopen = () => status('Live', 'open');
  mine.onerror = () => {
    if (mine.readyState !== EventSource.CLOSED) return status('Reconnecting…', 'offline');
    status('Reconnecting…', 'closed');
    if (mine === source) retry = setTimeout(() => watch(room, token), RETRY);
  };
  for (const [type, take] of Object.entries(EVENTS)) {
    mine.addEventListener(type, ({ data }) => {
      take(JSON.parse(data));
      show();
    });
  }
}

const fragment = () => new URLSearchParams(location.hash.slice(1));

function start() {
  const room = fragment().get('room') ?? new URLSearchParams(location.search).get('room');
  if (!room) return;
  $('room').value = room;
  watch(room, fragment().get('token'));
}

$('pick').addEventListener('submit', (event) => {
  event.preventDefault();
  const settings = fragment();
  settings.set('room', $('room').value.trim());
  history.replaceState(null, '', `#${settings}`);
  start();
});
addEventListener('hashchange', start);
start();
