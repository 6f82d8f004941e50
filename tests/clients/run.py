#!/usr/bin/env python3
"""Runs clients of other projects against `wshd`, plain and over TLS, and prints a table.

    tests/clients/run.py
    tests/clients/run.py --only gorilla --only ws

Each client is a small program beside this file that does what CHECKS lists. It is told the server's URL and the file of
the CA, and prints a line for each check; `checks.py` and `checks.mjs` say how. Packages of PyPI and npm are installed
below target/clients, in the versions of requirements.txt and package.json.

The exit status is 0 if all checks of all clients are good, 1 if one failed, and 2 if a client could not be run because
something is not installed; what to install is said.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import echo_server  # noqa: E402

HANDLERS = {"echo": "echo_wsh", "echo_takeover": "echo_wsh", "close": "close_wsh"}
# A client that does not answer Pings is let go soon, and the largest message is one of the checks.
CONFIG = """log_level = "info"
[limits]
message_bytes_max = 1048576
ping_interval_ms = 500
pong_timeout_ms = 2000
[handler.echo_takeover]
deflate_context_takeover = true
"""
CHECKS = {
    "text": "a text comes back",
    "binary": "all 256 bytes come back",
    "empty": "a message without a byte comes back",
    "large": "a text of 1 MiB comes back",
    "fragments": "a message in several frames comes back as a whole",
    "ping": "the server answers a Ping",
    "idle": "the client answers the Pings of the server, and is still connected after 3 s",
    "takeover": "messages come back over a server that keeps its compression context",
    "subprotocol": "of `chat, echo` the server chooses `echo`",
    "close 1000": "the server answers a Close frame with its code",
    "close 4000": "and another one with its code and its reason",
    "server closes": "the client is told the code and the reason of the server's Close frame",
}
CLIENT_SECONDS_MAX = 120


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [client.name for client in CLIENTS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME",
                        help="run this client: " + ", ".join(names))
    arguments = parser.parse_args()
    clients = [it for it in CLIENTS if not arguments.only or it.name in arguments.only]

    built = echo_server.build(sorted(set(HANDLERS.values())))
    lacking = {}
    with tempfile.TemporaryDirectory(prefix="wshd-clients-") as site:
        with echo_server.EchoServer(site, built, HANDLERS, CONFIG) as server:
            for client in clients:
                lack = client.lacks()
                if lack:
                    lacking[client.name] = lack
                    continue
                client.run(server)
    print_table([it for it in clients if it.name not in lacking])
    for name, lack in lacking.items():
        print("not run: %s: %s" % (name, lack))
    if any(it.failures for it in clients):
        return 1
    return 2 if lacking else 0


class Client:
    """A client: how its program is started, and what came of it."""

    def __init__(self, name, command, lacks):
        self.name, self.command, self.lacks = name, command, lacks
        self.version, self.extensions, self.good, self.unable, self.failures = "", "", {}, {}, []

    def run(self, server):
        """Runs the program against both ports."""
        for scheme, port in (("ws", server.plain_port), ("wss", server.tls_port)):
            url = "%s://localhost:%d" % (scheme, port)
            before = len(server.said())
            said = self.said(url, server.ca)
            seen = server.said()[before:]
            lines = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
            self.version = lines.get("version", self.version)
            self.extensions = lines.get("extensions", self.extensions)
            for check in CHECKS:
                if check in lines:
                    self.judge(scheme, check, lines[check])
            unsaid = [check for check in CHECKS if check not in lines]
            if unsaid:
                self.failures.append("%s: not reached: %s" % (scheme, ", ".join(unsaid)))
            for line in seen.splitlines():
                if "WARN" in line or "ERROR" in line:
                    self.failures.append("%s: the server says: %s" % (scheme, line))

    def said(self, url, ca):
        command = self.command() + [url, ca]
        environment = {key: value for key, value in os.environ.items()
                       if not key.lower().endswith("_proxy")}
        try:
            done = subprocess.run(command, cwd=HERE, env=environment, text=True,
                                  encoding="utf-8", capture_output=True, timeout=CLIENT_SECONDS_MAX)
        except subprocess.TimeoutExpired as late:
            self.failures.append("%s: it does not end" % url)
            return (late.stdout or b"").decode()
        if done.returncode != 0:
            self.failures.append("%s: it ended with %d: %s"
                                 % (url, done.returncode, done.stderr.strip()[-2000:]))
        return done.stdout

    def judge(self, scheme, check, verdict):
        if verdict == "ok":
            self.good.setdefault(check, []).append(scheme)
        elif verdict.startswith("cannot, "):
            self.unable[check] = verdict[len("cannot, "):]
        else:
            self.failures.append("%s: %s: %s" % (scheme, check, verdict))

    def cell(self, check):
        if self.good.get(check) == ["ws", "wss"]:
            return "ok"
        return "–" if check in self.unable else "**failed**"


def print_table(clients):
    """Prints Markdown: a row for each client, and what needs a sentence."""
    print("Each check ran plain and over TLS. `–` is what a client has no call for.\n")
    print("| client | version | %s | extensions agreed on |" % " | ".join(CHECKS))
    print("|---" * (len(CHECKS) + 3) + "|")
    for client in clients:
        cells = " | ".join(client.cell(check) for check in CHECKS)
        print("| %s | %s | %s | %s |" % (client.name, client.version, cells, client.extensions))
    print()
    for check, meaning in CHECKS.items():
        print("- *%s*: %s." % (check, meaning))
    print()
    for client in clients:
        for check, why in client.unable.items():
            print("%s, %s: %s" % (client.name, check, why))
        for failure in client.failures:
            print("FAILED: %s: %s" % (client.name, failure))


# --- How each is started, and what it needs.

TARGET = os.path.join(echo_server.ROOT, "target", "clients")
PYTHON = os.path.join(TARGET, "python", "bin", "python")
NODE = os.path.join(TARGET, "node")


def of_python(program):
    return lambda: [PYTHON, program]


def of_node(program):
    return lambda: ["node", program]


def java():
    """Compiles once: the program of one file that `java` runs is compiled by each run."""
    subprocess.check_call(["javac", "-d", os.path.join(TARGET, "java"), "JavaHttp.java"], cwd=HERE)
    return ["java", "-cp", os.path.join(TARGET, "java"), "JavaHttp"]


def go():
    """Builds with the packages of Debian, which lie where Go looked for them before it had modules."""
    program = os.path.join(TARGET, "go_gorilla")
    environment = dict(os.environ, GO111MODULE="off", GOPATH=DEBIAN_GO,
                       GOCACHE=os.path.join(TARGET, "go"), GOFLAGS="")
    subprocess.check_call(["go", "build", "-o", program, "go_gorilla.go"], cwd=HERE, env=environment)
    return [program]


def websocat():
    found = shutil.which("websocat", path=os.path.join(TARGET, "cargo", "bin")) \
        or shutil.which("websocat")
    return [sys.executable, "websocat.py", found]


def lacks_python():
    return installed("python", "requirements.txt", "python3", "apt-get install python3-venv", [
        [sys.executable, "-m", "venv", os.path.join(TARGET, "python")],
        [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r",
         os.path.join(HERE, "requirements.txt")]])


def lacks_node():
    return installed("node", "package.json", "npm", "apt-get install nodejs npm", [
        ["cp", os.path.join(HERE, "package.json"), NODE],
        ["npm", "install", "--silent", "--no-package-lock", "--prefix", NODE]])


def installed(folder, listing, tool, advice, commands):
    """Installs packages once for each state of their list. Answers what is lacking, or nothing."""
    if not shutil.which(tool):
        return "`%s` is not installed: %s" % (tool, advice)
    with open(os.path.join(HERE, listing), encoding="utf-8") as file:
        wanted = file.read()
    done = os.path.join(TARGET, folder, "installed")
    if os.path.exists(done):
        with open(done, encoding="utf-8") as file:
            if file.read() == wanted:
                return None
    shutil.rmtree(os.path.join(TARGET, folder), ignore_errors=True)
    os.makedirs(os.path.join(TARGET, folder))
    for command in commands:
        if subprocess.call(command) != 0:
            return "`%s` failed; %s" % (" ".join(command), advice)
    with open(done, "w", encoding="utf-8") as file:
        file.write(wanted)
    return None


def lacks_go():
    gorilla = os.path.join(DEBIAN_GO, "src", "github.com", "gorilla", "websocket")
    if shutil.which("go") and os.path.isdir(gorilla):
        return None
    return "apt-get install golang-go golang-github-gorilla-websocket-dev"


def lacks_java():
    return None if shutil.which("javac") else "apt-get install default-jdk-headless"


def lacks_mojo():
    check = ["perl", "-e", "use Mojolicious; use IO::Socket::SSL;"]
    if shutil.which("perl") and subprocess.call(check, stderr=subprocess.DEVNULL) == 0:
        return None
    return "apt-get install libmojolicious-perl libio-socket-ssl-perl"


def lacks_websocat():
    if websocat()[-1]:
        return None
    return "apt-get install libssl-dev pkg-config; cargo install --root target/clients/cargo " \
        "--locked websocat"


DEBIAN_GO = "/usr/share/gocode"
CLIENTS = [
    Client("websockets", of_python("python_websockets.py"), lacks_python),
    Client("websocket-client", of_python("python_websocket_client.py"), lacks_python),
    Client("aiohttp", of_python("python_aiohttp.py"), lacks_python),
    Client("tornado", of_python("python_tornado.py"), lacks_python),
    Client("libcurl", of_python("python_libcurl.py"), lacks_python),
    Client("ws", of_node("node_ws.mjs"), lacks_node),
    Client("undici", of_node("node_undici.mjs"), lacks_node),
    Client("faye-websocket", of_node("node_faye.mjs"), lacks_node),
    Client("gorilla", go, lacks_go),
    Client("java.net.http", java, lacks_java),
    Client("Mojolicious", lambda: ["perl", "perl_mojo.pl"], lacks_mojo),
    Client("websocat", websocat, lacks_websocat),
]

if __name__ == "__main__":
    sys.exit(main())
