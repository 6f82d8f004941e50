// A worker with a WebSocket: says what it heard, and stays connected.
"use strict";

importScripts("heard.js");

(async () => {
  const heard = await new Heard("/echo").opened();
  heard.socket.send("from a worker");
  heard.socket.send(Uint8Array.of(1, 2, 3));
  const text = await heard.message();
  const bytes = [...new Uint8Array(await heard.message())];
  postMessage({ text, bytes, kinds: heard.kinds });
})();
