#!/usr/bin/env python3
"""Ten rounds of clients that take much memory, and the server's RSS 10 s after each.

    cargo build --release && tests/memory_returns.py [--rounds N] [--wait SECONDS] [WSHD]

Each round has four parts: 10,000 clients come, say something and leave; 200 clients send bombs, a
megabyte of zeros in a kilobyte; 200 clients ask for a megabyte and never read it; 12 clients send
messages of 16 MiB. It says MiB after each, and fails if a round ends more than 8 MiB above the
start.
"""
import argparse
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ABOVE_MAX_MIB = 8


def frame(payload, first=0x82):
    """A client's frame, masked with zeros."""
    length = len(payload)
    if length < 126:
        head = bytes([first, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([first, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, 0x80 | 127]) + length.to_bytes(8, "big")
    return head + bytes(4) + payload


class Server:
    def __init__(self, wshd, echo, directory):
        handlers = Path(directory, "handlers")
        handlers.mkdir()
        (handlers / "echo_wsh.so").write_bytes(Path(echo).read_bytes())
        limits = "connections_max = 20000\npending_handshakes_max = 20000\nmessage_bytes_max = 16777216\noutbound_bytes_max = 67108864\n"
        Path(directory, "config.toml").write_text("[limits]\n" + limits)
        self.process = subprocess.Popen(
            [wshd, "-p", "0", "-w", handlers, "--log-level", "info"],
            cwd=directory,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = None
        while self.port is None:
            line = self.process.stderr.readline()
            if not line:
                sys.exit("the server has ended")
            found = re.search(r"listening address=127\.0\.0\.1:(\d+)", line)
            self.port = found and int(found.group(1))
        threading.Thread(target=self.drop_log, daemon=True).start()

    def drop_log(self):
        for _ in self.process.stderr:
            pass

    def connect(self, extra=""):
        client = socket.create_connection(("127.0.0.1", self.port))
        client.settimeout(30)
        client.sendall(
            f"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = client.recv(4096)
            if not more:
                raise OSError(f"no answer: {answer!r}")
            answer += more
        if b" 101 " not in answer:
            raise OSError(f"refused: {answer!r}")
        return client

    def rss_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def receive(client, length):
    while length > 0:
        more = client.recv(min(length, 1 << 20))
        if not more:
            return
        length -= len(more)


def many_clients(server):
    clients = [server.connect() for _ in range(10_000)]
    for client in clients:
        client.sendall(frame(b"hello"))
    for client in clients:
        receive(client, 7)
        client.close()


def bombs(server):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    clients = [server.connect("Sec-WebSocket-Extensions: permessage-deflate\r\n") for _ in range(200)]
    for client in clients:
        client.sendall(frame(bomb[:-4], 0xC2))
    for client in clients:
        receive(client, 2)
        client.close()


def never_read(server):
    clients = [server.connect() for _ in range(200)]
    for client in clients:
        client.setblocking(False)
        try:
            for _ in range(8):
                client.sendall(frame(bytes(1 << 20)))
        except BlockingIOError:
            pass
    time.sleep(2)
    for client in clients:
        client.close()


def large_messages(server):
    def send_and_read():
        client = server.connect()
        reader = threading.Thread(target=receive, args=(client, (16 << 20) + 10))
        reader.start()
        client.sendall(frame(bytes(16 << 20)))
        reader.join()
        client.close()

    threads = [threading.Thread(target=send_and_read) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


PARTS = [many_clients, bombs, never_read, large_messages]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wshd", nargs="?", default=REPOSITORY / "target/release/wshd")
    parser.add_argument("--echo", default=REPOSITORY / "target/release/libecho_wsh.so")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--wait", type=float, default=10)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(options.wshd).resolve(), options.echo, directory)
        try:
            return rounds(server, options)
        finally:
            server.process.kill()
            server.process.wait()


def rounds(server, options):
    server.connect().close()
    time.sleep(1)
    before = server.rss_mib()
    print(f"before {before:.1f} MiB")
    print("round  " + "  ".join(f"{part.__name__:>20}" for part in PARTS) + "   (most, then after the wait)")
    worst = 0
    for number in range(1, options.rounds + 1):
        shown = []
        for part in PARTS:
            part(server)
            most = server.rss_mib()
            time.sleep(options.wait)
            after = server.rss_mib()
            shown.append(f"{most:>10.1f} -> {after:>6.1f}")
            worst = max(worst, after - before)
        print(f"{number:>5}  " + "  ".join(shown), flush=True)
    print(f"at most {worst:.1f} MiB above the start")
    return 0 if worst <= ABOVE_MAX_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
