#!/usr/bin/env python3
"""Drops damaged copies of a plugin onto a running server, and counts the outcomes.

    tests/mutants.py [--server PATH] [--plugin PATH] [--count 2400] [--seed 1] [--use]

A copy is damaged as files are in life and a little worse: a page of zeros, an end that is missing, bytes
or words changed in the headers, the dynamic section, the relocations, the symbols, the code, anywhere.
An innocent session echoes all the while. The exit status is 0 if the server lived through all of it and
the session missed no answer. With --use each mutant that was loaded is also sent a message, and what
dies of that is counted for itself: damage in code that no load runs shows only there.
"""

import argparse
import base64
import collections
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = 4096
BATCH = 24


def sections(library):
    """The sections of a 64-bit ELF file: name, type, offset, length."""
    table, = struct.unpack_from("<Q", library, 40)
    entry_bytes, count, names = struct.unpack_from("<HHH", library, 58)
    headers = [struct.unpack_from("<IIQQQQ", library, table + index * entry_bytes) for index in range(count)]
    strings = headers[names][4]
    for name, kind, _flags, _address, offset, length in headers:
        end = library.index(b"\0", strings + name)
        yield library[strings + name:end].decode(), kind, offset, length


def mutants(library, count, seed):
    """`count` damaged copies, each with the name of its damage."""
    dice = random.Random(seed)
    found = {name: (offset, length) for name, kind, offset, length in sections(library) if kind != 8 and length}
    places = {"headers": (0, 64 + 56 * struct.unpack_from("<H", library, 56)[0])}
    for name in (".dynamic", ".rela.dyn", ".dynsym", ".dynstr", ".gnu.hash", ".init_array", ".data.rel.ro",
                 ".text", ".eh_frame", ".got"):
        if name in found:
            places[name] = found[name]
    places["anywhere"] = (0, len(library))
    pages = list(range(0, len(library), PAGE))
    dice.shuffle(pages)

    def zeroed_page(copy):
        at = pages.pop() if pages else dice.randrange(0, len(copy), PAGE)
        copy[at:at + PAGE] = bytes(len(copy[at:at + PAGE]))
        return "a page of zeros"

    def other_page(copy):
        source, target = dice.randrange(0, len(copy), PAGE), dice.randrange(0, len(copy) - PAGE, PAGE)
        copy[target:target + PAGE] = copy[source:source + PAGE].ljust(PAGE, b"\0")
        return "another page in a page's place"

    def cut(copy):
        del copy[dice.randrange(len(copy)):]
        return "an end that is missing"

    def zeroed_end(copy):
        at = dice.randrange(len(copy))
        copy[at:] = bytes(len(copy) - at)
        return "an end of zeros"

    def changed(copy):
        place = dice.choice(list(places))
        offset, length = places[place]
        for _ in range(dice.choice((1, 1, 4, 16))):
            at = offset + dice.randrange(length)
            if dice.random() < 0.5:
                copy[at] ^= 1 << dice.randrange(8)
            else:
                at -= at % 8
                word = dice.choice((0, 0xFFFFFFFFFFFFFFFF, 1 << 40, dice.getrandbits(64), dice.getrandbits(16)))
                copy[at:at + 8] = struct.pack("<Q", word)[:len(copy[at:at + 8])]
        return f"bytes changed in {place}"

    kinds = [zeroed_page] * 3 + [changed] * 5 + [other_page, cut, zeroed_end]
    for index in range(count):
        copy = bytearray(library)
        damage = kinds[index % len(kinds)](copy)
        yield damage, bytes(copy)


class WebSocket:
    """A WebSocket client that can do as much as an echo needs."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buffer:
            self.receive()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.split(b"\r\n")[0].decode())

    def receive(self):
        data = self.socket.recv(4096)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data

    def ask(self, text):
        payload = text.encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.socket.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)
        while True:
            while len(self.buffer) < 2 or len(self.buffer) < 2 + self.buffer[1]:
                self.receive()
            opcode, length = self.buffer[0] & 15, self.buffer[1]
            answer, self.buffer = self.buffer[2:2 + length], self.buffer[2 + length:]
            if opcode == 1:
                return answer.decode()
            if opcode == 8:
                raise ConnectionError("closed")
            # A Ping is not answered: the session does not live long enough to be missed.


class Innocent(threading.Thread):
    """A session that echoes until it is told to stop, or is not answered."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket = WebSocket(port, "/innocent")
        self.echoes, self.slowest, self.fault, self.stops = 0, 0.0, None, False
        self.start()

    def run(self):
        try:
            while not self.stops:
                began = time.monotonic()
                text = f"message {self.echoes}"
                if self.socket.ask(text) != text:
                    raise ConnectionError("another answer")
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.echoes += 1
                time.sleep(0.002)
        except OSError as fault:
            self.fault = fault


