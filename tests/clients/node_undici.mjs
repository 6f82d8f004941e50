// The WebSocket of `undici`, which is the one that Node has built in.

import diagnostics from "node:diagnostics_channel";

import { Socket, ca, cannot, expect, load, run, say, url } from "./checks.mjs";

const { Agent, WebSocket, ping } = load("undici");
say("version", load("undici/package.json").version);
const dispatcher = new Agent({ connect: { ca } });

function connect(path, protocols = []) {
  return new Socket(new WebSocket(url + path, { protocols, dispatcher }));
}

await run(connect, async (socket) => {
  say("extensions", socket.socket.extensions || "none");
  cannot("fragments", "it has no call for a part of a message");
  const pong = new Promise((resolve) => {
    diagnostics.subscribe("undici:websocket:pong", ({ payload }) => resolve(payload));
  });
  ping(socket.socket, Buffer.from("are you there"));
  expect("ping", Buffer.from(await pong).toString(), "are you there");
});
await dispatcher.close();
