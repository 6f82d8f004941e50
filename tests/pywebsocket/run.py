#!/usr/bin/env python3
"""Runs pywebsocket's own end-to-end tests against `wshd` serving the example handlers.

    tests/pywebsocket/run.py              all 28, with wshd's defaults and with small messages compressed
    tests/pywebsocket/run.py test_echo    this one

The first run fetches pywebsocket3 from PyPI into target/pywebsocket. Its `standalone.py` is replaced by
one that starts wshd with the flags that the tests give it. A test that fails is good if it stands below
with its reason; PYWEBSOCKET.md tells the same. The exit status is 0 when no other one fails.
"""

import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import echo_server  # noqa: E402

PLACE = os.path.join(ROOT, "target", "pywebsocket")
VERSION = "pywebsocket3==4.0.2"
EXAMPLES = ["abort", "abort_handshake", "bench", "benchmark_helper", "close", "cookie", "echo",
            "echo_noext", "hsts", "internal_error", "origin_check"]

# The tests that fail, and why.
DIFFERENT = {
    "test_version_check":
        "another version than 13 is answered 426 (RFC 6455 4.4), and not 400",
    "test_close_on_unsupported_frame":
        "a reserved bit or opcode closes with 1002 (RFC 6455 7.4.1), and not with 1003",
    "test_cgi": "there is no CGI",
}
# With the defaults these fail, too: they look for the compressed bytes of `Hello`.
SHORT = "a message below `deflate_bytes_min` (1024) is sent as it is"
COMPRESSED = ["test_echo_permessage_deflate", "test_echo_permessage_deflate_preference",
              "test_echo_permessage_deflate_two_frames", "test_echo_permessage_deflate_two_messages",
              "test_echo_permessage_deflate_two_msgs_server_no_context_takeover",
              "test_echo_permessage_deflate_with_parameters"]
# What pywebsocket does: every message is compressed, and refers to those before.
EAGER = "deflate_context_takeover = true\n[limits]\ndeflate_bytes_min = 0\n"

# Stands in the place of pywebsocket3/standalone.py.
STANDALONE = """import os, sys
arguments = sys.argv[1:]
if "--basic-auth" in arguments:
    arguments += ["--basic-auth-credential", "test:test"]  # there is no default password
os.execv(os.environ["SERVER"], ["wshd", "--config", os.environ["SERVER_CONFIG"]] + arguments)
"""

# Runs in the directory of their tests, and prints the names of those that fail and how many ran.
RUN = """import json, sys, unittest
sys.path.insert(0, ".")
sys.argv = sys.argv[:1]
names = json.loads(%r)
load = unittest.defaultTestLoader
suite = load.loadTestsFromName("test_endtoend")
every = [test for case in suite for test in case]
chosen = unittest.TestSuite(it for it in every if not names or it._testMethodName in names)
result = unittest.TextTestRunner(verbosity=0).run(chosen)
bad = [(it._testMethodName, why) for it, why in result.errors + result.failures]
print(json.dumps([result.testsRun, bad]))
"""


def main():
    names = sys.argv[1:]
    python, source = install()
    libraries = build()
    status = 0
    with tempfile.TemporaryDirectory(prefix="site-", dir=PLACE) as site:
        add_examples(site, libraries)
        short = {**DIFFERENT, **{name: SHORT for name in COMPRESSED}}
        for what, config, known in [("by default", "", short),
                                    ("with all messages compressed", EAGER, DIFFERENT)]:
            count, bad = run(python, source, libraries, site, config, names)
            print("%s: %d of %d tests pass" % (what, count - len(bad), count))
            for name, why in sorted(bad.items()):
                print("  %s: %s" % (name, known.get(name) or "\n" + why))
                status |= name not in known
            if not names and not bad.keys() >= known.keys():
                print("  pass now, and have a reason not to: %s" % sorted(known.keys() - bad.keys()))
                status = 1
    return status


def install():
    """Fetches pywebsocket once. Returns a python that has it, and the directory of its tests and examples."""
    python = os.path.join(PLACE, "venv", "bin", "python")
    source = os.path.join(PLACE, "source")
    standalone = os.path.join(source, "pywebsocket3", "standalone.py")
    if not os.path.exists(source):
        shutil.rmtree(PLACE, ignore_errors=True)
        subprocess.check_call([sys.executable, "-m", "venv", os.path.join(PLACE, "venv")])
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.check_call(pip + ["install", VERSION, "six==1.17.0"])
        subprocess.check_call(pip + ["download", "--no-deps", "--no-binary", ":all:", "-d", PLACE, VERSION])
        [archive] = glob.glob(os.path.join(PLACE, "*.tar.gz"))
        with tempfile.TemporaryDirectory(dir=PLACE) as place, tarfile.open(archive) as packed:
            packed.extractall(place)
            [directory] = os.listdir(place)
            os.rename(os.path.join(place, directory), source)
    with open(standalone, "w", encoding="utf-8") as file:
        file.write(STANDALONE)
    return python, source


def build():
    """Builds the server and the handlers. Returns the directory of both."""
    return echo_server.build([it + "_wsh" for it in EXAMPLES])


def add_examples(site, libraries):
    """Puts the example handlers into `handlers` of this directory."""
    os.mkdir(os.path.join(site, "handlers"), 0o755)
    for name in EXAMPLES:
        library = os.path.join(site, "handlers", name + "_wsh.so")
        shutil.copyfile(os.path.join(libraries, "lib%s_wsh.so" % name), library)


def run(python, source, libraries, site, config, names):
    """Runs the tests of these names, or all. Returns how many ran, and why the bad ones are bad."""
    path = os.path.join(site, "config.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write('handlers_dir = "handlers"\n' + config)
    environment = {**os.environ, "SERVER": os.path.join(libraries, "wshd"), "SERVER_CONFIG": path}
    with open(os.path.join(PLACE, "log"), "ab") as log:
        found = subprocess.check_output([python, "-c", RUN % json.dumps(names)], stderr=log, env=environment,
                                        cwd=os.path.join(source, "test"))
    count, bad = json.loads(found.splitlines()[-1])
    return count, dict(bad)


if __name__ == "__main__":
    sys.exit(main())
