// Draws the server once a second, from `snapshot`. Names of handlers become text only, never markup.
"use strict";

const KEPT = 60;
const past = new Map();
let before = null;

/** A cell of a row. */
function cell(row, text) {
  row.insertCell().textContent = text;
}

/** A line through the values, the highest of them at the top. */
function line(row, values, label) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 60 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const most = Math.max(...values, Number.MIN_VALUE);
  const from = KEPT - values.length;
  const points = values.map((value, index) => `${from + index},${23 - (22 * value) / most}`);
  const polyline = document.createElementNS(space, "polyline");
  polyline.setAttribute("points", points.join(" "));
  svg.append(polyline);
  row.insertCell().append(svg);
}

function stateOf(handler) {
  if (handler.generation === null) return handler.refusal === null ? "removed" : "refused";
  return handler.is_quarantined ? "quarantined" : "serving";
}

function duration(seconds) {
  if (seconds === null) return "–";
  return seconds < 1e-3 ? `${(seconds * 1e6).toFixed(0)} µs` : `${(seconds * 1e3).toFixed(1)} ms`;
}

/** What changed of a handler in so many seconds. */
function rates(old, handler, seconds) {
  const rate = (name) => Math.max(0, handler.traffic[name] - (old ? old.traffic[name] : 0)) / seconds;
  const sum = (it) => it.callbacks.counts.reduce((all, count) => all + count, 0);
  const timed = sum(handler) - (old ? sum(old) : 0);
  const took = handler.callbacks.seconds - (old ? old.callbacks.seconds : 0);
  const mean = timed > 0 ? took / timed : null;
  return { in: rate("messages_in"), out: rate("messages_out"), mean };
}

function draw(snapshot) {
  const sessions = snapshot.handlers.reduce((all, it) => all + it.sessions, 0);
  const memory = snapshot.process.resident_bytes;
  const parts = [
    `wshd ${snapshot.version}`,
    `up ${Math.round(snapshot.uptime_ms / 1000)} s`,
    `${sessions} sessions`,
    `${snapshot.connections} of ${snapshot.connections_max} connections`,
  ];
  if (memory) parts.push(`${Math.round(memory / 1048576)} MiB`);
  document.getElementById("summary").textContent = parts.join(" · ");
  const seconds = before ? (snapshot.uptime_ms - before.uptime_ms) / 1000 : 0;
  const old = new Map(before ? before.handlers.map((it) => [it.name, it]) : []);
  const rows = snapshot.handlers.map((handler) => {
    const row = document.createElement("tr");
    const known = past.get(handler.name) || { messages: [], times: [] };
    const now = seconds > 0 ? rates(old.get(handler.name), handler, seconds) : { in: 0, out: 0, mean: null };
    if (seconds > 0) {
      known.messages = [...known.messages, now.in + now.out].slice(-KEPT);
      known.times = [...known.times, now.mean || 0].slice(-KEPT);
      past.set(handler.name, known);
    }
    const state = stateOf(handler);
    if (state !== "serving") row.className = "off";
    cell(row, `/${handler.name}`);
    cell(row, handler.refusal ? `${state}: ${handler.refusal}` : state);
    cell(row, handler.generation === null ? "–" : handler.generation);
    cell(row, handler.sessions);
    cell(row, now.in.toFixed(1));
    cell(row, now.out.toFixed(1));
    cell(row, handler.queue_bytes);
    cell(row, handler.panics);
    cell(row, duration(now.mean));
    line(row, known.messages, "messages a second");
    line(row, known.times, "mean time of callbacks");
    return row;
  });
  document.getElementById("handlers").replaceChildren(...rows);
  before = snapshot;
}

async function poll() {
  try {
    const answer = await fetch("snapshot", { cache: "no-store" });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    draw(await answer.json());
  } catch (error) {
    document.getElementById("summary").textContent = `No answer: ${error.message}`;
    before = null;
  }
  setTimeout(poll, 1000);
}

poll();
