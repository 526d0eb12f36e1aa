// Run by `node --test web/static/`. The module is imported as it is served: without a document it does nothing.
import assert from 'node:assert/strict';
import test from 'node:test';

import { GRACE_MS, LOADING_MS, RETRY_MAX_MS, SILENT_MS, backoff, reader, truth } from './lastbeat.js';

const NOON = Date.parse('2026-01-05T12:03:10Z');
/** A page that was told something a second ago, on a browser whose clock is 90 s ahead of the collector's. */
const AHEAD = 90_000;
const heard = (over) => truth({
  now: NOON + AHEAD + 1000, startedAt: NOON + AHEAD - 60_000, open: true, online: true, heardAt: NOON + AHEAD,
  dataAt: NOON, lostAt: null, retryAt: 0, bye: null, recovering: false, asleep: false, ...over,
});
const later = (seconds) => NOON + AHEAD + seconds * 1000;

test('while it hears, the page is live and names the time of its data', () => {
  const t = heard();
  assert.match(t.words, /^Live, 12:03:10 UTC, \d\d:\d\d local$/);
  assert.deepEqual([t.family, t.stale, t.title], ['live', false, '']);
});

test('a stream that is open but silent is not live', () => {
  const t = heard({ now: NOON + AHEAD + SILENT_MS + 1, retryAt: 0 });
  assert.equal(t.words, 'Collector unreachable since 12:03:10; data as of 12:03:10, retry now');
  assert.deepEqual([t.family, t.stale], ['warn', true]);
});

test('an open stream is believed more than the browser’s idea of its network', () => {
  assert.match(heard({ online: false }).words, /^Live/);
});

test('a collector that is just back is live and says that it does not judge silence yet', () => {
  assert.match(heard({ recovering: true }).words, /^Live, 12:03:10 UTC, .* local; recovering, /);
});

test('loading is said for three seconds at most', () => {
  const none = { open: false, dataAt: null, heardAt: null };
  const early = heard({ ...none, startedAt: later(0), now: later(0) + LOADING_MS });
  assert.deepEqual([early.words, early.family], ['Loading', 'rest']);
  const late = heard({ ...none, startedAt: NOON, now: NOON + LOADING_MS + 1, retryAt: NOON + 5000 });
  assert.equal(late.words, 'Collector unreachable since 12:03:10; retry in 2 s');
});

test('a page with data never says loading', () => {
  for (const open of [true, false]) {
    for (const online of [true, false]) {
      for (const asleep of [true, false]) {
        for (let s = 0; s < 120; s += 1) {
          const t = heard({ open, online, asleep, now: later(s), startedAt: later(0), lostAt: later(s > 3 ? 3 : s) });
          assert.doesNotMatch(t.words, /Loading/);
        }
      }
    }
  }
});

test('a stream that drops has one second to come back', () => {
  const drop = { open: false, lostAt: later(1) };
  assert.match(heard({ ...drop, now: later(1) + GRACE_MS - 1 }).words, /^Live/);
  const t = heard({ ...drop, now: later(1) + GRACE_MS, retryAt: later(6) });
  assert.equal(t.words, 'Collector unreachable since 12:03:11; data as of 12:03:10, retry in 4 s');
  assert.deepEqual([t.family, t.shape, t.stale], ['warn', 'unreachable', true]);
});

test('no network is not blamed on the collector', () => {
  const t = heard({ open: false, online: false, lostAt: later(1) });
  assert.equal(t.words, 'You are offline; data as of 12:03:10');
  assert.deepEqual([t.family, t.stale], ['warn', true]);
});

const restart = { reason: 'restarting', at: NOON, back_by: '2026-01-05T12:03:40Z' };
const stop = { reason: 'stopped', at: NOON + 2000, back_by: null };

test('a goodbye wins over the disconnect that follows', () => {
  const gone = { open: false, lostAt: later(1), retryAt: later(9) };
  const t = heard({ ...gone, bye: restart, now: later(5) });
  assert.equal(t.words, 'lastbeat is restarting, back by 12:03:40; data as of 12:03:10');
  assert.deepEqual([t.family, t.stale, t.title], ['plan', true, 'lastbeat is restarting']);
  const s = heard({ ...gone, bye: stop, now: later(500) });
  assert.equal(s.words, 'lastbeat was stopped at 12:03:12; data as of 12:03:10');
  assert.deepEqual([s.family, s.stale], ['rest', true]);
});

test('a goodbye wins over a network that went away later', () => {
  assert.match(heard({ open: false, online: false, lostAt: later(1), bye: stop }).words, /was stopped/);
});

test('a restart that is overdue is no restart any more', () => {
  const gone = { open: false, lostAt: later(1), bye: restart, retryAt: later(34) };
  assert.match(heard({ ...gone, now: later(30) }).words, /is restarting/);
  assert.equal(
    heard({ ...gone, now: later(31) }).words,
    'Collector unreachable since 12:03:11; data as of 12:03:10, retry in 3 s',
  );
});

test('a stream that opens again clears the goodbye', () => {
  assert.match(heard({ bye: null, open: true }).words, /^Live/);
});

test('a hidden tab is paused, and blames nobody however long it is hidden', () => {
  for (const s of [0, 1, 6, 3600, 86_400]) {
    for (const online of [true, false]) {
      const t = heard({ open: false, online, asleep: true, now: later(s) });
      assert.equal(t.words, 'Paused while hidden; as of 12:03:10');
      assert.deepEqual([t.family, t.shape, t.stale, t.title], ['calm', 'paused', true, 'As of 12:03']);
    }
  }
});

test('a hidden tab still knows that the collector said goodbye', () => {
  assert.match(heard({ open: false, asleep: true, bye: stop, now: later(600) }).words, /was stopped/);
});

test('a tab that comes back shows the past as the past, for three seconds', () => {
  const back = { open: false, asleep: true, lostAt: later(600) };
  const t = heard({ ...back, now: later(601) });
  assert.deepEqual([t.words, t.stale, t.title], ['As of 12:03:10 UTC', true, 'As of 12:03']);
  assert.match(heard({ ...back, now: later(604) }).words, /^Collector unreachable since 12:13:10; data as of 12:03:10/);
});

test('nothing that is stale is of the live family, and nothing else is', () => {
  for (const over of [{}, { open: false, lostAt: later(1), now: later(9) }, { open: false, bye: stop },
    { open: false, bye: restart }, { open: false, online: false }, { open: false, dataAt: null }]) {
    const t = heard(over);
    assert.equal(t.family === 'live', !t.stale);
    assert.equal(t.shape === 'live', !t.stale);
  }
});

test('events are read in pieces of any size, comments and all', () => {
  const text = ': ping\n\nevent: snapshot\nid: 1.1\ndata: {"at":"x","n":1}\n\nevent:bye\r\ndata:{"n":2}\r\n\r\n';
  for (let size = 1; size <= text.length; size += 1) {
    const seen = [];
    const read = reader((event, data) => seen.push([event, data.n]));
    for (let i = 0; i < text.length; i += size) read(text.slice(i, i + size));
    assert.deepEqual(seen, [['snapshot', 1], ['bye', 2]], `pieces of ${size}`);
  }
});

test('retries go on for ever and never wait longer than four seconds', () => {
  for (let n = 0; n < 5000; n += 1) {
    const wait = backoff(n, 1);
    assert.ok(wait > 0 && wait <= RETRY_MAX_MS, `try ${n} waits ${wait}`);
    assert.ok(backoff(n, 0) <= wait);
  }
});
