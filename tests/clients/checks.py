"""What the Python programs have in common: their arguments, what they send, and how they report.

A line of stdout is `CHECK: ok`, `CHECK: cannot, WHY` or `CHECK: failed, WHY`; or it is `version: TEXT` or
`extensions: TEXT`.
"""

import ssl
import sys

URL, CA = sys.argv[1:]
TLS = ssl.create_default_context(cafile=CA) if URL.startswith("wss:") else None

TEXT = "Hello, wörld €"
MESSAGES = {
    "text": TEXT,
    "binary": bytes(range(256)),
    "empty": "",
    "large": "".join("line %d of a large message\n" % n for n in range(50_000))[:1024 * 1024],
}
# Over a context that both sides keep, the second refers to the first.
REPEATED = ["the text of a message that comes again"] * 3
# Each is sent as a message in three frames.
FRAGMENTS = ["Hel", "", "lo, wörld €"]
# The server sends a Ping after half a second of silence, and waits two seconds for its Pong.
IDLE_SECONDS = 3


def expect(check, found, wanted):
    is_right = found == wanted
    say(check, "ok" if is_right else "failed, %s instead of %s" % (shown(found), shown(wanted)))


def cannot(check, why):
    say(check, "cannot, " + why)


def say(check, text):
    print("%s: %s" % (check, text), flush=True)


def shown(value):
    text = repr(value)
    return text if len(text) < 80 else text[:80] + "…"
