#!/usr/bin/env python3
"""Runs the Autobahn test suite against `wshd` serving `echo_wsh`.

    tests/autobahn/run.py            what .ci/run runs: everything but most of compression
    tests/autobahn/run.py --all      all 517 cases, about a quarter of an hour
    tests/autobahn/run.py 7.1.5 '12.1.*'

The first run installs the suite from PyPI into target/autobahn. A case is good when it is OK, or
NON-STRICT or INFORMATIONAL where the suite itself has no strict answer, and its close is clean; a
case that is missing from the report is bad. The exit status is 0 when all are good.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import suite

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Each of 12 and 13 sends a thousand messages a case; these have every size and every parameter.
CI = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*",
      "12.*.1", "12.*.5", "12.*.11", "13.*.3"]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
# FAILED BY CLIENT: the suite itself closed the socket first.
GOOD_CLOSE = {"OK", "INFORMATIONAL", "FAILED BY CLIENT"}
# The largest cases need a message of 16 MiB, and one of 65,536 frames.
CONFIG = """listen = ["127.0.0.1:0"]
handlers_dir = "handlers"
log_level = "info"
[limits]
message_bytes_max = 16777216
fragments_max = 100000
outbound_bytes_max = 67108864
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="cases or patterns of them")
    parser.add_argument("--all", action="store_true", help="all 517 cases")
    parser.add_argument("--report", default=os.path.join(ROOT, "target", "autobahn-report"))
    arguments = parser.parse_args()
    cases = ["*"] if arguments.all else arguments.cases or CI

    python = suite.install(os.path.join(ROOT, "target", "autobahn"))
    libraries = build()
    os.makedirs(arguments.report, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wshd-autobahn-", dir=arguments.report) as site:
        with Server(site, libraries) as port:
            wanted = fuzz(python, port, cases, arguments.report)
    print("ran %d s; the report is %s" % (time.monotonic() - began, arguments.report))
    return summarise(os.path.join(arguments.report, "index.json"), wanted)


def build():
    """Builds the server and its handler. Returns the directory of both."""
    build = ["cargo", "build", "--release", "--locked", "-p", "wshd", "-p", "echo_wsh"]
    subprocess.check_call(build, cwd=ROOT)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = json.loads(subprocess.check_output(metadata, cwd=ROOT))
    return os.path.join(metadata["target_directory"], "release")


class Server:
    """`wshd` with one handler on a free port, until the end of the `with`."""

    def __init__(self, site, libraries):
        handlers = os.path.join(site, "handlers")
        os.mkdir(handlers, 0o755)
        library = os.path.join(handlers, "echo_wsh.so")
        with open(os.path.join(libraries, "libecho_wsh.so"), "rb") as file:
            content = file.read()
        with open(library, "wb") as file:
            file.write(content)
        os.chmod(library, 0o755)
        config = os.path.join(site, "config.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG)
        self.log = os.path.join(site, "log")
        self.command = [os.path.join(libraries, "wshd"), "--config", config]

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.log, encoding="utf-8") as log:
                found = re.search(r"ws://localhost:(\d+)/echo", log.read())
            if found:
                return int(found.group(1))
            time.sleep(0.05)
        with open(self.log, encoding="utf-8") as log:
            sys.exit("the server does not serve /echo:\n" + log.read())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def fuzz(python, port, cases, report):
    """Runs the suite. Returns the cases that it was to run."""
    spec = os.path.join(report, "spec.json")
    server = {"agent": "wshd", "url": "ws://127.0.0.1:%d/echo" % port,
              # A busy machine answers late.
              "options": {"openHandshakeTimeout": 20}}
    with open(spec, "w", encoding="utf-8") as file:
        json.dump({"outdir": report, "servers": [server], "cases": cases, "exclude-cases": [],
                   "exclude-agent-cases": {}}, file)
    log = os.path.join(report, "log")
    with open(log, "wb") as file:
        command = [python, "-u", suite.__file__, spec]
        status = subprocess.call(command, stdout=file, stderr=file)
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    listed = re.search(r"^Cases = (\[.*\])$", text, re.M)
    if status != 0 or not listed:
        sys.exit("the suite ended with status %d:\n%s" % (status, text[-2000:]))
    return [str(case) for case in ast.literal_eval(listed.group(1))]


def summarise(index, wanted):
    """Prints a line for each category, and each case that is not OK. Returns the exit status."""
    with open(index, encoding="utf-8") as file:
        found = json.load(file).get("wshd", {})
    categories, remarks, bad = {}, [], []
    for case in sorted(found, key=lambda case: [int(part) for part in case.split(".")]):
        verdict, close = found[case]["behavior"], found[case]["behaviorClose"]
        counts = categories.setdefault(case.split(".")[0], {})
        counts[verdict] = counts.get(verdict, 0) + 1
        line = "%-8s %s, close %s" % (case, verdict, close)
        if verdict not in GOOD or close not in GOOD_CLOSE:
            bad.append(line)
        elif (verdict, close) != ("OK", "OK"):
            remarks.append(line)
    for category, counts in categories.items():
        verdicts = ("%d %s" % (count, verdict) for verdict, count in sorted(counts.items()))
        print("%3s  %s" % (category, ", ".join(verdicts)))
    for line in remarks:
        print("good enough: " + line)
    bad += ["%-8s missing" % case for case in wanted if case not in found]
    for line in bad:
        print("BAD: " + line)
    print("%d of %d cases are good" % (len(wanted) - len(bad), len(wanted)))
    return 1 if bad or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
