// What people do in the demo page.
import assert from 'node:assert/strict';

export async function enter(browser, url, name, settings) {
  const tab = await browser.open(url, settings);
  await tab.until(() => document.querySelector('#media-note').textContent || document.querySelector('#preview-off').hidden);
  await tab.run(() => (document.querySelector('#name').value = ''));
  await tab.type('#name', name);
  await tab.click('#enter');
  await tab.until(() => document.body.dataset.view === 'call');
  return tab;
}

/** Frames of the other's picture that this end has decoded, once there are at least so many. */
export function frames(tab, least = 20) {
  return tab.until(async (wanted) => {
    const [call] = globalThis.turnpike.room.calls.values();
    if (!call?.pc) return undefined;
    const inbound = [...(await call.pc.getStats()).values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return inbound?.framesDecoded >= wanted && inbound.framesDecoded;
  }, least);
}

export async function chat(from, to, text) {
  await from.type('#text', text);
  await from.press('Enter');
  await to.until((wanted) => [...document.querySelectorAll('#log li:not(.mine) .bubble')].some((node) => node.textContent === wanted), text);
}

export function stats(tab) {
  return tab.until(async () => {
    const [call] = globalThis.turnpike.room.calls.values();
    const found = await call?.stats();
    return found?.path && found;
  });
}

/** Shares a screen that is drawn here: there is none on a machine without a display. */
export async function share(from, to) {
  await from.run(() => {
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 400, height: 200 });
      const context = canvas.getContext('2d');
      let shade = 0;
      setInterval(() => {
        context.fillStyle = `hsl(${(shade += 9)} 80% 50%)`;
        context.fillRect(0, 0, 400, 200);
      }, 50);
      return canvas.captureStream(20);
    };
  });
  await from.click('#share');
  await to.until(() => {
    const tile = document.querySelector('.tile:not(.mine)');
    const { videoWidth, videoHeight } = tile.querySelector('video');
    return tile.dataset.screen === 'true' && Math.abs(videoWidth / videoHeight - 2) < 0.05;
  });
  await from.click('#share');
  await to.until(() => document.querySelector('.tile:not(.mine)').dataset.screen === 'false');
}

export async function sendFile(from, to, size) {
  const sha256 = await from.run(async (length) => {
    const bytes = new Uint32Array(length / 4);
    for (let i = 0, x = 1; i < bytes.length; i += 1) bytes[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    const files = new DataTransfer();
    files.items.add(new File([bytes], 'large.bin'));
    const input = document.querySelector('#file');
    input.files = files.files;
    input.dispatchEvent(new Event('change'));
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  }, size);
  const shown = await to.until(() => document.querySelector('#log li:not(.mine) .file [data-sha256]')?.dataset.sha256);
  assert.equal(shown, sha256);
  assert.match(await to.text('#log li:not(.mine) .file .meta'), /complete: the hash matches/);
}
