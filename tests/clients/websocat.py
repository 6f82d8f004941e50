"""The program `websocat`, as a user of a terminal runs it: messages are lines, and `-vv` tells of the protocol."""

import os
import re
import subprocess
import sys
import time

PROGRAM = sys.argv.pop(1)

from checks import CA, IDLE_SECONDS, MESSAGES, TEXT, URL, cannot, expect, say  # noqa: E402


def run(path, *arguments, sends=b"", then=lambda process: None):
    """Sends bytes to stdin, does `then`, and ends stdin. Returns stdout, and stderr as text."""
    command = [PROGRAM, "-vv", "--linemode-strip-newlines", *arguments, URL + path]
    environment = dict(os.environ, SSL_CERT_FILE=CA)
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        process.stdin.write(sends)
        process.stdin.flush()
        then(process)
        stdout, stderr = process.communicate(timeout=20)
    return stdout, stderr.decode()


def line(text):
    return text.encode() + b"\n"


def closed_with(stderr):
    """The code and the reason of the server's Close frame."""
    found = re.search(r'CloseData \{ status_code: (\d+), reason: "(.*)" \}', stderr)
    return found and (int(found.group(1)), found.group(2))


def main():
    version = subprocess.check_output([PROGRAM, "--version"], text=True)
    say("version", version.split()[1])
    say("extensions", "none")
    expect("text", run("/echo", sends=line(TEXT))[0], line(TEXT))
    binary = MESSAGES["binary"]
    read = []
    run("/echo", "--binary", "--no-line", sends=binary,
        then=lambda process: read.append(process.stdout.read(256)))
    expect("binary", read[0], binary)
    cannot("empty", "it takes a line without a byte for the end")
    # The line break of a message that it reads in several pieces may be sent, too.
    large = line(MESSAGES["large"].replace("\n", " ")[:-1])
    answer, _ = run("/echo", "--buffer-size", str(len(large)), sends=large)
    expect("large", answer.rstrip(b"\n"), large.rstrip(b"\n"))
    cannot("fragments", "it has no option for a part of a message")
    _, stderr = run("/echo", "--ping-interval", "1", "--print-ping-rtts",
                    then=lambda _: time.sleep(1.5))
    expect("ping", "RTT" in stderr, True)
    answer, _ = run("/echo", sends=line(TEXT), then=lambda process: (
        time.sleep(IDLE_SECONDS), process.stdin.write(line(TEXT))))
    expect("idle", answer, line(TEXT) * 2)
    cannot("takeover", "it has no compression of messages")
    _, stderr = run("/echo", "--protocol", "chat,echo", sends=line(TEXT))
    expect("subprotocol", re.findall(r"Sec-WebSocket-Protocol: (\w*)", stderr), ["echo"])
    _, stderr = run("/echo", "--close-status-code", "1000")
    expect("close 1000", closed_with(stderr), (1000, ""))
    _, stderr = run("/close", "--close-status-code", "4000", "--close-reason", "going home")
    expect("close 4000", closed_with(stderr), (4000, "going home"))
    _, stderr = run("/close", sends=line("4001 lunch"))
    expect("server closes", closed_with(stderr), (4001, "lunch"))


main()
