// A worker that pages share: sends what one of them says, and tells all of them what comes back.
"use strict";

importScripts("heard.js");

const ports = [];
const opened = new Heard("/echo").opened();
opened.then(({ socket }) => {
  socket.addEventListener("message", ({ data }) => ports.forEach((port) => port.postMessage(data)));
});

addEventListener("connect", ({ ports: [port] }) => {
  ports.push(port);
  port.onmessage = async ({ data }) => (await opened).socket.send(data);
});
