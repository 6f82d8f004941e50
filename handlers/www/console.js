// One WebSocket by hand.
"use strict";

const part = (id) => document.getElementById(id);
const states = ["connecting", "open", "closing", "closed"];
const query = new URLSearchParams(location.search);
let socket = null;

function connect() {
  const url = part("url").value.trim();
  const protocols = part("protocols").value.split(",").map((one) => one.trim()).filter(Boolean);
  let wasOpen = false;
  try {
    socket = new WebSocket(url, protocols);
  } catch (error) {
    write("bad", error.message);
    return;
  }
  socket.binaryType = part("binary-type").value;
  write("note", `connecting to ${socket.url}`);
  socket.addEventListener("open", () => {
    wasOpen = true;
    write("note", "open");
    look();
  });
  socket.addEventListener("message", async ({ data }) => write("received", await described(data)));
  socket.addEventListener("error", () => write("bad", "error"));
  socket.addEventListener("close", (event) => {
    write(event.wasClean ? "note" : "bad", wsh.ended(event, wasOpen));
    look();
  });
  look();
}

// Text as it is; of binary the length and its first bytes.
async function described(data) {
  if (typeof data === "string") return data;
  const buffer = data instanceof Blob ? await data.slice(0, 32).arrayBuffer() : data.slice(0, 32);
  const length = data instanceof Blob ? data.size : data.byteLength;
  const bytes = [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `binary, ${length} bytes: ${bytes.join(" ")}${length > 32 ? " …" : ""}`;
}

function write(kind, text) {
  const time = document.createElement("time");
  time.textContent = new Date().toISOString().slice(11, 23);
  const line = wsh.write(part("log"), kind, time);
  line.append(text);
}

function look() {
  const state = socket ? states[socket.readyState] : "no socket";
  part("ready-state").textContent = socket ? `${socket.readyState} (${state})` : state;
  part("protocol").textContent = socket?.protocol || "none";
  part("extensions").textContent = socket?.extensions || "none";
  part("buffered").textContent = socket ? socket.bufferedAmount : "0";
  const isLive = state === "connecting" || state === "open";
  part("connect").disabled = isLive || state === "closing";
  part("send").disabled = part("send-file").disabled = state !== "open";
  part("close").disabled = !isLive;
}

function onSubmit(form, action) {
  part(form).addEventListener("submit", (event) => {
    event.preventDefault();
    action();
    look();
  });
}

onSubmit("connection", connect);
onSubmit("sending", () => {
  socket.send(part("text").value);
  write("sent", part("text").value);
});
onSubmit("filing", () => {
  const file = part("file").files[0];
  socket.send(file);
  write("sent", `${file.name}, ${file.size} bytes`);
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
part("binary-type").addEventListener("change", () => {
  if (socket) socket.binaryType = part("binary-type").value;
});
part("clear").addEventListener("click", () => part("log").replaceChildren());

part("url").value = wsh.url(query.get("path") ?? "/echo");
look();
setInterval(look, 250);
