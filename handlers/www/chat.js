// A room of `chat_wsh`: lines of text, and the names of its members.
"use strict";

const part = (id) => document.getElementById(id);
const log = part("log");
const query = new URLSearchParams(location.search);
const people = new Set();
let socket = null; // from Join to Leave, across reconnects
let self = "";
let retries = 0;

function roomUrl(room, name) {
  return wsh.url(`/chat?room=${encodeURIComponent(room)}&name=${encodeURIComponent(name)}`);
}

const CHANGE = /^\* (\S+) (joined|left)$/;

function join() {
  const [room, name] = [part("room").value, part("name").value];
  const mine = wsh.open(roomUrl(room, name));
  let wasOpen = false;
  let earlier = []; // until the room says who we are, lines of before come
  socket = mine;
  state("connecting", "connecting");

  mine.addEventListener("open", () => {
    wasOpen = true;
    retries = 0;
    state("open", `in ${room}`);
    part("text").focus();
  });
  mine.addEventListener("message", ({ data }) => {
    if (typeof data !== "string") return;
    const welcome = data.match(/^\* you are (\S+) in \S+; here: (.*)$/);
    if (welcome) {
      // What the room has kept takes the place of what is shown. A room that keeps nothing leaves that where it is, also
      // where others come back at the same moment.
      if (earlier?.some((line) => !CHANGE.test(line))) log.replaceChildren();
      self = welcome[1];
      earlier?.forEach((line) => show(line, true));
      earlier = null;
      people.clear();
      welcome[2].replace(/ and \d+ more$/, "").split(", ").forEach((one) => people.add(one));
    }
    earlier ? earlier.push(data) : show(data, false);
  });
  mine.addEventListener("close", (event) => {
    if (socket && socket !== mine) return; // left, and in another room by now
    people.clear();
    showPeople();
    wsh.write(log, event.wasClean ? "note" : "bad", wsh.ended(event, wasOpen));
    // A room that was open comes back: the server may be changing its code, or restart.
    if (socket && event.code !== 1000 && (wasOpen || retries > 0)) {
      const wait = Math.min(500 * 2 ** retries++, 10_000) * (0.5 + Math.random());
      state("connecting", "coming back");
      setTimeout(() => socket === mine && join(), wait);
    } else {
      socket = null;
      state("closed", "not in a room");
    }
  });
}

function leave() {
  const mine = socket;
  socket = null;
  mine.close(1000);
  state("closed", "not in a room");
}

// What others wrote becomes text, never markup.
function show(line, isEarlier) {
  const change = line.match(CHANGE);
  if (change) change[2] === "joined" ? people.add(change[1]) : people.delete(change[1]);
  showPeople();

  const said = line.match(/^([^\s:*]+): (.*)$/s);
  if (!said) {
    wsh.write(log, "note", line.replace(/^\* /, ""));
    return;
  }
  const name = document.createElement("b");
  name.textContent = said[1];
  // The server keeps lines without their times, so a line of before has none.
  const time = document.createElement("time");
  time.textContent = isEarlier ? "" : wsh.timeOfDay(new Date(), false);
  const kind = `said${isEarlier ? " earlier" : ""}${said[1] === self ? " own" : ""}`;
  const words = document.createElement("span");
  words.className = "words";
  words.append(name, ` ${said[2]}`);
  wsh.write(log, kind, words, time);
}

function showPeople() {
  const items = [...people].sort().map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    if (name === self) {
      item.className = "self";
      item.append(" (you)");
    }
    return item;
  });
  part("people").replaceChildren(...items);
}

function state(state, text) {
  part("state").dataset.state = state;
  part("state").textContent = text;
  part("text").disabled = part("send").disabled = state !== "open";
  part("join").hidden = socket !== null;
  part("leave").hidden = socket === null;
  part("name").disabled = part("room").disabled = socket !== null;
}

part("door").addEventListener("submit", (event) => {
  event.preventDefault();
  // With the names in the address the page can be reloaded, and passed on.
  const there = new URL(location.href);
  there.searchParams.set("room", part("room").value);
  there.searchParams.set("name", part("name").value);
  history.replaceState(null, "", there);
  log.replaceChildren();
  retries = 0;
  join();
});
part("leave").addEventListener("click", leave);
part("say").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(part("text").value);
  part("text").value = "";
});

// A keyboard on the screen takes half of it: the newest line stays in view.
visualViewport?.addEventListener("resize", () => (log.scrollTop = log.scrollHeight));

part("by-hand").textContent = `websocat '${roomUrl("lobby", "ann")}'`;
if (query.has("room")) part("room").value = query.get("room");
if (query.has("name")) {
  part("name").value = query.get("name");
  part("door").requestSubmit();
}
