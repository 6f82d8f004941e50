// Sends messages to `benchmark_helper_wsh`, or has it send some, and takes the time. It runs in the window of
// benchmark.html, and as a worker.
"use strict";

// One WebSocket, whose messages are waited for one after the other.
class BenchmarkSocket {
  constructor(url) {
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.fail = reject;
    });
    this.socket.onmessage = ({ data }) => this.taken?.(data);
    this.socket.onclose = ({ code, reason }) => {
      this.fail(new Error(`the WebSocket was closed: code ${code}${reason && ` ${reason}`}`));
    };
  }

  // The next message.
  take() {
    return new Promise((resolve, reject) => {
      this.taken = resolve;
      this.fail = reject;
    });
  }

  // Sends `message` and waits until the server says how long it was.
  async send(message, verify) {
    const answer = this.take();
    this.socket.send(`send ${verify ? 1 : 0}`);
    this.socket.send(message);
    const length = await answer;
    if (length !== String(message.byteLength)) throw new Error(`the server got ${length} bytes of ${message.byteLength}`);
  }

  // Has the server send a message of this length.
  async receive(length, verify) {
    const answer = this.take();
    this.socket.send(`receive ${length}`);
    const message = await answer;
    if (message.byteLength !== length) throw new Error(`${message.byteLength} bytes came, and ${length} were asked for`);
    if (verify && !isAllA(message)) throw new Error("what came holds something else than `a`");
  }

  close() {
    this.socket.onclose = null;
    this.socket.close(1000);
  }
}

// Whether each byte is the letter `a`. Eight are looked at together.
function isAllA(buffer) {
  const words = new BigUint64Array(buffer, 0, Math.floor(buffer.byteLength / 8));
  const rest = new Uint8Array(buffer, words.length * 8);
  return words.every((word) => word === 0x6161616161616161n) && rest.every((byte) => byte === 0x61);
}

// Runs one series and tells each result: `{ length, messages, bytes, ms }`. `isStopped` is asked after each message.
async function runBenchmark({ url, direction, sockets, shortest, longest, bytes, verify }, tell, isStopped) {
  const all = Array.from({ length: sockets }, () => new BenchmarkSocket(url));
  try {
    await Promise.all(all.map((one) => one.opened));
    for (let length = shortest; length <= longest && !isStopped(); length *= 2) {
      const each = Math.max(1, Math.ceil(bytes / length / sockets));
      const message = direction === "send" ? new Uint8Array(length).fill(0x61).buffer : null;
      const pass = (one) => (message ? one.send(message, verify) : one.receive(length, verify));
      await Promise.all(all.map(pass)); // what is slow once only is not measured
      const began = performance.now();
      const passed = await Promise.all(all.map(async (one) => {
        let count = 0;
        for (; count < each && !isStopped(); count++) await pass(one);
        return count;
      }));
      const ms = performance.now() - began;
      const messages = passed.reduce((sum, count) => sum + count, 0);
      if (messages > 0) tell({ length, messages, bytes: messages * length, ms });
    }
  } finally {
    for (const one of all) one.close();
  }
}

// In a worker: a message is a series to run, and what follows it is a word to stop.
if (typeof document === "undefined") {
  let isStopped = false;
  self.onmessage = async ({ data }) => {
    if (data === "stop") {
      isStopped = true;
      return;
    }
    try {
      await runBenchmark(data, (result) => self.postMessage({ result }), () => isStopped);
      self.postMessage({ done: true });
    } catch (error) {
      self.postMessage({ error: error.message });
    }
  };
}
