#!/usr/bin/env python3
"""Asks pywebsocket and `wshd` the same things, byte for byte, and tells where their answers differ.

    tests/pywebsocket/wire.py            compares the differences with those of differences.txt
    tests/pywebsocket/wire.py --bless    writes that file, to be read before it is kept
    tests/pywebsocket/wire.py --all      prints the answers of both, also where they are alike

Both serve pywebsocket's example handlers and a few files. PYWEBSOCKET.md says why a difference is one. The
exit status is 0 when there are no others. The file is of pywebsocket3 4.0.2 with Python 3.11.
"""

import concurrent.futures
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

import run

DIFFERENCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "differences.txt")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
# As close to pywebsocket as it can be configured.
CONFIG = 'handlers_dir = "handlers"\ndocument_root = "www"\ndirectory_listings = true\n' + run.EAGER


def opening(target="/echo", *lines, without=None, method="GET", version="HTTP/1.1"):
    """An opening handshake. A line takes the place of one with its name, if its name has a `!` behind it."""
    usual = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade",
             "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}
    usual.pop(without, None)
    more = []
    for line in lines:
        name, value = line.split(": ", 1)
        if name.endswith("!"):
            usual[name[:-1]] = value
        else:
            more.append(line)
    head = ["%s %s %s" % (method, target, version)] + ["%s: %s" % it for it in usual.items()] + more
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def frame(first, payload=b"", length=None, masked=True):
    """A frame of a client; `length` is how many bits say how long it is."""
    size = len(payload)
    length = length or (7 if size < 126 else 16)
    short = {7: size, 16: 126, 64: 127}[length] | (0x80 if masked else 0)
    head = bytes([first, short]) + (size.to_bytes(length // 8, "big") if length > 7 else b"")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def text(words):
    return frame(0x81, words.encode())


def close(code, reason=b""):
    return frame(0x88, struct.pack("!H", code) + reason)


def get(target, *lines, method="GET"):
    return ("\r\n".join(["%s %s HTTP/1.1" % (method, target), "Host: localhost", *lines]) + "\r\n\r\n").encode()


def probes():
    """What is asked: a name, the first bytes, and the frames that follow a 101."""
    yield "a handshake", opening(), []
    for method in ("POST", "HEAD", "PUT"):
        yield method, opening(method=method), []
    for version in ("HTTP/1.0", "HTTP/2.0"):
        yield version, opening(version=version), []
    for name in ("Upgrade", "Connection", "Host", "Sec-WebSocket-Version", "Sec-WebSocket-Key"):
        yield "no " + name, opening(without=name), []
    for line in ("Upgrade!: WebSocket", "Upgrade!: h2c", "Upgrade!: h2c, websocket", "Host!: ",
                 "Connection!: keep-alive, Upgrade", "Host!: elsewhere.example",
                 "Sec-WebSocket-Version!: 8", "Sec-WebSocket-Version!: 013", "Sec-WebSocket-Version!: 13, 8",
                 "Sec-WebSocket-Key!: c2hvcnQ=", "Sec-WebSocket-Key!: dGhlIHNhbXBsZSBub25jZR==",
                 "Sec-WebSocket-Key: " + KEY, "Origin: https://elsewhere.example", "Origin: null",
                 "Sec-WebSocket-Protocol: echo", "Sec-WebSocket-Protocol: other", "Sec-WebSocket-Protocol: ",
                 "Sec-WebSocket-Protocol: a b"):
        yield line.replace("!", ""), opening("/echo", line), []
    yield "lines that end in LF", opening().replace(b"\r\n", b"\n"), []
    yield "a folded line", opening("/echo", "X: a\r\n b"), []
    yield "two Host lines", opening("/echo", "Host: localhost"), []
    for offer in ("", ",", "foo;", 'foo; a="b', "foo; a=1", "permessage-deflate", "permessage-deflate, deflate-frame",
                  "permessage-deflate; foo, permessage-deflate"):
        yield "offers `%s`" % offer, opening("/echo", "Sec-WebSocket-Extensions: " + offer), []
    for parameter in ("client_no_context_takeover", "client_max_window_bits", "client_max_window_bits=10",
                      "server_no_context_takeover", "server_no_context_takeover=1", "server_max_window_bits",
                      "server_max_window_bits=8", "server_max_window_bits=10", 'server_max_window_bits="10"',
                      "server_max_window_bits=010", "server_max_window_bits=16", "foo=bar",
                      "server_max_window_bits=10; server_max_window_bits=9",
                      "server_no_context_takeover; server_max_window_bits=10"):
        yield "offers %s" % parameter, opening("/echo", DEFLATE + "; " + parameter), []
    for target in ("/echo?x=1", "/echo/", "/Echo", "/%65cho", "/./echo", "/../echo", "//echo", "/echo#f", "/echo#",
                   "/echo?a#", "/nothing", "/nothing#f", "ws://localhost:PORT/echo", "wss://localhost:PORT/echo",
                   "WS://LOCALHOST:PORT/echo", "http://localhost:PORT/echo", "ws://other.example:PORT/echo",
                   "ws://localhost:1/echo", "ws://localhost/echo", "ws:///echo", "ws://localhost:x/echo"):
        yield "asks for " + target, opening(target), []

    def frames(name, *bytes_of_frames, at="/echo", lines=()):
        return name, opening(at, *lines), list(bytes_of_frames)
    yield frames("text", text("hello"))
    yield frames("binary", frame(0x82, b"\0\xff"))
    yield frames("empty text", text(""))
    yield frames("60,000 bytes", frame(0x82, b"x" * 60000))
    yield frames("Goodbye", text("Goodbye"))
    yield frames("Goodbye in bytes", frame(0x82, b"Goodbye"))
    yield frames("fragments", frame(0x01, b"a"), frame(0x00, b""), frame(0x80, b"b"))
    yield frames("an empty first fragment", frame(0x01), frame(0x80, b"b"))
    yield frames("a Ping", frame(0x89, b"p"))
    yield frames("a Pong", frame(0x8a, b"p"))
    yield frames("a Ping between fragments", frame(0x01, b"a"), frame(0x89, b"p"), frame(0x80, b"b"))
    yield frames("a Close between fragments", frame(0x01, b"a"), close(1000))
    yield frames("a Ping of 126 bytes", frame(0x89, b"x" * 126))
    yield frames("a Ping in fragments", frame(0x09, b"x"))
    yield frames("a frame without a mask", frame(0x81, b"hi", masked=False))
    for first in (0xc1, 0xa1, 0x91, 0x83, 0x03, 0x8b):
        yield frames("first byte 0x%02x" % first, frame(first, b"x"))
    yield frames("a continuation of nothing", frame(0x80))
    yield frames("a message in a message", frame(0x01, b"a"), text("b"))
    yield frames("a length in 16 bits that needs 7", frame(0x81, b"hi", length=16))
    yield frames("a length in 64 bits that needs 7", frame(0x81, b"hi", length=64))
    yield frames("a length of 2^63", b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"\0\0\0\0")
    yield frames("text that is not UTF-8", frame(0x81, b"\x80"))
    yield frames("text with a surrogate", frame(0x81, b"\xed\xa0\x80"))
    yield frames("text and a Close at once", text("last") + close(1000))
    for code in (0, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000, 65535):
        yield frames("Close %d" % code, close(code))
    yield frames("an empty Close", frame(0x88))
    yield frames("a Close of one byte", frame(0x88, b"\3"))
    yield frames("a Close with a reason", close(1000, b"bye"))
    yield frames("a Close whose reason is not UTF-8", close(1000, b"\xff"))
    hello = bytes.fromhex("f248cdc9c90700")
    for name, sent in (("compressed text", [frame(0xc1, hello)]), ("text", [text("Hello")]), ("empty text", [text("")]),
                       ("compressed text twice", [frame(0xc1, hello), frame(0xc1, bytes.fromhex("f200110000"))]),
                       ("a compressed Ping", [frame(0xc9, b"x")]), ("what does not inflate", [frame(0xc1, b"\xff" * 4)]),
                       ("a compressed continuation", [frame(0x41, hello[:3]), frame(0xc0, hello[3:])])):
        yield frames("with deflate, " + name, *sent, lines=[DEFLATE])
    yield frames("text, without context", text("Hello"), text("Hello"), lines=[DEFLATE + "; server_no_context_takeover"])

    for order in ("1000 ", "1000 bye", "1001 bye", "1002 x", "3333 sun", "0 x", "999 x", "1005 x", "1006 x", "1015 x",
                  "5000 x", "1000 " + "x" * 124, "1000", "now please"):
        yield frames("/close: %.9s" % order, text(order), at="/close")
    yield frames("/close: Close 3333", close(3333, b"sunsunsunsun"), at="/close")
    yield frames("/close: an empty Close", frame(0x88), at="/close")
    yield frames("/abort", at="/abort")
    yield frames("/abort_handshake", at="/abort_handshake")
    for order in ("0 3 hey", "0 0 hey", "0 3", "0 x y"):
        yield frames("/bench: " + order, text(order), at="/bench")
    for order in (["receive 5"], ["receive 0"], ["send 1", b"aaa"], ["send 1", "aaa"], ["send 1", b"aba"],
                  ["send 0", "aba"], ["bogus"]):
        sent = [text(it) if isinstance(it, str) else frame(0x82, it) for it in order]
        yield frames("/benchmark_helper: %s" % order, *sent, at="/benchmark_helper", lines=[DEFLATE])
    for query in ("", "?set", "?set_httponly", "?clear", "?other"):
        yield frames("/cookie" + query, at="/cookie" + query)
    yield frames("/echo_noext", text("Hello"), at="/echo_noext", lines=[DEFLATE])
    yield frames("/hsts", at="/hsts")
    yield frames("/internal_error", at="/internal_error")
    for origin in ("http://example.com", "http://example.com:8080", "https://example.com"):
        yield frames("/origin_check from " + origin, at="/origin_check", lines=["Origin: " + origin])
    yield frames("/origin_check from no page", at="/origin_check")

    yield "GET at a handler", get("/echo"), []
    for target in ("/page.txt", "/page%2etxt", "/page.txt/", "/missing", "/dir", "/dir?q=1", "/dir/", "/listing/",
                   "/out.txt", "/../../x"):
        yield "GET " + target, get(target), []
    yield "GET of a part", get("/page.txt", "Range: bytes=0-1"), []
    yield "GET of what is no newer", get("/page.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), []
    for method in ("HEAD", "POST", "PUT", "OPTIONS"):
        yield method + " of a file", get("/page.txt", method=method), []
    yield "a target of 70,000 bytes", get("/" + "x" * 70000), []
    yield "a header line of 70,000 bytes", get("/", "X: " + "x" * 70000), []
    yield "150 header lines", get("/", *["X: 1"] * 150), []
    yield "no HTTP", b"hello\r\n\r\n", []


def ask(port, first, frames):
    """What comes back. When nothing has come for a while, the client closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(first.replace(b"PORT", str(port).encode()))
        answer = Answer(stream)
        if not answer.opens():
            return answer.refusal()
        try:
            stream.sendall(b"".join(frames))
            answer.read(until=0.4)
            stream.sendall(close(1000))
        except OSError:
            pass
        answer.read(until=10)
        return answer.session()


class Answer:
    """The bytes of an answer, as they come."""

    def __init__(self, stream):
        self.stream, self.bytes, self.is_over = stream, b"", False

    def read(self, until, enough=lambda _: False):
        """Reads until nothing has come for so many seconds, the other side has closed, or there is enough."""
        self.stream.settimeout(until)
        while not self.is_over and not enough(self.bytes):
            try:
                more = self.stream.recv(1 << 20)
            except socket.timeout:
                return
            except OSError:
                more = b""
            self.bytes += more
            self.is_over = not more

    def opens(self):
        self.read(10, lambda found: b"\r\n\r\n" in found and b" 101 " in found[:20])
        return b" 101 " in self.bytes[:20]

    def refusal(self):
        if not self.bytes.startswith(b"HTTP/"):
            return "ends" if not self.bytes else "a page without a head"
        head, _, body = self.bytes.partition(b"\r\n\r\n")
        status = head.split(b" ")[1].decode()
        told = re.findall(r"(?mi)^((?:sec-websocket-version|allow|location|content-range): .*?)\r?$", head.decode("latin-1"))
        # A page of an error says no more than its status.
        told += [body.decode("latin-1").strip()] if status < "300" and len(body) < 60 else []
        return ", ".join([status] + told)

    def session(self):
        head, _, rest = self.bytes.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[1:]
        usual = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        if tuple(lines[:3]) != usual:
            return "another 101: %r" % lines
        parts = ["101"] + lines[3:]
        while rest:
            first, length = rest[0], rest[1]
            skip = {126: 4, 127: 10}.get(length, 2)
            length = int.from_bytes(rest[2:skip], "big") if skip > 2 else length
            parts.append(shown(first, rest[skip:skip + length]))
            rest = rest[skip + length:]
        return ", ".join(parts) + ("" if self.is_over else ", and waits")


def shown(first, payload):
    """A frame in words."""
    if first == 0x88:
        code = "no code" if len(payload) < 2 else str(struct.unpack("!H", payload[:2])[0])
        return "Close " + " ".join([code, payload[2:].decode("latin-1")]).strip()
    kind = {0x81: "text", 0x82: "binary", 0x8a: "Pong", 0x89: "Ping"}.get(first, "0x%02x" % first)
    if first & 0x40:
        return "%s %s" % (kind, payload.hex())
    return "%s %s" % (kind, repr(payload.decode("latin-1")) if len(payload) < 60 else "of %d bytes" % len(payload))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, port, log):
    """Starts a server, and waits until it accepts."""
    process = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit("%s does not listen; see %s" % (command[0], log.name))


def compare():
    """The name of each probe, and what both answer."""
    python, source = run.install()
    libraries = run.build()
    with tempfile.TemporaryDirectory(prefix="wire-", dir=run.PLACE) as site:
        www = os.path.join(site, "www")
        for name, content in (("page.txt", "a page"), ("dir/index.html", "an index"), ("listing/a.txt", "a")):
            path = os.path.join(www, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        with open(os.path.join(site, "out.txt"), "w", encoding="utf-8") as file:
            file.write("outside")
        os.symlink("../out.txt", os.path.join(www, "out.txt"))
        run.add_examples(site, libraries)
        config = os.path.join(site, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        with open(os.path.join(run.PLACE, "wire.log"), "wb") as log:
            ports = free_port(), free_port()
            both = [["-H", "127.0.0.1", "-p", str(port), "-V", "localhost", "-P", str(port)] for port in ports]
            there = start([python, "-m", "pywebsocket3.standalone", "--log-level", "error", "-d", www,
                           "-w", os.path.join(source, "example"), *both[0]], ports[0], log)
            here = start([os.path.join(libraries, "wshd"), "--config", config, *both[1]], ports[1], log)
            try:
                with concurrent.futures.ThreadPoolExecutor(8) as pool:
                    asked = list(probes())
                    answers = [pool.map(ask, [port] * len(asked), *zip(*[it[1:] for it in asked])) for port in ports]
                    return [(it[0], *both) for it, *both in zip(asked, *answers)]
            finally:
                there.kill()
                here.terminate()
                there.wait()
                here.wait()


def main():
    found = compare()
    differ = [it for it in found if it[1] != it[2]]
    told = "".join("%s\n  there  %s\n  here   %s\n" % it for it in differ)
    if "--all" in sys.argv[1:]:
        print("".join("%s\n  both   %s\n" % (name, there) for name, there, here in found if there == here) + told)
    print("%d of %d answers are alike" % (len(found) - len(differ), len(found)))
    if "--bless" in sys.argv[1:]:
        with open(DIFFERENCES, "w", encoding="utf-8") as file:
            file.write(told)
        return 0
    with open(DIFFERENCES, encoding="utf-8") as file:
        known = file.read()
    if told == known:
        return 0
    told, known = (set(re.split(r"(?m)^(?=\S)", it)) for it in (told, known))
    print("".join("new: " + it for it in sorted(told - known)), end="")
    print("".join("gone: " + it for it in sorted(known - told)), end="")
    return 1


if __name__ == "__main__":
    sys.exit(main())