class Server:
    def __init__(self, binary, plugin):
        self.directory = tempfile.mkdtemp(prefix="wshd-mutants-")
        self.handlers = os.path.join(self.directory, "handlers")
        os.mkdir(self.handlers)
        shutil.copy(plugin, os.path.join(self.handlers, "innocent_wsh.so"))
        with open(os.path.join(self.directory, "config.toml"), "w") as config:
            config.write("[limits]\ninit_timeout_ms = 1000\ntrial_memory_bytes_max = 1000000000\n")
        config = ["--config", config.name]
        help = subprocess.run([binary, "--help"], capture_output=True, text=True).stdout
        if "--trial" not in help:
            config = []  # an older server has no such keys
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WSHD_")}
        environment["NO_COLOR"] = "1"
        self.process = subprocess.Popen(
            [binary, "-p", "0", "-w", self.handlers, *config], cwd="/", env=environment,
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True, errors="replace")
        self.port, self.decided, self.changed = None, {}, threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        with self.changed:
            if not self.changed.wait_for(lambda: self.port, 30):
                sys.exit("mutants: the server does not listen")
        self.innocent = Innocent(self.port)

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                if found := re.search(r"listening.* address=127\.0\.0\.1:(\d+)", line):
                    self.port = int(found[1])
                elif found := re.search(r'handler loaded.* handler="([^"]+)".* elapsed_ms=(\d+)', line):
                    self.decided[found[1]] = ("loaded", int(found[2]))
                elif found := re.search(r"cannot load `([^`]+)_wsh\.so`: (.*)", line):
                    self.decided[found[1]] = (found[2], None)
                self.changed.notify_all()

    def drop(self, files, limit):
        """Puts files into the handlers directory. Returns the outcomes, or None if the server died."""
        for name, content in files:
            hidden = os.path.join(self.handlers, "." + name)
            with open(hidden, "wb") as file:
                file.write(content)
            os.rename(hidden, os.path.join(self.handlers, name + "_wsh.so"))
        names = [name for name, _ in files]
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            with self.changed:
                if all(name in self.decided for name in names):
                    break
                self.changed.wait(0.05)
            if self.process.poll() is not None:
                return None
        for name in names:
            os.remove(os.path.join(self.handlers, name + "_wsh.so"))
        if self.process.poll() is not None:
            return None
        return [self.decided.get(name, ("nothing was said of it", None)) for name in names]

    def is_alive(self):
        time.sleep(0.01)
        return self.process.poll() is None

    def stop(self):
        self.innocent.stops = True
        self.innocent.join(25)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def kind_of(reason):
    """A reason without the parts that differ from file to file."""
    reason = re.sub(r"; it (said `|is tried again).*", "", reason)
    reason = re.sub(r"(undefined symbol|unexpected reloc type|begins with|version) .*", r"\1 …", reason)
    reason = re.sub(r"^.*: (cannot open shared object file|version …)", r"…: \1", reason)
    return re.sub(r"\d+", "N", re.sub(r"`[^`]*`", "`…`", reason))[:100]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", default=os.path.join(ROOT, "target/release/wshd"))
    parser.add_argument("--plugin", default=os.path.join(ROOT, "target/release/libecho_wsh.so"))
    parser.add_argument("--count", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--use", action="store_true", help="send a message to each that was loaded")
    asked = parser.parse_args()
    asked.server = os.path.abspath(asked.server)
    with open(asked.plugin, "rb") as file:
        library = file.read()

    outcomes, deaths, deaths_in_use = collections.Counter(), collections.Counter(), 0
    loads, echoes, slowest, faults = [], 0, 0.0, []
    server = Server(asked.server, asked.plugin)

    def replace(server):
        server.stop()
        return Server(asked.server, asked.plugin)

    def farewell(server):
        nonlocal echoes, slowest
        echoes += server.innocent.echoes
        slowest = max(slowest, server.innocent.slowest)
        if server.innocent.fault is not None and server.process.poll() is None:
            faults.append(server.innocent.fault)

    waiting = [(f"m{index}", damage, copy) for index, (damage, copy) in
               enumerate(mutants(library, asked.count, asked.seed))]
    began = time.monotonic()
    while waiting:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        decided = server.drop([(name, copy) for name, _, copy in batch], 60)
        if decided is None:
            # One file of the batch ended the server, so each is tried alone.
            farewell(server)
            server = replace(server)
            decided = []
            for name, damage, copy in batch:
                alone = server.drop([(name, copy)], 60)
                if alone is None or not server.is_alive():
                    deaths[damage] += 1
                    decided.append(("the server died", None))
                    server = replace(server)
                else:
                    decided += alone
        for (name, _, _), (outcome, elapsed) in zip(batch, decided):
            outcomes[kind_of(outcome)] += 1
            if elapsed is not None:
                loads.append(elapsed)
        if asked.use:
            for (name, damage, copy), (outcome, _) in zip(batch, decided):
                if outcome != "loaded":
                    continue
                server.drop([(name + "u", copy)], 60)
                try:
                    session = WebSocket(server.port, f"/{name}u")
                    session.socket.settimeout(2)
                    session.ask("hello")
                except OSError:
                    pass  # it was removed again, or does what it likes with its own session
                if not server.is_alive():
                    deaths_in_use += 1
                    server = replace(server)
    took = time.monotonic() - began
    farewell(server)

    good = [(f"g{index}", library + bytes([index])) for index in range(40)]
    server.drop(good, 60)
    good = sorted(elapsed for outcome, elapsed in (server.decided[name] for name, _ in good if name in server.decided)
                  if elapsed is not None)
    server.stop()

    print(f"{asked.count} mutants of {os.path.basename(asked.plugin)}, seed {asked.seed}, in {took:.0f} s")
    for outcome, count in outcomes.most_common():
        print(f"{count:6} {outcome}")
    for damage, count in deaths.most_common():
        print(f"{count:6} deaths of the server by {damage}")
    if asked.use:
        print(f"{deaths_in_use:6} deaths of the server by the first message to what was loaded")
    print(f"the innocent session had {echoes} answers, the latest after {slowest * 1000:.0f} ms")
    if good:
        print(f"40 good files at once, each from its first look to the swap: median {good[len(good) // 2]} ms")
    print(f"deaths of the server: {sum(deaths.values())}")
    for fault in faults:
        print(f"the innocent session failed: {fault}")
    return 1 if deaths or faults else 0


if __name__ == "__main__":
    sys.exit(main())
