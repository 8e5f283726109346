// One end of a call. The driver calls `lab.*`; what happens by itself waits in `lab.next()`.
const events = [];
let wake = () => {};
let pc;
let channel;
let received;
const greeting = (from) => `hello from ${from}`;

function emit(event) {
  events.push(event);
  wake();
}

async function next() {
  while (events.length === 0) await new Promise((resolve) => (wake = resolve));
  return events.splice(0);
}

function media() {
  const canvas = document.getElementById('picture');
  const context = canvas.getContext('2d');
  let frame = 0;
  setInterval(() => {
    frame += 1;
    context.fillStyle = `hsl(${(frame * 11) % 360} 80% 50%)`;
    context.fillRect(0, 0, 320, 240);
    context.fillStyle = 'black';
    context.fillText(`frame ${frame}`, 20 + (frame % 200), 120);
  }, 50);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const sink = audio.createMediaStreamDestination();
  tone.connect(sink);
  tone.start();
  return [...canvas.captureStream(20).getVideoTracks(), ...sink.stream.getAudioTracks()];
}

function start({ name, iceServers, iceTransportPolicy }) {
  pc = new RTCPeerConnection({ iceServers, iceTransportPolicy, bundlePolicy: 'max-bundle' });
  received = new Promise((resolve) => {
    const greet = () => {
      channel.send(greeting(name));
      emit({ greeted: channel.readyState });
    };
    const use = (opened, { first }) => {
      channel = opened;
      if (first) channel.onopen = greet;
      // Chromium may lose what is sent from within `datachannel`, open as the channel then says it is.
      channel.onmessage = ({ data }) => {
        emit({ message: data });
        if (!first) greet();
        resolve(data);
      };
      channel.onclose = () => emit({ channel: 'closed' });
      channel.onerror = ({ error }) => emit({ channelError: String(error) });
    };
    pc.ondatachannel = (event) => use(event.channel, { first: false });
    start.use = use;
  });
  pc.onicecandidate = ({ candidate }) => emit({ candidate: candidate?.toJSON() ?? null });
  pc.onicecandidateerror = ({ url, errorCode, errorText }) => emit({ candidateError: { url, errorCode, errorText } });
  pc.onconnectionstatechange = () => emit({ state: pc.connectionState });
  const remote = new MediaStream();
  pc.ontrack = ({ track }) => {
    remote.addTrack(track);
    document.getElementById('remote').srcObject = remote;
  };
  for (const track of media()) pc.addTrack(track);
}

async function offer() {
  start.use(pc.createDataChannel('chat'), { first: true });
  await pc.setLocalDescription();
  return pc.localDescription.toJSON();
}

async function answer(description) {
  await pc.setRemoteDescription(description);
  await pc.setLocalDescription();
  return pc.localDescription.toJSON();
}

function accept(description) {
  return pc.setRemoteDescription(description);
}

async function addCandidate(candidate) {
  await pc.addIceCandidate(candidate ?? undefined);
}

function message() {
  return received;
}

async function stats() {
  const report = [...(await pc.getStats()).values()];
  const inbound = (kind) => report.find((entry) => entry.type === 'inbound-rtp' && entry.kind === kind) ?? {};
  const transport = report.find((entry) => entry.type === 'transport' && entry.selectedCandidatePairId);
  const pair = transport
    ? report.find((entry) => entry.id === transport.selectedCandidatePairId)
    : report.find((entry) => entry.type === 'candidate-pair' && entry.selected);
  const candidate = (id) => {
    const entry = report.find((one) => one.id === id);
    if (!entry) return undefined;
    const { candidateType, protocol, relayProtocol, url, address, port } = entry;
    return { candidateType, protocol, relayProtocol, url, address, port };
  };
  return {
    connectionState: pc.connectionState,
    channel: channel?.readyState,
    sctp: pc.sctp?.state,
    channelMessages: report.filter((entry) => entry.type === 'data-channel').map(({ state, messagesSent, messagesReceived }) => ({ state, messagesSent, messagesReceived })),
    framesDecoded: inbound('video').framesDecoded ?? 0,
    audioPackets: inbound('audio').packetsReceived ?? 0,
    local: pair && candidate(pair.localCandidateId),
    remote: pair && candidate(pair.remoteCandidateId),
    pairState: pair?.state,
  };
}

// There is no event for a decoded frame or for Firefox's choice of a pair.
async function until(target) {
  for (;;) {
    const now = await stats();
    if (target.frames !== undefined && now.framesDecoded >= target.frames && now.audioPackets >= target.audio && now.local && now.remote) {
      const types = [now.local.candidateType, now.remote.candidateType];
      if (!target.direct || !types.includes('relay')) return now;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

window.lab = { next, start, offer, answer, accept, addCandidate, message, stats, until };
