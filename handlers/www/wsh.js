// What the pages share: where the server is, how a session ended, and a log.
// A classic script, not a module: modules do not load from a file.
"use strict";

const wsh = {
  // A page opened from a file has no server behind it, and guesses.
  isFile: location.protocol === "file:",

  // The server's address; for a page from a file `?server=localhost:1234` names another.
  server() {
    if (!this.isFile) return location.host;
    return new URLSearchParams(location.search).get("server") || "localhost:9998";
  },

  // A path as a URL has it: `/a%3Fb` for `/a?b`.
  encoded(path) {
    return encodeURI(path).replace(/[?#]/g, encodeURIComponent);
  },

  // `/echo`, with what else is in a URL behind it, as a WebSocket URL on this server.
  url(target) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    return `${scheme}//${this.server()}${target}`;
  },

  // A text without what could break its line, or reverse what is shown behind it.
  plain(text) {
    return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, encodeURIComponent);
  },

  // A WebSocket that is closed when the reader leaves the page. A browser may keep that page for a while, to show it again as
  // it was; the connection would stay open with it, although the reader hears nothing any more.
  open(url, protocols = []) {
    const socket = new WebSocket(url, protocols);
    const leave = ({ persisted }) => persisted && socket.close();
    addEventListener("pagehide", leave);
    socket.addEventListener("close", () => removeEventListener("pagehide", leave));
    return socket;
  },

  // `code 1000, clean`. A browser says 1006 whatever went wrong, a refused handshake included.
  ended(event, wasOpen) {
    if (!wasOpen) return "no connection: refused, or no server listens; the server's log says why";
    const reason = event.reason ? ` ${event.reason}` : "";
    return `closed: code ${event.code}${reason}, ${event.wasClean ? "clean" : "not clean"}`;
  },

  // Why this browser may have kept the page from the server of a URL: before a page from elsewhere reaches this machine or its
  // network, some ask the reader (Local Network Access). Empty if it is not that.
  async keptFrom(url) {
    const { host, hostname } = new URL(url);
    const isOfMachine = LOOPBACK.test(hostname);
    if (host === location.host || !(isOfMachine || LOCAL.test(hostname))) return "";
    const where = isOfMachine ? "this machine" : "your network";
    let answer;
    try {
      answer = await navigator.permissions.query({ name: isOfMachine ? "loopback-network" : "local-network" });
    } catch {
      return ""; // a browser that does not ask
    }
    if (!isSecureContext) return `this browser lets only pages of https reach ${where} from elsewhere`;
    if (answer.state === "denied") return `this browser keeps the page from ${where}: allow it in the page's settings`;
    // A page of this machine is not asked for.
    if (answer.state === "granted" || LOOPBACK.test(location.hostname) || this.isFile) return "";
    return `this browser may keep the page from ${where} until you allow it when asked`;
  },

  // Appends a line. The end stays in view, unless the reader has scrolled away from it.
  write(log, kind, ...parts) {
    const line = document.createElement("li");
    line.className = kind;
    this.keepsEnd(log, () => {
      line.append(...parts);
      log.append(line);
      while (log.childElementCount > 500) log.firstElementChild.remove();
    });
    return line;
  },

  // Changes a log, and scrolls to its end if that was in view.
  keepsEnd(log, change) {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    change();
    if (atEnd) log.scrollTop = log.scrollHeight;
  },

  // `12:34`, or `12:34:56.789` if it is exact; local time.
  timeOfDay(date, isExact) {
    const parts = [date.getHours(), date.getMinutes(), date.getSeconds()].map((one) => String(one).padStart(2, "0"));
    if (!isExact) return parts.slice(0, 2).join(":");
    return `${parts.join(":")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  },

  // Has a button copy what `text` returns.
  copies(button, text) {
    const label = button.textContent;
    button.addEventListener("click", async () => {
      button.textContent = (await this.copy(text())) ? "Copied" : "Not allowed";
      setTimeout(() => (button.textContent = label), 1500);
    });
  },

  // Copies a text, and returns whether that worked. Browsers have a clipboard for pages of https and of this
  // machine; for others there is what came before it.
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "out-of-sight";
      document.body.append(area);
      area.select();
      const isCopied = document.execCommand("copy");
      area.remove();
      return isCopied;
    }
  },

  // Saves a text as a file.
  save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/html" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  },

  // Shows how to let a page from a file in; the server refuses its origin unless told otherwise.
  explainFile() {
    const notice = document.querySelector("[data-from-file]");
    if (!notice || !this.isFile) return;
    notice.querySelector("a").href = `http://${this.server()}/`;
    notice.querySelector("a").textContent = `http://${this.server()}/`;
    notice.hidden = false;
  },
};

// Names of this machine, and addresses and names of its network, as a URL has them.
const LOOPBACK = /^(localhost|.+\.localhost|127\.[\d.]+|\[::1\])$/;
const LOCAL = /^(10\.[\d.]+|192\.168\.[\d.]+|172\.(1[6-9]|2\d|3[01])\.[\d.]+|169\.254\.[\d.]+|\[f[cde].+|.+\.local)$/;

wsh.explainFile();
