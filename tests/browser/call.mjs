// A call between two browsers in two namespaces; SDP and candidates pass through here.
import { fileURLToPath } from 'node:url';
import { withLimit } from '../lab/proc.mjs';

const START_LIMIT = 90_000;
const CALL_LIMIT = 90_000;
const DRIVER = fileURLToPath(new URL('driver.mjs', import.meta.url));

export const ENOUGH = { frames: 20, audio: 50 };

export class Browser {
  constructor(kind, namespace, ca) {
    this.kind = kind;
    this.pending = new Map();
    this.candidates = [];
    this.log = [];
    this.onCandidate = (candidate) => this.candidates.push(candidate);
    const options = { browser: kind, family: namespace.family, dir: namespace.lab.tempDir(kind), ca };
    this.child = namespace.spawn(process.execPath, [DRIVER, JSON.stringify(options)], {
      name: `${kind} in ${namespace.name}`,
      onLine: (line, stream) => stream === 'stdout' && this.#take(line),
    });
    this.ready = this.child.until((lines) => lines.some((line) => line.includes('"ready"')), START_LIMIT, 'no page');
    this.child.exited.then((status) => {
      for (const { reject } of this.pending.values()) reject(new Error(`${this.child.name} ended: ${JSON.stringify(status)}\n${this.child.tail()}`));
    });
  }

  #take(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      return;
    }
    const { id, result, error, event } = message;
    if (event) {
      if (event.candidate !== undefined) this.onCandidate(event.candidate);
      this.log.push(JSON.stringify(event));
      return;
    }
    const waiting = this.pending.get(id);
    this.pending.delete(id);
    if (error) waiting?.reject(new Error(`${this.child.name}: ${error}`));
    else waiting?.resolve(result);
  }

  call(name, ...args) {
    const id = (this.serial = (this.serial ?? 0) + 1);
    const answer = new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
    this.child.process.stdin.write(`${JSON.stringify({ id, call: name, args })}\n`);
    return answer;
  }

  sendCandidatesTo(other) {
    const pass = (candidate) => other.call('addCandidate', candidate).catch((error) => this.log.push(String(error)));
    for (const candidate of this.candidates.splice(0)) pass(candidate);
    this.onCandidate = pass;
  }

  async story() {
    const stats = await withLimit(this.call('stats'), 5000, 'stats').catch(String);
    return `--- ${this.child.name}\n${JSON.stringify(stats)}\n${this.log.slice(-40).join('\n')}`;
  }

  close() {
    return this.child.stop('SIGTERM', 10_000);
  }
}

// Connects `caller` to `callee` and resolves once each has the other's message, sound and picture.
export async function connect(caller, callee, { direct = false } = {}) {
  const whole = async () => {
    await Promise.all([caller.ready, callee.ready]);
    await Promise.all([caller, callee].map((end) => end.call('start', end.settings)));
    const offer = await caller.call('offer');
    const answer = await callee.call('answer', offer);
    caller.sendCandidatesTo(callee);
    await caller.call('accept', answer);
    callee.sendCandidatesTo(caller);
    const messages = await Promise.all([caller, callee].map((end) => end.call('message')));
    const stats = await Promise.all([caller, callee].map((end) => end.call('until', { ...ENOUGH, direct })));
    return { messages, stats };
  };
  try {
    return await withLimit(whole(), CALL_LIMIT, 'the call');
  } catch (error) {
    throw new Error(`${error.message}\n${await caller.story()}\n${await callee.story()}`, { cause: error });
  }
}
