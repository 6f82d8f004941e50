// What the Node programs have in common: their arguments, what they send, how they report, and how they wait.
//
// A line of stdout is `CHECK: ok`, `CHECK: cannot, WHY` or `CHECK: failed, WHY`; or it is `version: TEXT` or
// `extensions: TEXT`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";

export const [url, caFile] = process.argv.slice(2);
export const ca = readFileSync(caFile);
// Loads a package that run.py has installed.
export const load = createRequire(new URL("../../target/clients/node/", import.meta.url));

export const text = "Hello, wörld €";
export const messages = {
  text,
  binary: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  empty: "",
  large: Array.from({ length: 50_000 }, (_, n) => `line ${n} of a large message\n`).join("").slice(0, 1024 * 1024),
};
// Over a context that both sides keep, the second refers to the first.
export const repeated = Array(3).fill("the text of a message that comes again");
// Each is sent as a message in three frames.
export const fragments = ["Hel", "", "lo, wörld €"];
// The server sends a Ping after half a second of silence, and waits two seconds for its Pong.
export const idleTime = () => new Promise((resolve) => setTimeout(resolve, 3000));

export function expect(check, found, wanted) {
  const right = isDeepStrictEqual(found, wanted);
  say(check, right ? "ok" : `failed, ${shown(found)} instead of ${shown(wanted)}`);
}

export function cannot(check, why) {
  say(check, `cannot, ${why}`);
}

export function say(check, line) {
  console.log(`${check}: ${line}`);
}

function shown(value) {
  const line = JSON.stringify(value);
  return line.length < 80 ? line : line.slice(0, 80) + "…";
}

// A WebSocket with the interface of browsers, and its events in their order.
export class Socket {
  #events = [];
  #waiting = null;

  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "nodebuffer";
    if (socket.binaryType !== "nodebuffer") socket.binaryType = "arraybuffer";
    for (const name of ["open", "message", "close", "error"]) {
      socket.addEventListener(name, (event) => {
        this.#events.push(event);
        this.#waiting?.();
      });
    }
  }

  // The next event, which is to be of this type.
  async next(type) {
    while (this.#events.length === 0) await new Promise((resolve) => (this.#waiting = resolve));
    const event = this.#events.shift();
    if (event.type !== type) throw new Error(`${event.type} instead of ${type}: ${event.message ?? event.code}`);
    return event;
  }

  // The payload of the next message.
  async receive() {
    const { data } = await this.next("message");
    return typeof data === "string" ? data : Buffer.from(data);
  }

  // The code and the reason of the end.
  async end() {
    const { code, reason } = await this.next("close");
    return [code, reason];
  }
}

// The checks that are alike for all that have the interface of browsers. `connect(path, protocols)` answers a `Socket`;
// `special(socket)` does what that interface has no call for.
export async function run(connect, special) {
  let socket = connect("/echo");
  await socket.next("open");
  for (const [check, message] of Object.entries(messages)) {
    socket.socket.send(message);
    expect(check, await socket.receive(), message);
  }
  await special(socket);
  await idleTime();
  socket.socket.send(text);
  expect("idle", await socket.receive(), text);
  socket.socket.close(1000);
  expect("close 1000", await socket.end(), [1000, ""]);

  socket = connect("/echo_takeover");
  await socket.next("open");
  for (const message of repeated) socket.socket.send(message);
  expect("takeover", [await socket.receive(), await socket.receive(), await socket.receive()], repeated);
  socket.socket.close();

  socket = connect("/echo", ["chat", "echo"]);
  await socket.next("open");
  expect("subprotocol", socket.socket.protocol, "echo");
  socket.socket.close();

  socket = connect("/close");
  await socket.next("open");
  socket.socket.close(4000, "going home");
  expect("close 4000", await socket.end(), [4000, "going home"]);

  socket = connect("/close");
  await socket.next("open");
  socket.socket.send("4001 lunch");
  expect("server closes", await socket.end(), [4001, "lunch"]);
}
