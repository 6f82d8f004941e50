// A WebSocket that remembers its events, for pages and workers.
"use strict";

class Heard {
  // `path` is one of this page's server, or a whole URL.
  constructor(path, protocols = [], binaryType = "arraybuffer") {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(path.includes("://") ? path : `${scheme}//${location.host}${path}`, protocols);
    this.socket.binaryType = binaryType;
    this.events = [];
    this.taken = 0;
    for (const kind of ["open", "message", "error", "close"]) {
      this.socket.addEventListener(kind, (event) => {
        this.events.push(event);
        this.wake?.();
      });
    }
  }

  // The names of all events until now.
  get kinds() {
    return this.events.map((event) => event.type);
  }

  // Takes the next event, which must be of this kind.
  async next(kind) {
    while (this.taken === this.events.length) await new Promise((resolve) => (this.wake = resolve));
    const event = this.events[this.taken++];
    if (event.type !== kind) throw new Error(`${event.type} ${event.code ?? ""} came, and not ${kind}`);
    return event;
  }

  async opened() {
    await this.next("open");
    return this;
  }

  async message() {
    return (await this.next("message")).data;
  }

  async closed() {
    const { code, reason, wasClean } = await this.next("close");
    return [code, reason, wasClean];
  }
}
