// The client of `faye-websocket`, with its `permessage-deflate`.

import { Socket, ca, cannot, load, run, say, url } from "./checks.mjs";

const { Client } = load("faye-websocket");
const deflate = load("permessage-deflate");
say("version", load("faye-websocket/package.json").version);

function connect(path, protocols = []) {
  return new Socket(new Client(url + path, protocols, { ca, extensions: [deflate] }));
}

await run(connect, async (socket) => {
  say("extensions", socket.socket.headers["sec-websocket-extensions"] ?? "none");
  cannot("fragments", "it has no call for a part of a message");
  await new Promise((pong) => socket.socket.ping("are you there", pong));
  say("ping", "ok");
});
