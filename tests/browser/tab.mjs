// Browsers whose tabs a test drives: `run` calls a function in the page, `until` waits for one to return something true.
import { fileURLToPath } from 'node:url';
import { Child, withLimit } from '../lab/proc.mjs';

const START_LIMIT = 90_000;
const STEP = 60_000;
const LOOK = 100;
const REMOTE = fileURLToPath(new URL('remote.mjs', import.meta.url));

export class Browser {
  #pending = new Map();
  #serial = 0;

  /** namespace: where it runs; without one, on this host. */
  constructor(lab, kind, { namespace, ...settings } = {}) {
    this.kind = kind;
    this.log = [];
    this.errors = [];
    const name = `${kind}${namespace ? ` in ${namespace.name}` : ''}`;
    const args = [REMOTE, JSON.stringify({ kind, dir: lab.tempDir(kind), ...settings })];
    const options = { name, onLine: (line, stream) => stream === 'stdout' && this.#take(line) };
    this.child = namespace ? namespace.spawn(process.execPath, args, options) : lab.adopt(new Child(name, process.execPath, args, options));
    this.ready = this.child.until((lines) => lines.some((line) => line.includes('"ready"')), START_LIMIT, 'no browser');
    this.child.exited.then((status) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`${name} ended: ${JSON.stringify(status)}\n${this.child.tail()}`));
    });
  }

  #take(line) {
    if (!line.startsWith('{')) return;
    const { id, result, error, event } = JSON.parse(line);
    if (event) {
      this.log.push(JSON.stringify(event));
      if (event.pageError) this.errors.push(event.pageError);
      return;
    }
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) waiting?.reject(new Error(`${this.child.name}: ${error}`));
    else waiting?.resolve(result);
  }

  call(tab, name, ...args) {
    this.#serial += 1;
    const id = this.#serial;
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.child.process.stdin.write(`${JSON.stringify({ id, tab, call: name, args })}\n`);
    return withLimit(answer, STEP, () => `${this.child.name}: ${name} ${String(args[0]).slice(0, 200)}\n${this.log.slice(-20).join('\n')}`);
  }

  serve(script) {
    return this.call(undefined, 'serve', script);
  }

  async open(url, settings) {
    await this.ready;
    return new Tab(this, await this.call(undefined, 'open', { url, ...settings }));
  }

  close() {
    return this.child.stop('SIGTERM', 10_000);
  }
}

class Tab {
  constructor(browser, number) {
    Object.assign(this, { browser, number });
    for (const name of ['click', 'type', 'keys', 'press', 'front', 'offline', 'shot']) this[name] = (...args) => browser.call(number, name, ...args);
  }

  run(code, ...args) {
    return this.browser.call(this.number, 'evaluate', `(${code})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  }

  async until(code, ...args) {
    const start = Date.now();
    for (;;) {
      const found = await this.run(code, ...args);
      if (found) return found;
      if (Date.now() - start > STEP) throw new Error(`${this.browser.child.name}: never true: ${code}\n${this.browser.log.slice(-20).join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  text(selector) {
    return this.run((one) => document.querySelector(one)?.textContent, selector);
  }
}
