// The demo page by itself, as `turnpike serve --demo` serves it on this host: what it does with no camera, a keyboard, a small screen.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Lab } from '../lab/lab.mjs';
import { startServer } from '../lab/server.mjs';
import { chat, enter, frames, stats } from './demo.mjs';
import { FULL } from './scenario.mjs';
import { Browser } from './tab.mjs';

const LIMIT = { timeout: 120_000 };
const KINDS = FULL ? ['chromium', 'firefox'] : ['chromium'];
const PHONE = { width: 375, height: 812 };

const SITE = 'http://localhost:8080';

let lab;
let laptop;
let rooms = 0;
const page = () => `${SITE}/demo/#room=room-${(rooms += 1)}`;

before(async () => {
  lab = new Lab({ v4: '10.9.0' });
  laptop = lab.publicHost('laptop', 30);
  const server = await startServer({ namespace: laptop, lab, realm: undefined, users: [], flags: ['--demo'] });
  assert.equal(await server.httpPort(), 8080);
}, LIMIT);

after(() => lab.close());

async function started(t, kind, settings) {
  const browser = new Browser(lab, kind, { namespace: laptop, ...settings });
  t.after(() => browser.close());
  await browser.ready;
  return browser;
}

for (const kind of KINDS) {
  test(`two tabs of ${kind} on localhost meet, and what one hides the other does not see`, LIMIT, async (t) => {
    const browser = await started(t, kind);
    const url = page();
    const ann = await enter(browser, url, 'Ann');
    assert.ok(await ann.run(() => !document.querySelector('#alone').hidden));
    const bo = await enter(browser, url, 'Bo');
    await Promise.all([frames(ann), frames(bo)]);
    await ann.front();
    await ann.until(() => document.querySelector('.tile:not(.mine) .name').textContent === 'Bo');
    await chat(ann, bo, 'Hello');
    await ann.click('.controls [data-toggle="video"]');
    await bo.until(() => document.querySelector('.tile:not(.mine)').dataset.video === 'false');
    await ann.click('.controls [data-toggle="audio"]');
    await bo.until(() => document.querySelector('.tile:not(.mine)').dataset.audio === 'false');
    await ann.click('.controls [data-toggle="video"]');
    await bo.until(() => document.querySelector('.tile:not(.mine)').dataset.video === 'true');
    await frames(bo, (await frames(bo)) + 20);
    assert.notEqual((await stats(ann)).path, 'relay');

    await ann.click('#open-people');
    await ann.click('.switch');
    await ann.until(async () => (await [...globalThis.turnpike.room.calls.values()][0]?.stats())?.path === 'relay');
    await ann.until(() => /Relayed/.test(document.querySelector('#people').textContent));
    await ann.until(() => /Round trip\d+ ms/.test(document.querySelector('#people').textContent));
    await frames(bo);

    const feed = await browser.open(url.replace('/demo/', '/demo/feed.html'));
    await feed.until(() => document.querySelector('#status').textContent === 'Live');
    await bo.front();
    await chat(bo, ann, 'for the feed');
    await feed.until(() => /Bo sent chat.*for the feed/.test(document.querySelector('#events').textContent));
    assert.deepEqual(await feed.run(() => [...document.querySelectorAll('#people li')].map(({ textContent }) => textContent)), ['Ann', 'Bo']);
    await bo.click('#leave');
    await feed.until(() => /Bo left/.test(document.querySelector('#events').textContent));
    assert.deepEqual(browser.errors, []);
  });

  for (const [devices, said] of [['none', /not found|cannot be used/], ['refused', /refused/]]) {
    test(`${kind}, camera ${devices === 'none' ? 'missing' : devices}: one can join, see and talk`, LIMIT, async (t) => {
      const [without, other] = await Promise.all([started(t, kind, { devices }), started(t, kind)]);
      const url = page();
      const ann = await enter(without, url, 'Ann');
      assert.match(await ann.text('#media-note'), said);
      const bo = await enter(other, url, 'Bo');
      await frames(ann);
      await bo.until(() => document.querySelector('.tile:not(.mine)').dataset.video === 'false');
      await chat(ann, bo, 'I see you');
      assert.deepEqual([...without.errors, ...other.errors], []);
    });
  }

  test(`${kind}: joined, chatted and left by keyboard alone`, LIMIT, async (t) => {
    const browser = await started(t, kind);
    const url = page();
    const bo = await enter(browser, url, 'Bo');
    const tab = await browser.open(url);
    const focus = () => tab.run(() => document.activeElement.id || document.activeElement.dataset.toggle || document.activeElement.tagName);
    const reach = async (id) => {
      const passed = [];
      while ((await focus()) !== id) {
        passed.push(await focus());
        assert.ok(passed.length < 30, `${id} not reached: ${passed.join(' ')}`);
        await tab.press('Tab');
      }
      return passed;
    };
    await reach('name');
    await tab.run(() => (document.activeElement.value = ''));
    await tab.keys('Keyboard');
    await tab.press('Enter');
    await tab.until(() => document.body.dataset.view === 'call');
    assert.equal(await focus(), 'room-title');
    await reach('text');
    await tab.keys('typed');
    await tab.press('Enter');
    await bo.until(() => /typed/.test(document.querySelector('#log').textContent));
    await tab.press('Escape');
    assert.equal(await focus(), 'open-chat');
    const outlined = await tab.run(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outlined, 'none');
    await reach('leave');
    await tab.press('Enter');
    await tab.until(() => document.body.dataset.view === 'lobby');
    assert.equal(await focus(), 'enter');
    await bo.until(() => /Keyboard left/.test(document.querySelector('#log').textContent));
  });

  for (const scheme of ['light', 'dark']) {
    test(`${kind}, ${scheme}, on a phone: nothing is cut off, all can be read and touched`, LIMIT, async (t) => {
      const browser = await started(t, kind, { scheme });
      const features = kind === 'chromium' ? [{ name: 'prefers-color-scheme', value: scheme }, { name: 'prefers-reduced-motion', value: 'reduce' }] : undefined;
      const url = page();
      const looks = { ...PHONE, features };
      const bo = await enter(browser, url, 'Bo with a name that is much too long for it', looks);
      const ann = await browser.open(url, looks);
      const fits = () => {
        const width = document.documentElement.clientWidth;
        const wide = [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility() && !node.closest('.visually-hidden, video') && node.getBoundingClientRect().right > width + 1 && !node.closest('.label'));
        return { scrolls: document.documentElement.scrollWidth > width, wide: wide.map((node) => node.id || node.className || node.tagName) };
      };
      const kept = { scrolls: false, wide: [] };
      assert.deepEqual(await ann.run(fits), kept, 'lobby');
      await ann.run(() => document.querySelector('#join').requestSubmit());
      await ann.until(() => document.body.dataset.view === 'call');
      await frames(ann);
      assert.deepEqual(await ann.run(fits), kept, 'call');
      await bo.run((text) => globalThis.turnpike.room.send({ text }, { event: 'chat' }), 'wide'.repeat(60));
      for (const which of ['chat', 'people']) {
        await ann.click(`#open-${which}`);
        await ann.until((shown) => !document.querySelector(`#pane-${shown}`).hidden, which);
        assert.deepEqual(await ann.run(fits), kept, which);
      }
      const small = await ann.run(() =>
        [...document.querySelectorAll('button, input')]
          .filter((node) => node.checkVisibility({ visibilityProperty: true }) && !node.closest('.visually-hidden') && !node.matches('.visually-hidden, .switch input'))
          .map((node) => [node.id || node.className, node.getBoundingClientRect()])
          .filter(([, { width, height }]) => Math.min(width, height) < 40)
          .map(([name]) => name),
      );
      assert.deepEqual(small, []);
      const contrasts = await ann.run(() => {
        const luminance = (color) => {
          const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
          const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const style = getComputedStyle(document.documentElement);
        const ratio = (one, other) => {
          const [low, high] = [one, other].map((name) => luminance(style.getPropertyValue(`--${name}`))).sort((a, b) => a - b);
          return (high + 0.05) / (low + 0.05);
        };
        const pairs = [['text', 'ground'], ['text', 'surface'], ['muted', 'ground'], ['muted', 'surface'], ['accent', 'surface'], ['on-accent', 'accent'], ['on-danger', 'danger'], ['danger', 'surface'], ['good', 'surface'], ['good', 'accent-soft'], ['muted', 'accent-soft'], ['text', 'accent-soft']];
        return { dark: luminance(style.getPropertyValue('--ground')) < 0.2, low: pairs.filter(([one, other]) => ratio(one, other) < 4.5) };
      });
      assert.deepEqual(contrasts, { dark: scheme === 'dark', low: [] });
      if (features) assert.equal(await ann.run(() => getComputedStyle(document.querySelector('#toast')).transitionDuration.replace(/, 0s/g, '')), '0s');
      assert.deepEqual(browser.errors, []);
    });
  }
}
