// Starts a browser with a profile, a certificate authority and devices of its own.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

// A camera and a microphone that are there, are not, or are there and refused.
const CHROMIUM_DEVICES = {
  fake: ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'],
  none: ['--use-fake-ui-for-media-stream'],
  refused: ['--deny-permission-prompts', '--use-fake-device-for-media-stream'],
};
const FIREFOX_DEVICES = {
  fake: { 'media.navigator.streams.fake': true, 'media.navigator.permission.disabled': true },
  none: { 'media.navigator.permission.disabled': true },
  refused: { 'media.navigator.streams.fake': true, 'permissions.default.camera': 2, 'permissions.default.microphone': 2 },
};

/** devices: 'fake' | 'none' | 'refused'. */
export function launch(kind, { dir, ca, devices = 'fake', scheme = 'light' }) {
  return { chromium: launchChromium, firefox: launchFirefox }[kind]({ dir, ca, devices, scheme });
}

function trust(database, ca) {
  mkdirSync(database, { recursive: true });
  execFileSync('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
  execFileSync('certutil', ['-A', '-d', `sql:${database}`, '-n', 'lab', '-t', 'C,,', '-i', ca]);
}

function launchChromium({ dir, ca, devices }) {
  if (ca) trust(join(dir, '.pki/nssdb'), ca);
  return puppeteer.launch({
    browser: 'chrome',
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    pipe: true,
    userDataDir: join(dir, 'profile'),
    env: { ...process.env, HOME: dir, XDG_CONFIG_HOME: join(dir, '.config'), XDG_CACHE_HOME: join(dir, '.cache') },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-default-apps',
      '--disable-extensions',
      '--disable-domain-reliability',
      '--no-pings',
      '--autoplay-policy=no-user-gesture-required',
      ...CHROMIUM_DEVICES[devices],
    ],
  });
}

function launchFirefox({ dir, ca, devices, scheme }) {
  const profile = join(dir, 'profile');
  if (ca) trust(profile, ca);
  return puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    userDataDir: profile,
    env: { ...process.env, HOME: dir, MOZ_DISABLE_CONTENT_SANDBOX: '1', MOZ_CRASHREPORTER_DISABLE: '1' },
    extraPrefsFirefox: {
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      ...FIREFOX_DEVICES[devices],
      // WebDriver BiDi cannot set it while it runs: 0 dark, 1 light.
      'layout.css.prefers-color-scheme.content-override': scheme === 'dark' ? 0 : 1,
      'media.gmp-manager.updateEnabled': false,
      'media.gmp-gmpopenh264.enabled': false,
      'app.normandy.enabled': false,
      'app.update.enabled': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'security.enterprise_roots.enabled': false,
    },
  });
}
