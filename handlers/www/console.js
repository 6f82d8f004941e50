// One WebSocket by hand.
"use strict";

const part = (id) => document.getElementById(id);
const states = ["connecting", "open", "closing", "closed"];
const query = new URLSearchParams(location.search);
let socket = null;
let last = null; // when the newest line of the log was written
let most = 0; // bufferedAmount at its highest, since it was 0
let counts = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0 };

function connect() {
  const url = part("url").value.trim();
  const protocols = part("protocols").value.split(",").map((one) => one.trim()).filter(Boolean);
  let wasOpen = false;
  try {
    socket = wsh.open(url, protocols);
  } catch (error) {
    write("bad", error.message);
    return;
  }
  socket.binaryType = part("binary-type").value;
  counts = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0 };
  write("note", `connecting to ${socket.url}`);
  socket.addEventListener("open", () => {
    wasOpen = true;
    write("note", "open");
    look();
  });
  socket.addEventListener("message", ({ data }) => {
    const now = performance.now();
    counts.received++;
    counts.receivedBytes += data.size ?? data.byteLength ?? utf8Length(data);
    const line = write("received", described(data), now);
    if (data instanceof Blob) firstBytes(data).then((bytes) => wsh.keepsEnd(part("log"), () => line.append(bytes)));
  });
  socket.addEventListener("error", () => write("bad", "error"));
  socket.addEventListener("close", (event) => {
    write(event.wasClean ? "note" : "bad", wsh.ended(event, wasOpen));
    if (!wasOpen) wsh.keptFrom(url).then((why) => why && write("bad", why));
    look();
  });
  look();
}

// Text, its beginning if it is long; of binary the type, the length and the first bytes.
function described(data) {
  if (typeof data === "string") {
    return data.length <= TEXT_MAX ? data : `${data.slice(0, TEXT_MAX)} … (${data.length} characters)`;
  }
  if (data instanceof Blob) return `binary, Blob of ${data.size} bytes`;
  return `binary, ${data.constructor.name} of ${data.byteLength} bytes${inHex(data)}`;
}

async function firstBytes(blob) {
  const head = await blob.slice(0, BYTES_MAX).arrayBuffer();
  return inHex(head, blob.size);
}

function inHex(buffer, length = buffer.byteLength) {
  const bytes = [...new Uint8Array(buffer).subarray(0, BYTES_MAX)].map((byte) => byte.toString(16).padStart(2, "0"));
  return length === 0 ? "" : `: ${bytes.join(" ")}${length > BYTES_MAX ? " …" : ""}`;
}

function utf8Length(text) {
  return new TextEncoder().encode(text).length;
}

// A line with the time of day, and how long after the line before it came.
function write(kind, text, now = performance.now()) {
  const time = document.createElement("time");
  const since = last === null ? "" : `+${(now - last).toFixed(1)}`;
  time.textContent = `${wsh.timeOfDay(new Date(), true)} ${since.padStart(8)}`;
  last = now;
  return wsh.write(part("log"), kind, time, text);
}

function look() {
  const state = socket ? states[socket.readyState] : "closed";
  const buffered = socket?.bufferedAmount ?? 0;
  most = buffered === 0 ? 0 : Math.max(most, buffered);
  text("ready-state", socket ? `${socket.readyState} (${state})` : "no socket");
  part("ready-state").dataset.state = state;
  text("protocol", socket?.protocol || "none");
  text("extensions", socket?.extensions || "none");
  text("buffered", buffered.toLocaleString("en"));
  part("progress").hidden = most === 0;
  part("progress").value = most === 0 ? 0 : 1 - buffered / most;
  text("counts", counts.sent + counts.received === 0 ? "nothing" : [
    `${counts.sent} (${counts.sentBytes.toLocaleString("en")} bytes)`,
    `${counts.received} (${counts.receivedBytes.toLocaleString("en")} bytes)`,
  ].join(", "));
  const isLive = state === "connecting" || state === "open";
  part("connect").disabled = isLive || state === "closing";
  part("send").disabled = part("send-file").disabled = state !== "open";
  part("close").disabled = !isLive;
}

// An element is changed only if there is something new, so that a selection in it stays.
function text(id, text) {
  if (part(id).textContent !== text) part(id).textContent = text;
}

// Sends, and says what; `shown` is what the log has of it.
function send(data, shown) {
  socket.send(data);
  counts.sent++;
  counts.sentBytes += data.size ?? data.byteLength ?? utf8Length(data);
  write("sent", shown);
}

function sendMessage() {
  const [kind, message] = [part("kind").value, part("text").value];
  if (kind === "text") {
    send(message, described(message));
    return;
  }
  const bytes = kind === "hex" ? fromHex(message) : new TextEncoder().encode(message);
  if (bytes === null) write("bad", "not sent: hex digits come in pairs, as in `48 65 6c 6c 6f`");
  else send(bytes, `binary, ${bytes.length} bytes${inHex(bytes)}`);
}

// `48 65 6C` as bytes; `null` where it is no such text.
function fromHex(text) {
  const digits = text.replaceAll(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function onSubmit(form, action) {
  part(form).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
    look();
  });
}

// What is shown of a message.
const TEXT_MAX = 4096;
const BYTES_MAX = 32;

onSubmit("connection", connect);
onSubmit("sending", sendMessage);
onSubmit("filing", () => {
  const file = part("file").files[0];
  send(file, `binary, file ${file.name} of ${file.size} bytes`);
});
onSubmit("closing", () => {
  const [code, reason] = [part("code").value, part("reason").value];
  try {
    if (code) socket.close(Number(code), reason);
    else socket.close();
    write("note", `closing${code ? ` with ${code} ${reason}` : ""}`);
  } catch (error) {
    write("bad", error.message); // such a code may not be sent by a page, or the reason is too long
  }
});
part("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !part("send").disabled) {
    event.preventDefault();
    part("sending").requestSubmit();
  }
});
part("binary-type").addEventListener("change", () => {
  if (socket) socket.binaryType = part("binary-type").value;
});
part("clear").addEventListener("click", () => {
  part("log").replaceChildren();
  last = null;
});
wsh.copies(part("copy"), () => part("log").innerText);

part("url").value = query.get("url") ?? wsh.url(query.get("path") ?? "/echo");
part("protocols").value = query.get("protocols") ?? "";
look();
setInterval(look, 100);
