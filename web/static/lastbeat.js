// Keeps a page of lastbeat true while it is open: hears the collector, puts the pieces it sends in place, and says
// in the bar how much of what is shown can still be believed. Importing it without a document does nothing.

/** Not heard for this long, the page no longer says "Live": the stream speaks at least once a second. */
export const SILENT_MS = 5000;
/** A dropped stream has this long to come back before anything is said. */
export const GRACE_MS = 1000;
/** A page that has no data says "Loading" for this long at most. */
export const LOADING_MS = 3000;
/** The longest pause between two tries. */
export const RETRY_MAX_MS = 4000;

const pad = (n) => String(n).padStart(2, '0');
const utc = (ms) => new Date(ms).toISOString().slice(11, 19);
const local = (ms) => { const d = new Date(ms); return `${pad(d.getHours())}:${pad(d.getMinutes())}`; };

/**
 * What the page may say of itself. Pure: all it needs is in its argument.
 *
 * `now`, `startedAt`, `heardAt`, `lostAt`, `retryAt` are on the browser's clock, `dataAt` and the times of `bye` on the
 * collector's, all in ms. `open` says whether a stream is open, `online` what the browser thinks of its network.
 * `bye` is `{reason, at, back_by}` once the collector has said it, and null again with the next stream that opens.
 * `asleep` from when the tab is hidden, which closes the stream on purpose, until it hears again; `lostAt` is null
 * while it is hidden.
 */
export function truth({ now, startedAt, open, online, heardAt, dataAt, lostAt, retryAt, bye, recovering, asleep }) {
  const loading = dataAt == null;
  const asOf = loading ? '' : `; data as of ${utc(dataAt)}`;
  const away = (words, family, shape, title) => ({ words, family, shape, title, stale: true });

  if (open && !loading && now - heardAt <= SILENT_MS) {
    const tail = recovering ? '; recovering, silence is not judged yet' : '';
    return {
      words: `Live, ${utc(dataAt)} UTC, ${local(dataAt)} local${tail}`,
      family: 'live', shape: 'live', title: '', stale: false,
    };
  }
  if (bye && !open) {
    const due = bye.back_by == null ? null : Date.parse(bye.back_by);
    // The collector's clock is read through the last moment both clocks were seen together.
    const there = loading ? now : dataAt + (now - heardAt);
    if (bye.reason === 'restarting' && !(due < there)) {
      const by = due ? `, back by ${utc(due)}` : '';
      return away(`lastbeat is restarting${by}${asOf}`, 'plan', 'restarting', 'lastbeat is restarting');
    }
    if (bye.reason !== 'restarting') {
      return away(`lastbeat was stopped at ${utc(bye.at)}${asOf}`, 'rest', 'stopped', 'lastbeat was stopped');
    }
  }
  const past = loading ? '' : `As of ${utc(dataAt).slice(0, 5)}`;
  if (asleep && !loading && lostAt == null) {
    return away(`Paused while hidden; as of ${utc(dataAt)}`, 'calm', 'paused', past);
  }
  if (!online) return away(`You are offline${asOf}`, 'warn', 'unreachable', 'Offline');
  if (loading && now - startedAt <= LOADING_MS) {
    return { words: 'Loading', family: 'rest', shape: 'starting', title: '', stale: true };
  }
  // Just back in a visible tab, and what is shown is from before: nothing is wrong yet, nothing is live either.
  if (asleep && !loading && now - lostAt <= LOADING_MS) {
    return away(`As of ${utc(dataAt)} UTC`, 'calm', 'late', past);
  }
  if (!loading && lostAt != null && now - lostAt < GRACE_MS && now - heardAt <= SILENT_MS) {
    return {
      words: `Live, ${utc(dataAt)} UTC, ${local(dataAt)} local`,
      family: 'live', shape: 'live', title: '', stale: false,
    };
  }
  const wait = Math.ceil((retryAt - now) / 1000);
  const retry = wait > 0 ? `retry in ${wait} s` : 'retry now';
  const since = loading ? startedAt : dataAt + Math.max(0, (lostAt ?? heardAt) - heardAt);
  const known = loading ? `; ${retry}` : `${asOf}, ${retry}`;
  return away(`Collector unreachable since ${utc(since)}${known}`, 'warn', 'unreachable', 'Unreachable');
}

