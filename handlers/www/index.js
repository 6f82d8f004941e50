// The handlers that are served now, each with a small console.
"use strict";

const summary = document.getElementById("summary");
const list = document.getElementById("handlers");
const engine = document.getElementById("engine");
const cards = new Map();
const pages = { "/chat": "chat.html", "/benchmark_helper": "benchmark.html", "/echo": "tutorial.html" };

// One handler: what the server says about it, and a session with it.
class Card {
  constructor(path) {
    const copy = document.getElementById("handler").content.cloneNode(true);
    this.element = copy.firstElementChild;
    this.log = this.part(".log");
    this.message = this.part(".message");
    this.connectButton = this.part(".connect");
    this.socket = null;

    this.url = wsh.url(wsh.encoded(path));
    const shown = wsh.plain(path);
    this.part(".path").textContent = shown;
    this.log.setAttribute("aria-label", `Session with ${shown}`);
    this.message.setAttribute("aria-label", `Message to ${shown}`);
    this.part(".console").href = `console.html?path=${encodeURIComponent(wsh.encoded(path))}`;
    if (pages[path]) {
      this.part(".page").href = pages[path];
      this.part(".page").hidden = false;
    }
    this.connectButton.addEventListener("click", () => this.connectOrClose());
    this.part("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  show({ generation, sessions, description = null, generations = [], refusal = null, ...kept }) {
    const badge = this.part(".generation");
    if (this.generation !== undefined && this.generation !== generation) {
      if (generation !== null) wsh.write(this.log, "note", `generation ${generation} answers from now on`);
      badge.classList.remove("fresh");
      void badge.offsetWidth; // lets the animation begin again
      badge.classList.add("fresh");
    }
    this.generation = generation;
    badge.textContent = generation === null ? "" : `generation ${generation}`;
    const version = generations.find((it) => it.number === generation)?.version;
    // A number and its word stay on one line.
    this.part(".version").textContent = version ? ` · version\u00a0${version}` : "";
    const older = generations.filter((it) => it.number !== generation);
    const left = older.reduce((sum, it) => sum + it.sessions, 0);
    const count = counted(sessions, "session").replace(" ", "\u00a0");
    const shown = left === 0 ? count : `${count}, ${left} of them on older code`;
    this.part(".sessions").textContent = generation === null ? "" : ` · ${shown}`;
    this.part(".facts-line").hidden = generation === null;
    this.part(".description").textContent = description ?? "";
    this.part(".description").hidden = description === null;
    this.part(".kept").textContent = whatIsKept(kept);
    this.part(".kept").hidden = this.part(".kept").textContent === "";
    this.part(".refusal").textContent = wsh.plain(refusal ?? "");
    this.part(".refusal").hidden = refusal === null;
    this.isServed = generation !== null;
    if (!this.socket) this.state(this.isServed ? "closed" : "gone", this.isServed ? "not connected" : "refused");
  }

  // A handler is not listed any more, and this card still has a session.
  showGone() {
    this.part(".facts-line").hidden = false;
    this.part(".generation").textContent = "no longer served";
    this.part(".version").textContent = this.part(".sessions").textContent = "";
    this.generation = undefined;
    this.isServed = false;
  }

  connectOrClose() {
    if (this.socket) {
      this.socket.close(1000);
      return;
    }
    const socket = wsh.open(this.url);
    let wasOpen = false;
    this.socket = socket;
    this.state("connecting", "connecting");
    socket.addEventListener("open", () => {
      wasOpen = true;
      this.state("open", "connected");
      this.message.focus({ preventScroll: true });
      look(); // one session more
    });
    socket.addEventListener("message", ({ data }) => {
      const text = typeof data === "string" ? data : `${data.size} bytes`;
      wsh.write(this.log, "received", text);
    });
    socket.addEventListener("close", (event) => {
      this.socket = null;
      wsh.write(this.log, event.wasClean ? "note" : "bad", wsh.ended(event, wasOpen));
      this.state("closed", "not connected");
      look();
    });
  }

  state(state, text) {
    this.part(".state").dataset.state = state;
    this.part(".state").textContent = text;
    this.message.disabled = this.part(".send").disabled = state !== "open";
    this.connectButton.textContent = this.socket ? "Close" : "Connect";
    this.connectButton.disabled = !this.socket && !this.isServed;
    // What is not connected takes little space: of its last session the end of the log stays.
    this.element.classList.toggle("collapsed", !this.socket);
    this.log.scrollTop = this.log.scrollHeight;
  }

  send() {
    this.socket.send(this.message.value);
    wsh.write(this.log, "sent", this.message.value);
    this.message.value = "";
  }
}

// What the server keeps for a handler. Sizes are told to requests from the server's own machine only.
function whatIsKept({ topics = 0, members = 0, history_bytes = 0, store = { keys: 0, bytes: 0 } }) {
  const parts = [
    topics > 0 && counted(topics, "topic"),
    members > 0 && counted(members, "member"),
    history_bytes > 0 && `${size(history_bytes)} of history`,
    store.keys > 0 && `${counted(store.keys, "key")} in ${size(store.bytes)}`,
  ];
  return parts.filter((part) => part).join(" · ");
}

// What the engine keeps for all handlers, and of the topics that they share. Sizes and limits are told as above.
function whatTheEngineKeeps({ kind, status, shared, in_use = null, limits = null }) {
  const parts = [
    status === "reachable" ? `Engine ${kind}` : `Engine ${kind} is ${status}`,
    shared.topics > 0 &&
      `${counted(shared.topics, "topic")} of all handlers with ${counted(shared.members, "member")}`,
    in_use && `${size(in_use.history_bytes)} of ${size(limits.history_bytes_max)} for histories`,
    in_use && `${size(in_use.presence_bytes)} of ${size(limits.presence_bytes_max)} for members`,
    in_use && in_use.keys > 0 && `${counted(in_use.keys, "key")} in ${size(in_use.store_bytes)}`,
  ];
  return parts.filter((part) => part).join(" · ");
}

function counted(count, what) {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes}\u00a0B`;
  const kib = bytes / 1024;
  return kib < 1024 ? `${kib.toFixed(1)}\u00a0KiB` : `${(kib / 1024).toFixed(1)}\u00a0MiB`;
}

// Cards are kept as long as their handlers: a session must not end because the list is read again.
function show(handlers) {
  handlers.sort((one, other) => (one.path < other.path ? -1 : 1));
  for (const handler of handlers) {
    if (!cards.has(handler.path)) cards.set(handler.path, new Card(handler.path));
    cards.get(handler.path).show(handler);
  }
  const known = new Set(handlers.map((handler) => handler.path));
  for (const [path, card] of cards) {
    if (known.has(path)) continue;
    if (!card.socket) {
      card.element.remove();
      cards.delete(path);
    } else {
      card.showGone();
    }
  }
  const inOrder = [...cards.keys()].sort().map((path) => cards.get(path).element);
  inOrder.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  const refused = handlers.filter((handler) => handler.generation === null).length;
  say(
    handlers.length === 0
      ? "None is served yet. Drop a compiled handler into the handlers directory and it shows up here."
      : `What ${wsh.server()} serves now. A handler that is rebuilt gets a new generation, here too.` +
        (refused === 0 ? "" : ` ${counted(refused, "handler")} refused.`),
  );
}

// A status is read out when it changes, so it changes only if there is something new.
function say(text) {
  if (summary.textContent !== text) summary.textContent = text;
}

async function read(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}

async function look() {
  try {
    show(await read("/.wshd/handlers.json"));
    engine.textContent = whatTheEngineKeeps(await read("/.wshd/engine.json"));
    engine.hidden = false;
  } catch (error) {
    say(`The list of handlers cannot be had now (${error.message}). Trying again.`);
  }
}

if (wsh.isFile) {
  say("The list of handlers comes from the server.");
} else {
  look();
  setInterval(() => document.hidden || look(), 2000);
  document.addEventListener("visibilitychange", () => document.hidden || look());
}
