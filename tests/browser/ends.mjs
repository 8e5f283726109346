// What runs in a page that holds one end of a session; `end` stays there between the calls of a test.

/** Joins `name`, keeps what comes, and accepts every call. */
export async function enter(name) {
  const { connect } = await import('/client.js');
  const session = connect();
  const room = session.room(name);
  const end = { session, room, heard: [], sent: [], events: [], times: {}, glares: 0, offered: 0 };
  globalThis.end = end;
  for (const type of ['open', 'resumed', 'gap', 'reset']) {
    session.on(type, () => {
      end.events.push(type);
      end.times[type] = performance.now();
    });
  }
  addEventListener('online', () => (end.times.online = performance.now()));
  room.on('message', ({ data }) => end.heard.push(data));
  end.take = (call) => {
    call.on('glare', () => (end.glares += 1));
    call.data.addEventListener('message', ({ data }) => end.got.push(data));
    end.call = call;
  };
  room.on('call', (call) => {
    end.got = [];
    end.take(call.accept());
  });
  await room.join();
  return session.peer;
}

/** Calls the other at a moment that both agreed on. */
export async function callAt(id, at) {
  await new Promise((resolve) => setTimeout(resolve, at - Date.now()));
  const { end } = globalThis;
  const [peer] = end.room.peers.values();
  if (end.room.calls.has(`${peer.peer}/${id}`)) return false;
  end.got = [];
  end.take(end.room.call(peer, undefined, { id }));
  return true;
}

export function connected(id) {
  const { call, room } = globalThis.end;
  if (call?.id !== id || call.state !== 'connected' || call.data.readyState !== 'open') return undefined;
  return { calls: room.calls.size, one: [...room.calls.values()][0] === call, signaling: call.pc.signalingState };
}

export function greet(id) {
  globalThis.end.call.data.send(id);
}

export function got() {
  return globalThis.end.got.length > 0 && globalThis.end.got;
}

export function count(every) {
  const { end } = globalThis;
  let number = 0;
  end.timer = setInterval(() => {
    number += 1;
    end.sent.push(end.room.send(number).catch((error) => error.code));
  }, every);
}

export async function stopCounting() {
  const { end } = globalThis;
  clearInterval(end.timer);
  const answers = await Promise.all(end.sent);
  return { sent: answers.length, answers: [...new Set(answers)] };
}

export function heard(least) {
  const { end } = globalThis;
  return end.heard.length >= least && { heard: end.heard, events: end.events };
}

export function resumed() {
  return globalThis.end.events.filter((type) => type === 'resumed').length;
}