/** Reads a stream of server-sent events; returns a function that takes text as it comes, in pieces of any size. */
export function reader(take) {
  let rest = '';
  return (text) => {
    const blocks = (rest + text).replaceAll('\r\n', '\n').split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      let event = 'message';
      const data = [];
      for (const line of block.split('\n')) {
        if (line.startsWith('event:')) event = line.slice(6).trim();
        if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      }
      if (data.length) take(event, JSON.parse(data.join('\n')));
    }
  };
}

/** How long to wait before try number `n` (from 0), with a quarter of it left to chance. */
export const backoff = (n, chance) => Math.min(RETRY_MAX_MS, 250 * 2 ** Math.min(n, 8)) * (0.75 + chance / 4);

function live(main) {
  const $ = (id) => document.getElementById(id);
  const bar = $('bar'), words = $('self-words'), shape = $('self-shape'), retry = $('retry'), news = $('news');
  const box = document.createElement('template');
  const now = () => Date.now();
  const state = {
    startedAt: now(), open: true, online: true, heardAt: now(), dataAt: Date.parse(main.dataset.at), lostAt: null,
    retryAt: 0, bye: null, recovering: main.dataset.state === 'recovering', asleep: false,
  };
  const sentence = () => $('say').textContent.trim();
  let title = document.title, spoken = sentence(), order = {}, held = false;
  let stream = null, wake = () => {}, openedAt = 0, tries = 0;

  function times(root) {
    for (const t of root.querySelectorAll('time[datetime]:not([title])')) {
      t.title = `${new Date(t.dateTime).toLocaleString()} local`;
    }
  }

  function put(id, html, fresh) {
    box.innerHTML = html;
    const next = box.content.firstElementChild, old = $(id);
    if (!next) return;
    times(box.content);
    if (!old) return next;
    const focus = old.contains(document.activeElement) && document.activeElement.getAttribute('href');
    if (fresh && next.matches('tr')) next.classList.add('changed');
    old.replaceWith(next);
    if (focus) next.querySelector(`[href="${CSS.escape(focus)}"]`)?.focus();
  }

  const busy = () => $('workers').matches(':hover') || $('workers').contains(document.activeElement);

  // Rows are moved at once, unless a reader's pointer or focus is among them: then they wait to be asked.
  function sort(made) {
    const list = $('workers');
    if (!list) return;
    const wanted = new Set(Object.values(order).flat());
    for (const row of list.querySelectorAll('tr[data-row]')) if (!wanted.has(row.id)) row.remove();
    let moves = 0;
    for (const [id, ids] of Object.entries(order)) {
      const body = $(id), mine = new Set(ids);
      let at = body.firstElementChild.nextElementSibling;
      for (const each of ids) {
        while (at && !mine.has(at.id)) at = at.nextElementSibling;
        const row = $(each) ?? made.get(each);
        if (row === at) at = at?.nextElementSibling;
        else if (row?.isConnected && busy()) moves += 1;
        else if (row) body.insertBefore(row, at ?? null);
      }
    }
    for (const id of Object.keys(order)) $(id).hidden = !$(id).querySelector('tr[data-row]');
    list.hidden = !wanted.size;
    held = moves > 0;
    $('held').hidden = !held;
    $('held-words').textContent = `${moves} ${moves === 1 ? 'change' : 'changes'}, order held while you read`;
  }

  function apply(msg, fresh) {
    const made = new Map();
    for (const [id, html] of msg.html ?? []) {
      const row = put(id, html, fresh);
      if (row) made.set(id, row);
    }
    if (msg.order) order = msg.order;
    if (msg.order || made.size) sort(made);
    if (msg.title) title = msg.title;
  }

  function take(event, msg) {
    if (event === 'bye') Object.assign(state, { open: false, bye: { ...msg, at: Date.parse(msg.at) } });
    if (event === 'snapshot') Object.assign(state, { open: true, lostAt: null, bye: null, asleep: false });
    if (event === 'snapshot' || event === 'delta') {
      state.dataAt = Date.parse(msg.at);
      state.recovering = msg.state === 'recovering';
      apply(msg, event === 'delta');
    }
    paint();
  }

  // What the rows say of the present is put into the past; the next snapshot brings all of it back.
  function stale() {
    const at = utc(state.dataAt);
    for (const el of main.querySelectorAll('[data-was]')) el.textContent = el.dataset.was;
    for (const el of main.querySelectorAll('[data-as-of]')) {
      el.prepend(`As of ${at}: `);
      el.removeAttribute('data-as-of');
    }
  }

  function paint() {
    state.online = navigator.onLine;
    const t = truth({ ...state, now: now() });
    words.textContent = t.words;
    bar.className = `bar ${t.stale ? t.family : ''}`;
    shape.setAttribute('href', `#s-${t.shape}`);
    shape.parentNode.classList.toggle('stale', t.stale && t.family !== 'plan' && t.family !== 'warn');
    retry.hidden = t.family !== 'warn';
    if (t.stale && !main.classList.contains('stale')) stale();
    main.classList.toggle('stale', t.stale);
    document.title = t.title ? `${t.title}${t.family === 'calm' ? ':' : '.'} ${title}` : title;
    // Spoken only when it is news: the running times in the bar are not.
    const say = t.family === 'calm' ? spoken : t.title || sentence();
    if (say !== spoken) news.textContent = spoken = say;
    if (held && !busy()) sort(new Map());
  }

  async function hear() {
    stream = new AbortController();
    openedAt = now();
    const page = encodeURIComponent(location.pathname + location.search);
    const reply = await fetch(`/v1/events?as=html&page=${page}`, { signal: stream.signal, cache: 'no-store' });
    if (!reply.ok || !reply.headers.get('content-type')?.startsWith('text/event-stream')) throw new Error('no stream');
    const body = reply.body.getReader(), text = new TextDecoder(), read = reader(take);
    for (;;) {
      const { done, value } = await body.read();
      if (done) return;
      state.heardAt = openedAt = now();
      tries = 0;
      read(text.decode(value, { stream: true }));
    }
  }

  // A hidden tab closes its stream: nothing is lost and nothing is tried until it is seen again.
  const sleep = () => Object.assign(state, { open: false, asleep: true, lostAt: null, retryAt: 0 });

  async function forever() {
    for (;;) {
      if (!document.hidden) await hear().catch(() => {});
      stream?.abort();
      state.open = false;
      const hidden = document.hidden, pause = hidden ? 2 ** 31 - 1 : backoff(tries++, Math.random());
      if (hidden) sleep();
      else Object.assign(state, { lostAt: state.lostAt ?? now(), retryAt: now() + pause });
      paint();
      await new Promise((go) => { const timer = setTimeout(go, pause); wake = () => { clearTimeout(timer); go(); }; });
      state.retryAt = 0;
    }
  }

  const again = () => { tries = 0; stream?.abort(); wake(); };
  addEventListener('online', again);
  addEventListener('offline', again);
  addEventListener('pageshow', (e) => e.persisted && again());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) sleep();
    else state.lostAt = now();
    again();
    paint();
  });
  retry.addEventListener('click', again);
  $('resort')?.addEventListener('click', () => sort(new Map()));
  setInterval(() => {
    // A stream that opens and never speaks, or a connection that neither opens nor fails, is dropped and tried anew.
    if (stream && !stream.signal.aborted && now() - openedAt > SILENT_MS) stream.abort();
    paint();
  }, 1000);
  times(document);
  paint();
  forever();
}

if (typeof document !== 'undefined') {
  const main = document.querySelector('main[data-at]');
  if (main) live(main);
}
