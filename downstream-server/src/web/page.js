// The page: reads the summary and the listing once, then follows the live stream.
// All data is written as text, never as markup.
"use strict";

const PAGE = 50;
const MOST_ROWS = 500;
const SECONDS = 120;
const TYPING = 100; // ms without a key before it searches

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const rows = new Map(); // id -> its <tr>
const changed = new Map(); // id -> object, until the next frame
let totals = null;
let rates = [];
let oldestOwed = null;
let clockOffset = 0; // the server's clock less ours
let older = null; // where the next older page begins
let shown = PAGE;
let drawing = false;
let token = null; // what the person said; in this page alone
let beats = 0; // seconds that the stream has told

// === Words and figures ===

const now = () => Date.now() + clockOffset;

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return [short.format(count), units[unit]];
}

function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${short.format(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${short.format(ms / 3_600_000)} h`;
  return `${short.format(ms / 86_400_000)} d`;
}

function ago(ms) {
  const age = now() - ms;
  return age < 2000 ? "just now" : `${span(age - (age % 1000))} ago`;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function withUnit(target, [value, unit]) {
  target.replaceChildren(value, element("span", "unit", ` ${unit}`));
}

// === Figures ===

function drawFigures() {
  if (!totals) return;
  $("events").textContent = number.format(totals.events);
  withUnit($("bytes"), bytes(totals.bytes));
  const waiting = totals.owed + totals.fetching;
  $("owed").textContent = number.format(waiting);
  $("owed-note").textContent = waiting === 0 ? "nothing waits"
    : oldestOwed === null ? "objects on their way" : `the oldest since ${span(now() - oldestOwed)}`;
  $("owed-card").toggleAttribute("data-waits", waiting > 0);
  const failed = totals.dead + totals.gone;
  $("dead").textContent = number.format(failed);
  $("dead-note").textContent = failed === 0 ? `none of ${number.format(totals.done)} objects`
    : `beside ${number.format(totals.done)} objects done`;
  $("dead-card").toggleAttribute("data-failed", failed > 0);
  const counts = { ...totals, all: waiting + totals.done + failed };
  for (const count of document.querySelectorAll("[data-count]")) {
    count.textContent = number.format(counts[count.dataset.count]);
  }
}

function drawRates() {
  // The mean of the last seconds is steadier to read than one second.
  const last = rates.slice(-5);
  const mean = (of) => last.reduce((sum, rate) => sum + rate[of], 0) / Math.max(1, last.length);
  $("events-rate").textContent = `${short.format(mean("events"))} a second`;
  $("bytes-rate").textContent = `${bytes(mean("bytes")).join(" ")} a second`;
  drawSpark($("events-spark"), rates.map((rate) => rate.events));
  drawSpark($("bytes-spark"), rates.map((rate) => rate.bytes));
  // A second in which nothing became done has no lag of its own.
  const lags = rates.filter((rate) => rate.lag_ms !== null).map((rate) => rate.lag_ms);
  $("lag").textContent = lags.length === 0 ? "–" : span(lags.at(-1));
  $("lag-note").textContent = lags.length === 0 ? "nothing in two minutes" : `up to ${span(Math.max(...lags))} lately`;
  drawSpark($("lag-spark"), rates.map((rate) => rate.lag_ms ?? 0));
}

function drawSpark(svg, values) {
  const highest = Math.max(1, ...values);
  const first = SECONDS - values.length;
  const points = values.map((value, at) => `${first + at + 1} ${(38 - 32 * (value / highest)).toFixed(1)}`);
  const line = points.length ? `M${first + 1 > 1 ? `0 38L${first} 38L` : ""}${points.join("L")}` : "M0 38L120 38";
  svg.querySelector(".line").setAttribute("d", line);
  svg.querySelector(".area").setAttribute("d", `${line}V40H0Z`);
}

// === Lines ===

function drawLines(lines) {
  const list = $("lines");
  // Whoever has scrolled up to read is left where they are.
  const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
  list.replaceChildren(...lines.map((line) => element("li", line.row, line.text)));
  if (follows) list.scrollTop = list.scrollHeight;
}

// === Objects ===

const filter = () => document.querySelector("#filter input:checked").value;

const sought = () => $("search").value;
// As the server compares: letters from a to z alone have no case.
const plain = (text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

function fits(object) {
  return (filter() === "" || object.state === filter()) && plain(object.key).includes(plain(sought()));
}

function row(object) {
  const line = element("tr");
  line.setAttribute("role", "row");
  line.dataset.state = object.state;
  line.dataset.id = object.id;
  const cell = (className, ...content) => {
    const made = element("td", className);
    made.setAttribute("role", "cell");
    made.append(...content);
    line.append(made);
    return made;
  };
  cell("", element("span", "state", object.state === "dead" ? "failed" : object.state));
  const slash = object.key.lastIndexOf("/") + 1;
  const name = element("a", "", object.key.slice(slash) || "(no name)");
  name.href = `/v1/objects/${object.id}/content`;
  name.title = "Download the object as stored";
  const key = cell("key", element("span", "folder", `${object.bucket}/${object.key.slice(0, slash)}`), name);
  if (object.last_error) {
    const tries = object.attempts === 1 ? "1 attempt" : `${object.attempts} attempts`;
    key.append(element("span", "error", `${tries}: ${object.last_error}`));
  }
  if (object.state === "dead" || object.state === "gone") {
    const again = element("button", "", "Replay");
    again.type = "button";
    again.setAttribute("aria-label", `Replay ${object.key}`);
    again.addEventListener("click", () => replay(object.id));
    key.append(again);
  }
  const done = object.state === "done";
  cell("right figure", done ? number.format(object.events) : "").dataset.unit = object.events === 1 ? "event" : "events";
  cell("right figure", object.bytes || done ? bytes(object.bytes).join(" ") : "");
  const since = object.event_ms ?? object.received_ms;
  cell("right figure", done ? span(object.finished_ms - since) : "").dataset.unit = "lag";
  const when = element("time", "", ago(object.received_ms));
  when.dateTime = new Date(object.received_ms).toISOString();
  when.title = new Date(object.received_ms).toLocaleString();
  when.dataset.ms = object.received_ms;
  cell("right when", when);
  return line;
}

function place(object, isNew) {
  const body = $("objects");
  const old = rows.get(object.id);
  if (!fits(object)) {
    old?.remove();
    rows.delete(object.id);
    return;
  }
  const made = row(object);
  if (old) {
    old.replaceWith(made);
  } else {
    if (isNew) made.classList.add("new");
    let before = body.firstElementChild;
    while (before && Number(before.dataset.id) > object.id) before = before.nextElementSibling;
    // A change of a row that is older than what is shown does not show it.
    if (!before && isNew && rows.size >= shown) return;
    body.insertBefore(made, before);
  }
  rows.set(object.id, made);
  while (rows.size > shown) {
    const last = body.lastElementChild;
    rows.delete(Number(last.dataset.id));
    last.remove();
    older = Number(body.lastElementChild.dataset.id);
    $("older").hidden = shown >= MOST_ROWS;
  }
}

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function list(before) {
  const query = new URLSearchParams({ limit: PAGE });
  if (filter()) query.set("state", filter());
  if (sought()) query.set("search", sought());
  if (before) query.set("before", before);
  const wanted = [filter(), sought()];
  const page = await get(`/v1/objects?${query}`);
  // Somebody who asked for something else meanwhile gets that.
  if (wanted[0] !== filter() || wanted[1] !== sought()) return;
  if (!before) {
    shown = PAGE;
    rows.clear();
    $("objects").replaceChildren();
  }
  for (const object of page.objects) place(object, false);
  older = page.next;
  $("older").hidden = older === null || shown >= MOST_ROWS;
}

// === Replay ===

// Asks the person for the token, until they say one or none.
function askToken(why) {
  const dialog = $("ask");
  $("ask-why").hidden = false;
  if (why) $("ask-why").textContent = why;
  $("token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const said = dialog.returnValue === "use" ? $("token").value.trim() : null;
      $("token").value = "";
      resolve(said);
    }, { once: true });
  });
}

async function replay(id) {
  let why = null;
  for (;;) {
    const headers = { "content-type": "application/json" };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(`/v1/dead/${id}/replay`, { method: "POST", headers, body: "{}" }).catch(() => null);
    if (answer === null) return say("lost", "the server does not answer");
    if (answer.status !== 401) {
      // The row changes by the live stream.
      if (!answer.ok) say("live", (await answer.json()).message);
      return undefined;
    }
    if (token) why = "The server does not know this token.";
    token = await askToken(why);
    if (!token) return undefined;
  }
}

// === Continuity ===

const TOLD = 3; // gaps and forks that a row names

function named(ranges, count, words) {
  if (count === 0) return "none";
  const first = ranges.slice(0, TOLD).map(words).join(", ");
  return ranges.length > TOLD ? `${number.format(count)}: ${first}, …` : `${number.format(count)}: ${first}`;
}

function sinkRow(sink) {
  const line = element("tr");
  line.setAttribute("role", "row");
  const cell = (className, text) => {
    const made = element("td", className, text);
    made.setAttribute("role", "cell");
    line.append(made);
  };
  cell("key", `${sink.channel.slice(0, 8)}… ${sink.sink}`);
  cell("right figure", number.format(sink.contiguous_to));
  cell("right figure", number.format(sink.highest));
  const range = ({ first, last }) => (first === last ? `${first}` : `${first}–${last}`);
  cell("", named(sink.missing, sink.missing_cuts, range));
  cell("", named(sink.forked, sink.forked_cuts, (fork) => `${fork.number}`));
  cell("", sink.totals === null ? "not known" : sink.adds_up ? "add up" : "differ");
  return line;
}

async function continuity() {
  const { sinks } = await get("/v1/continuity");
  $("continuity").hidden = sinks.length === 0;
  $("sinks").replaceChildren(...sinks.map(sinkRow));
}

// === Live ===

async function refresh() {
  const [summary, recent] = await Promise.all([get("/v1/summary"), get("/v1/recent"), list(), continuity()]);
  clockOffset = summary.now_ms - Date.now();
  totals = summary.totals;
  rates = summary.rates;
  oldestOwed = summary.oldest_owed_ms;
  $("about").textContent = `${summary.buckets.join(", ")} → ${summary.handler}`;
  drawFigures();
  drawRates();
  drawLines(recent.lines);
}

function draw() {
  drawing = false;
  const wave = [...changed.values()];
  changed.clear();
  for (const object of wave) place(object, true);
  drawFigures();
}

function later() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function say(state, text) {
  $("live").dataset.state = state;
  if ($("live").textContent !== text) $("live").textContent = text;
}

let refreshing = Promise.resolve();
function reload() {
  refreshing = refreshing.then(refresh).catch(() => say("lost", "the server does not answer"));
}

function follow() {
  const stream = new EventSource("/v1/stream");
  // Read anew after each connect: what happened in between is in the listing.
  stream.onopen = () => { say("live", "live"); reload(); };
  stream.onerror = () => {
    say("lost", "connection lost, trying again");
    // The browser gives up for good on some answers.
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
  };
  stream.addEventListener("object", (message) => {
    const object = JSON.parse(message.data);
    changed.set(object.id, object);
    // A hidden tab draws no frames; it reads the listing when it is looked at again.
    if (changed.size > MOST_ROWS) changed.clear();
    later();
  });
  stream.addEventListener("tick", (message) => {
    const tick = JSON.parse(message.data);
    totals = tick.totals;
    rates = [...rates, tick.rate].slice(-SECONDS);
    oldestOwed = tick.oldest_owed_ms;
    drawRates();
    later();
    beats += 1;
    if (beats % 10 === 0 && !document.hidden) continuity().catch(() => {});
    for (const time of document.querySelectorAll("time")) time.textContent = ago(Number(time.dataset.ms));
  });
  stream.addEventListener("lines", (message) => drawLines(JSON.parse(message.data)));
  stream.addEventListener("resync", reload);
}

// A plain button, so that the enter key means the other one.
$("no-token").addEventListener("click", () => $("ask").close(""));
const anew = () => list().catch(() => say("lost", "the server does not answer"));
let typing = 0;
$("filter").addEventListener("change", anew);
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(anew, TYPING);
});
$("older").addEventListener("click", () => {
  shown = Math.min(shown + PAGE, MOST_ROWS);
  list(older).catch(() => say("lost", "the server does not answer"));
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) reload(); });
follow();
