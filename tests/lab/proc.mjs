// Child processes whose output is awaited line by line.
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export function run(file, args, options = {}) {
  try {
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...options });
  } catch (error) {
    throw new Error(`${file} ${args.join(' ')}: ${error.stderr || error.message}`, { cause: error });
  }
}

export function withLimit(promise, ms, what) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${typeof what === 'function' ? what() : what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

export class Child {
  constructor(name, file, args, { env, cwd, onLine } = {}) {
    this.name = name;
    this.lines = [];
    this.waiters = new Set();
    this.onLine = onLine;
    this.process = spawn(file, args, { env: env ?? process.env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stdin.on('error', () => {});
    const ended = ['stdout', 'stderr'].map(
      (stream) =>
        new Promise((resolve) => {
          const reader = createInterface({ input: this.process[stream] });
          reader.on('line', (line) => this.#take(line, stream));
          reader.on('close', resolve);
        }),
    );
    this.exited = new Promise((resolve) => {
      this.process.on('error', (error) => resolve({ code: null, signal: null, error }));
      this.process.on('exit', (code, signal) => Promise.all(ended).then(() => resolve({ code, signal })));
    }).then((status) => {
      this.status = status;
      for (const waiter of this.waiters) waiter.reject(new Error(`${this.name} ended (${JSON.stringify(status)}):\n${this.tail()}`));
      return status;
    });
  }

  get pid() {
    return this.process.pid;
  }

  #take(line, stream) {
    this.lines.push(line);
    if (this.lines.length > 5000) this.lines.splice(0, 1000);
    this.onLine?.(line, stream);
    for (const waiter of this.waiters) waiter.look();
  }

  tail(count = 40) {
    return this.lines.slice(-count).join('\n');
  }

  // Resolves with what `find` returns for the lines so far, as soon as that is truthy.
  until(find, ms, what) {
    let waiter;
    const found = new Promise((resolve, reject) => {
      const look = () => {
        const value = find(this.lines);
        if (value) resolve(value);
      };
      waiter = { look, reject };
      this.waiters.add(waiter);
      look();
      if (this.status) reject(new Error(`${this.name} ended (${JSON.stringify(this.status)}):\n${this.tail()}`));
    });
    return withLimit(found, ms, () => `${this.name}: ${what}\n${this.tail()}`).finally(() => this.waiters.delete(waiter));
  }

  assertEndedCleanly() {
    const { code, signal } = this.status;
    if (!this.asked || code !== 0) throw new Error(`${this.name} ${!this.asked ? 'ended by itself' : 'did not end cleanly'}: ${JSON.stringify({ code, signal })}\n${this.tail()}`);
  }

  async stop(signal = 'SIGTERM', ms = 5000) {
    if (!this.status) {
      this.asked = true;
      this.process.kill(signal);
      await withLimit(this.exited, ms, `${this.name} after ${signal}`).catch(() => {
        this.process.kill('SIGKILL');
        return this.exited;
      });
    }
    return this.status;
  }
}
