// The client of `ws`.

import { once } from "node:events";

import { Socket, ca, expect, fragments, load, run, say, url } from "./checks.mjs";

const WebSocket = load("ws");
say("version", load("ws/package.json").version);

function connect(path, protocols = []) {
  return new Socket(new WebSocket(url + path, protocols, { ca }));
}

const asked = new WebSocket(url + "/echo", { ca });
const [[response]] = await Promise.all([once(asked, "upgrade"), once(asked, "open")]);
say("extensions", response.headers["sec-websocket-extensions"] ?? "none");
asked.close();

await run(connect, async (socket) => {
  const { socket: ws } = socket;
  fragments.forEach((part, at) => ws.send(part, { fin: at === fragments.length - 1 }));
  expect("fragments", await socket.receive(), fragments.join(""));
  ws.ping("are you there");
  const [payload] = await once(ws, "pong");
  expect("ping", payload.toString(), "are you there");
});
