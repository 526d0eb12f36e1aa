// A browser at the end of a pipe: one order a line comes in as JSON, one answer a line goes out.
// It ends with its standard input, so a test that dies leaves no browser behind.

import { createInterface } from 'node:readline';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

const executablePath = process.env.CHROMIUM
  ?? process.env.PATH.split(delimiter).map((folder) => join(folder, 'chromium')).find((path) => existsSync(path));
const shots = process.env.SHOTS ?? '.';
const pages = new Map();
let lastPage = 0;

const answer = (reply) => process.stdout.write(`${JSON.stringify(reply)}\n`);

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});

// Runs in the page from its first moment: the longest stretch in which it says "Loading".
const watchLoading = () => {
  const seen = { since: null, longest: 0 };
  const look = () => {
    const says = document.body?.innerText?.includes('Loading') ?? false;
    const now = performance.now();
    if (says && seen.since === null) seen.since = now;
    if (says) seen.longest = Math.max(seen.longest, now - seen.since);
    if (!says) seen.since = null;
  };
  setInterval(look, 50);
  globalThis.longestLoading = () => { look(); return seen.longest; };
};

const verbs = {
  async open({ url, script = true }) {
    const context = await browser.newContext({ javaScriptEnabled: script, viewport: { width: 1280, height: 900 } });
    const page = await context.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      // A collector that is away is what these tests are about; the browser logs each failed request.
      const network = /Failed to load resource|net::ERR_/.test(message.text());
      if (message.type() === 'error' && !network) complaints.push(message.text());
    });
    if (script) await page.addInitScript(watchLoading);
    // Not 'load': a page that keeps a stream open is there long before it is quiet.
    await page.goto(url, { waitUntil: 'domcontentloaded', timeout: 15_000 });
    lastPage += 1;
    pages.set(lastPage, { page, context, complaints });
    return lastPage;
  },

  async wait({ page, selector, text, limit_ms }) {
    const end = Date.now() + limit_ms;
    let texts = [];
    for (;;) {
      texts = await textsOf(pages.get(page).page, selector);
      const found = texts.find((each) => each.includes(text));
      if (found !== undefined) return found;
      if (Date.now() >= end) break;
      await pages.get(page).page.waitForTimeout(20);
    }
    const whole = await textsOf(pages.get(page).page, 'body');
    await pages.get(page).page.screenshot({ path: join(shots, `missed-${process.pid}-${page}.png`) });
    throw new Error(`no ${selector} said ${JSON.stringify(text)} in ${limit_ms} ms, but ${JSON.stringify(texts)}; the page:\n${whole}`);
  },

  texts: ({ page, selector }) => textsOf(pages.get(page).page, selector),
  loading: ({ page }) => pages.get(page).page.evaluate(() => globalThis.longestLoading()),
  complaints: ({ page }) => pages.get(page).complaints,
  offline: ({ page, on }) => pages.get(page).context.setOffline(on),
  picture: ({ page, name }) => pages.get(page).page.screenshot({ path: join(shots, `${name}.png`), fullPage: true }),
};

// Rows are replaced while they are read: one evaluation sees one state.
const textsOf = (page, selector) =>
  page.locator(selector).evaluateAll((all) => all.map((each) => each.innerText ?? each.textContent ?? ''));

answer({ id: 0, value: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, ...order } = JSON.parse(line);
  try {
    const value = (await verbs[op](order)) ?? null;
    answer({ id, value: op === 'picture' ? null : value });
  } catch (error) {
    answer({ id, error: String(error?.message ?? error) });
  }
}
await browser.close();
