import { connect } from '/client.js';
import { Files } from './files.js';
import { Media } from './media.js';

const $ = (id) => document.getElementById(id);
const media = new Media();
const tiles = new Map();
const links = new WeakMap();
const colors = new Map();
let session;
let room;
let relay = false;
let unread = 0;

const PATHS = { direct: 'Direct', reflexive: 'Direct through NAT', relay: 'Relayed' };
const LEFT = { kicked: 'You were removed from the room', 'token-expired': 'Your invitation has expired' };
const CLOSED = { 4501: 'This room needs an invitation.', 4502: 'Your invitation has expired.', 4504: 'You were removed from the room.', 4505: 'You were removed from the room.', 4506: 'You joined from somewhere else.' };

// Room and token stand behind the hash, which no browser sends anywhere.
const fragment = () => new URLSearchParams(location.hash.slice(1));

function element(tag, { text, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

const nameOf = (peer) => String(peer?.meta?.$name ?? peer?.meta?.name ?? '').trim() || 'Guest';
const initials = (name) => name.split(/\s+/).map((word) => [...word][0]).slice(0, 2).join('').toUpperCase();

function hue(text) {
  if (!colors.has(text)) colors.set(text, [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
  return colors.get(text);
}

function avatar(name) {
  const node = element('span', { class: 'avatar', 'aria-hidden': 'true', text: initials(name) });
  node.style.setProperty('--hue', hue(name));
  return node;
}

function size(bytes) {
  const units = ['B', 'KB', 'MB', 'GB'];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) [bytes, at] = [bytes / 1000, at + 1];
  return `${bytes < 10 && at > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}

const rate = (bps) => (bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`);

function saved(key, value) {
  try {
    if (value === undefined) return localStorage.getItem(key) ?? '';
    localStorage.setItem(key, value);
  } catch {}
  return '';
}

function invent() {
  const first = ['amber', 'brisk', 'calm', 'clear', 'cozy', 'early', 'green', 'mellow', 'quiet', 'silver', 'sunny', 'warm'];
  const second = ['bridge', 'brook', 'cove', 'field', 'garden', 'harbor', 'lantern', 'meadow', 'orchard', 'river', 'summit', 'valley'];
  const numbers = crypto.getRandomValues(new Uint32Array(3));
  return `${first[numbers[0] % first.length]}-${second[numbers[1] % second.length]}-${(numbers[2] % 9000) + 1000}`;
}

let toastTimer;
function toast(text) {
  $('toast').textContent = text;
  $('toast').dataset.show = 'true';
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($('toast').dataset.show = 'false'), 3500);
}

// Lobby

function showMedia() {
  const shown = { audio: media.on('audio'), video: media.on('video') };
  for (const button of document.querySelectorAll('[data-toggle]')) {
    const kind = button.dataset.toggle;
    button.setAttribute('aria-pressed', shown[kind]);
    const image = kind === 'audio' ? 'mic' : 'cam';
    button.querySelector('use').setAttribute('href', `#i-${image}${shown[kind] ? '' : '-off'}`);
  }
  $('share').setAttribute('aria-pressed', Boolean(media.screen));
  $('share').querySelector('.label').textContent = media.screen ? 'Stop sharing' : 'Share screen';
  $('preview-off').hidden = shown.video;
  // An empty stream would keep the page from ever having loaded.
  const picture = shown.video ? media.stream : null;
  if ($('preview').srcObject !== picture) $('preview').srcObject = picture;
  $('media-note').textContent = media.note;
  if (!room) return;
  if (media.note) toast(media.note);
  for (const call of room.calls.values()) carry(call);
  showSelf();
  room.update(presence()).catch(() => {});
}

const presence = () => ({ audio: media.on('audio'), video: media.on('video'), screen: Boolean(media.screen) });

async function enter(event) {
  event.preventDefault();
  const name = $('name').value.trim();
  const wanted = $('room').value.trim();
  if (!wanted) return;
  saved('turnpike-name', name);
  $('enter').disabled = true;
  $('join-error').textContent = '';
  const settings = fragment();
  session = connect(location.origin, { token: settings.get('token') ?? undefined });
  listen(session);
  try {
    const next = session.room(wanted);
    watch(next);
    await next.join({ meta: { name: name || 'Guest', ...presence() } });
    settings.set('room', wanted);
    history.replaceState(null, '', `#${settings}`);
    open(next);
  } catch (error) {
    if (!room) fail(error);
  }
  $('enter').disabled = false;
}

function fail(error) {
  const reasons = { room_full: 'This room is full.', forbidden: 'You may not enter this room.', unauthorized: 'This room needs an invitation.', closed: '' };
  $('join-error').textContent = reasons[error.code] ?? `That did not work: ${error.message}`;
  session?.close();
}

function listen(target) {
  const says = { connecting: 'Connecting…', open: 'Connected', offline: 'Reconnecting…', closed: 'Disconnected' };
  target.on('state', ({ state }) => {
    $('status').textContent = says[state];
    $('status').dataset.state = state;
    $('status').title = state === 'open' ? (target.carrier === 'ws' ? 'over WebSocket' : 'over server-sent events') : '';
  });
  target.on('close', ({ code }) => {
    if (target !== session || code === 1000) return;
    leave();
    $('join-error').textContent = CLOSED[code] ?? 'The server ended the session.';
  });
}

// The room

function watch(next) {
  next.on('joined', callThem);
  next.on('peer-joined', (peer) => {
    note(`${nameOf(peer)} joined`);
    callThem();
  });
  next.on('peer-left', (peer) => {
    note(`${nameOf(peer)} left`);
    tiles.get(peer.peer)?.remove();
    tiles.delete(peer.peer);
    showPeople();
  });
  next.on('peer-updated', showPeople);
  next.on('peer-status', showPeople);
  next.on('call', (call) => attach(call.accept(media.stream, { relay })));
  next.on('message', ({ from, event, data }) => {
    if (event === 'chat') say(nameOf(next.peers.get(from)), String(data?.text ?? ''));
    else if (from === 'server') note(typeof data === 'string' ? data : JSON.stringify(data));
  });
  next.on('left', ({ reason }) => {
    if (next !== room) return;
    leave();
    $('join-error').textContent = LEFT[reason] ?? '';
  });
}

function open(next) {
  room = next;
  globalThis.turnpike = { session, room };
  document.body.dataset.view = 'call';
  $('call').hidden = false;
  $('room-title').textContent = room.name;
  document.title = `${room.name} · Turnpike`;
  $('feed').href = `feed.html#${fragment()}`;
  openPanel(matchMedia('(min-width: 761px)').matches ? 'chat' : undefined);
  showSelf();
  callThem();
  $('room-title').focus();
}

/** The newcomer calls everybody who was there before. */
function callThem() {
  if (!room) return;
  for (const peer of room.peers.values()) {
    if (peer.initiate && !room.calls.has(`${peer.peer}/main`)) attach(room.call(peer, media.stream, { relay }));
  }
  showPeople();
}

function attach(call) {
  if (links.has(call)) return;
  const senders = {};
  for (const sender of call.pc.getSenders()) if (sender.track) senders[sender.track.kind] = sender;
  const files = new Files(call.data, (file) => showFile(file, nameOf(call.peer)));
  const link = { call, senders, files };
  links.set(call, link);
  const remote = new MediaStream();
  call.on('track', ({ track }) => {
    for (const old of remote.getTracks()) if (old.kind === track.kind) remote.removeTrack(old);
    remote.addTrack(track);
    tile(call.peer).querySelector('video').srcObject = remote;
  });
  call.on('state', showPeople);
  call.on('ended', ({ reason }) => {
    tile(call.peer, false)?.querySelector('video').removeAttribute('srcObject');
    if (reason === 'rejected') note(`${nameOf(call.peer)} does not take calls`);
    showPeople();
  });
  carry(call);
  showPeople();
}

/** Puts what this end shows now on a call. */
function carry(call) {
  const link = links.get(call);
  if (!link || call.state === 'ended') return;
  for (const [kind, track] of Object.entries({ audio: media.tracks.audio, video: media.video })) {
    const sender = link.senders[kind];
    if (!sender && track) link.senders[kind] = call.addTrack(track, media.stream);
    else if (sender && sender.track !== (track ?? null)) sender.replaceTrack(track ?? null).catch(() => {});
  }
}

async function leave() {
  const old = session;
  room = undefined;
  session = undefined;
  media.stop();
  for (const one of tiles.values()) one.remove();
  tiles.clear();
  $('log').replaceChildren();
  document.body.dataset.view = 'lobby';
  document.title = 'Turnpike';
  $('call').hidden = true;
  $('enter').disabled = false;
  showMedia();
  $('enter').focus();
  await old?.close();
}

// Tiles and people

function tile(peer, make = true) {
  const key = peer?.peer ?? 'self';
  if (tiles.has(key) || !make) return tiles.get(key);
  const video = element('video', { autoplay: '', playsinline: '' });
  const node = element('li', { class: peer ? 'tile' : 'tile mine', 'data-peer': key, 'data-video': 'false', 'data-audio': 'true', 'data-screen': 'false' });
  const muted = element('span', { class: 'chip muted' }, icon('mic-off'), element('span', { class: 'visually-hidden', text: 'microphone off' }));
  const foot = element('div', { class: 'foot' }, element('span', { class: 'chip name' }, element('span')), muted);
  if (peer) foot.append(element('span', { class: 'chip path', 'data-path': 'none' }, element('span')));
  else video.muted = true;
  node.append(video, foot, element('div', { class: 'veil', text: 'Reconnecting…' }));
  tiles.set(key, node);
  $('grid').append(node);
  return node;
}

function showTile(node, name, meta, { away = false } = {}) {
  const label = node.querySelector('.name span');
  if (label.textContent !== name) {
    label.textContent = name;
    node.querySelector('.avatar')?.remove();
    node.prepend(avatar(name.replace(/ \(you\)$/, '')));
    node.querySelector('video').setAttribute('aria-label', `Video of ${name}`);
  }
  node.dataset.audio = Boolean(meta.audio);
  node.dataset.video = Boolean(meta.video);
  node.dataset.screen = Boolean(meta.screen);
  node.dataset.away = away;
}

function showSelf() {
  const node = tile();
  const video = node.querySelector('video');
  if (video.srcObject !== media.stream) video.srcObject = media.stream;
  showTile(node, `${room.meta.name} (you)`, presence());
  showPeople();
}

function describe(call) {
  const stats = links.get(call)?.stats;
  if (!call) return { short: 'No call', long: 'Not in a call' };
  if (call.state !== 'connected' || !stats?.path) return { short: call.state === 'failed' ? 'Trying again…' : 'Connecting…', long: 'Connecting…' };
  const trip = stats.roundTripMs === undefined ? '' : ` · ${Math.round(stats.roundTripMs)} ms`;
  return { path: stats.path, short: `${PATHS[stats.path]}${trip}`, stats };
}

function showPeople() {
  if (!room) return;
  const peers = [...room.peers.values()];
  $('alone').hidden = peers.length > 0;
  $('count').textContent = peers.length + 1;
  const count = peers.length + 1;
  const wide = matchMedia('(min-width: 761px)').matches;
  $('grid').dataset.count = count;
  // Of two, oneself is a small picture in the other's.
  $('grid').style.setProperty('--columns', count < 3 ? 1 : wide ? Math.ceil(Math.sqrt(count)) : count > 3 ? 2 : 1);
  const rows = [person(`${room.meta.name} (you)`, 'This is you')];
  for (const peer of peers) {
    const call = room.calls.get(`${peer.peer}/main`);
    const { path = 'none', short, long, stats } = describe(call);
    const node = tile(peer);
    showTile(node, nameOf(peer), peer.meta ?? {}, { away: !peer.online });
    const chip = node.querySelector('.path');
    chip.dataset.path = path;
    chip.firstChild.textContent = short;
    rows.push(person(nameOf(peer), peer.online ? (stats ? PATHS[path] : long) : 'Away, reconnecting', stats));
  }
  $('people').replaceChildren(...rows);
}

function person(name, text, stats) {
  const node = element('li', { class: 'person' }, avatar(name.replace(/ \(you\)$/, '')), element('b', { text: name }), element('small', { text }));
  if (!stats) return node;
  const trip = stats.roundTripMs === undefined ? '–' : `${Math.round(stats.roundTripMs)} ms`;
  const facts = { Transport: String(stats.transport ?? '–').toUpperCase(), 'Round trip': trip, Sending: rate(stats.sendBps), Receiving: rate(stats.receiveBps) };
  node.append(element('dl', {}, ...Object.entries(facts).flatMap(([term, text]) => [element('dt', { text: term }), element('dd', { text })])));
  return node;
}

async function measure() {
  if (room) {
    for (const call of room.calls.values()) {
      const link = links.get(call);
      if (link && call.state === 'connected') link.stats = await call.stats().catch(() => link.stats);
    }
    showPeople();
  }
  setTimeout(measure, 2000);
}

// Chat and files

function log(node) {
  const list = $('log');
  const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(node);
  if (follows || node.classList.contains('mine')) list.scrollTop = list.scrollHeight;
  const seen = $('panel').dataset.open === 'true' && !$('pane-chat').hidden;
  if (!seen && !node.classList.contains('event')) unread += 1;
  $('unread').hidden = unread === 0;
  return node;
}

const note = (text) => log(element('li', { class: 'event', text }));

function say(who, text, mine = false) {
  return log(element('li', mine ? { class: 'mine' } : {}, element('span', { class: 'who', text: who }), element('div', { class: 'bubble', text })));
}

function card(who, { name, size: total }, mine) {
  const bar = element('progress', { max: String(total || 1), value: '0', 'aria-label': `Progress of ${name}` });
  const status = element('span', { class: 'meta', text: size(total) });
  const body = element('div', { class: 'file' }, element('strong', { text: name }), bar, status);
  log(element('li', mine ? { class: 'mine' } : {}, element('span', { class: 'who', text: who }), element('div', { class: 'bubble' }, body)));
  let painted = 0;
  return {
    body,
    progress(done) {
      const now = performance.now();
      if (now - painted < 100 && done < total) return;
      painted = now;
      bar.value = done;
      status.textContent = `${size(done)} of ${size(total)}`;
    },
    finish(text, good, sha256) {
      bar.hidden = true;
      status.textContent = text;
      if (good !== undefined) status.dataset.good = good;
      if (sha256) body.append(element('code', { title: sha256, 'data-sha256': sha256, text: `SHA-256 ${sha256.slice(0, 16)}…` }));
    },
  };
}

async function showFile(file, who) {
  const view = card(who, file);
  file.onprogress = view.progress;
  try {
    const { blob, sha256, good } = await file.done;
    view.finish(good ? `${size(blob.size)}, complete: the hash matches` : 'Damaged: the hash does not match', good, sha256);
    if (!good) return;
    const link = element('a', { href: URL.createObjectURL(blob), download: file.name, text: 'Save' });
    view.body.append(link);
  } catch (error) {
    view.finish(error.message, false);
  }
}

async function sendFile(file) {
  const calls = [...(room?.calls.values() ?? [])].filter((call) => call.state === 'connected');
  if (calls.length === 0) return toast('There is nobody to send it to');
  const view = card('You', file, true);
  const done = calls.map(() => 0);
  try {
    const hashes = await Promise.all(
      calls.map((call, at) =>
        links.get(call).files.send(file, (sent) => {
          done[at] = sent;
          view.progress(Math.min(...done));
        }),
      ),
    );
    view.finish(`${size(file.size)}, sent to ${calls.length === 1 ? nameOf(calls[0].peer) : `${calls.length} people`}`, true, hashes[0]);
  } catch (error) {
    view.finish(error.message, false);
  }
}

async function chat(event) {
  event.preventDefault();
  const text = $('text').value.trim();
  if (!text || !room) return;
  $('text').value = '';
  const line = say('You', text, true);
  try {
    await room.send({ text }, { event: 'chat' });
  } catch (error) {
    line.append(element('span', { class: 'who error', text: error.code === 'rate_limited' ? 'Not sent: too fast' : 'Not sent' }));
  }
}

// Panel and controls

function openPanel(which) {
  $('panel').dataset.open = Boolean(which);
  for (const name of ['chat', 'people']) {
    const chosen = which === name;
    $(`open-${name}`).setAttribute('aria-expanded', chosen);
    if (!which) continue;
    $(`pane-${name}`).hidden = !chosen;
    $(`tab-${name}`).setAttribute('aria-selected', chosen);
    $(`tab-${name}`).tabIndex = chosen ? 0 : -1;
  }
  if (which === 'chat') {
    unread = 0;
    $('unread').hidden = true;
    $('log').scrollTop = $('log').scrollHeight;
  }
}

function toggled(which) {
  const open = $(`open-${which}`).getAttribute('aria-expanded') === 'true';
  openPanel(open ? undefined : which);
  if (!open) (which === 'chat' ? $('text') : $('tab-people')).focus();
}

async function copy() {
  const link = new URL(location.href);
  link.hash = new URLSearchParams({ room: room.name });
  try {
    await navigator.clipboard.writeText(link);
    toast('Link copied');
  } catch {
    prompt('Copy this link', link);
  }
}

media.addEventListener('change', showMedia);
$('join').addEventListener('submit', enter);
$('composer').addEventListener('submit', chat);
$('copy').addEventListener('click', copy);
$('invite').addEventListener('click', copy);
$('leave').addEventListener('click', leave);
$('attach').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', () => {
  for (const file of $('file').files) sendFile(file);
  $('file').value = '';
});
$('share').addEventListener('click', () =>
  media.share().catch(({ name }) => toast(name === 'NotAllowedError' ? 'Sharing was not allowed' : 'This browser cannot share a screen')),
);
for (const button of document.querySelectorAll('[data-toggle]')) button.addEventListener('click', () => media.toggle(button.dataset.toggle));
for (const which of ['chat', 'people']) {
  $(`open-${which}`).addEventListener('click', () => toggled(which));
  $(`tab-${which}`).addEventListener('click', () => openPanel(which));
  $(`tab-${which}`).addEventListener('keydown', ({ key }) => {
    if (!['ArrowLeft', 'ArrowRight'].includes(key)) return;
    const other = which === 'chat' ? 'people' : 'chat';
    openPanel(other);
    $(`tab-${other}`).focus();
  });
}
function closePanel() {
  const which = $('pane-chat').hidden ? 'people' : 'chat';
  openPanel();
  $(`open-${which}`).focus();
}
$('panel-close').addEventListener('click', closePanel);
$('panel').addEventListener('keydown', ({ key }) => key === 'Escape' && closePanel());
$('relay').addEventListener('change', ({ target }) => {
  relay = target.checked;
  for (const call of [...(room?.calls.values() ?? [])]) if (links.has(call)) attach(call.forceRelay(relay));
  toast(relay ? 'Everything goes through the relay now' : 'The shortest way is taken now');
});
$('stage').addEventListener('drop', (event) => {
  event.preventDefault();
  for (const file of event.dataTransfer.files) sendFile(file);
});
$('stage').addEventListener('dragover', (event) => event.preventDefault());
addEventListener('resize', showPeople);
addEventListener('hashchange', () => {
  if (!room) $('room').value = fragment().get('room') ?? $('room').value;
});

$('name').value = saved('turnpike-name');
$('room').value = fragment().get('room') || new URLSearchParams(location.search).get('room') || invent();
if (!navigator.mediaDevices?.getDisplayMedia) $('share').hidden = true;
showMedia();
measure();
media.start();
