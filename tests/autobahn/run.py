#!/usr/bin/env python3
"""Runs the Autobahn test suite against `wshd` serving `echo_wsh`, plain and over TLS.

    tests/autobahn/run.py            what .ci/run runs: everything but most of compression
    tests/autobahn/run.py --all      all 517 cases, about half an hour
    tests/autobahn/run.py --plain 7.1.5 '12.1.*'

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
sys.path.insert(0, os.path.join(ROOT, "tests"))
import echo_server  # noqa: E402

# Each of 12 and 13 sends a thousand messages a case; these have every size and every parameter.
CI = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*",
      "12.*.1", "12.*.5", "12.*.11", "13.*.3"]
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
# FAILED BY CLIENT: the suite itself closed the socket first.
GOOD_CLOSE = {"OK", "INFORMATIONAL", "FAILED BY CLIENT"}
# The largest cases need a message of 16 MiB, and one of 65,536 frames.
CONFIG = """log_level = "info"
[limits]
message_bytes_max = 16777216
fragments_max = 100000
outbound_bytes_max = 67108864
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="cases or patterns of them")
    parser.add_argument("--all", action="store_true", help="all 517 cases")
    parser.add_argument("--plain", action="store_true", help="not over TLS")
    parser.add_argument("--report", default=os.path.join(ROOT, "target", "autobahn-report"))
    arguments = parser.parse_args()
    cases = ["*"] if arguments.all else arguments.cases or CI

    python = suite.install(os.path.join(ROOT, "target", "autobahn"))
    built = echo_server.build(["echo_wsh"])
    os.makedirs(arguments.report, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wshd-autobahn-", dir=arguments.report) as site:
        with echo_server.EchoServer(site, built, {"echo": "echo_wsh"}, CONFIG) as server:
            runs = [Run("wshd", "ws://127.0.0.1:%d/echo" % server.plain_port, arguments.report)]
            if not arguments.plain:
                url = "wss://127.0.0.1:%d/echo" % server.tls_port
                runs.append(Run("wshd over TLS", url, os.path.join(arguments.report, "tls")))
            # Most of the time is the suite's own, on one processor each.
            for run in runs:
                run.start(python, cases)
            outcomes = [run.wait() for run in runs]
    print("ran %d s; the report is %s" % (time.monotonic() - began, arguments.report))
    return max(summarise(run.agent, *outcome) for run, outcome in zip(runs, outcomes))


class Run:
    """A run of the suite against one URL. The suite takes any certificate."""

    def __init__(self, agent, url, report):
        self.agent, self.url, self.report = agent, url, report
        self.log = os.path.join(report, "log")
        os.makedirs(report, exist_ok=True)

    def start(self, python, cases):
        spec = os.path.join(self.report, "spec.json")
        server = {"agent": self.agent, "url": self.url,
                  # A busy machine answers late.
                  "options": {"openHandshakeTimeout": 20}}
        with open(spec, "w", encoding="utf-8") as file:
            json.dump({"outdir": self.report, "servers": [server], "cases": cases,
                       "exclude-cases": [], "exclude-agent-cases": {}}, file)
        with open(self.log, "wb") as file:
            command = [python, "-u", suite.__file__, spec]
            self.process = subprocess.Popen(command, stdout=file, stderr=file)

    def wait(self):
        """Waits for the end. Returns what the suite says of each case, and the cases that it was to run."""
        status = self.process.wait()
        with open(self.log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        listed = re.search(r"^Cases = (\[.*\])$", text, re.M)
        if status != 0 or not listed:
            sys.exit("%s: the suite ended with status %d:\n%s" % (self.agent, status, text[-2000:]))
        with open(os.path.join(self.report, "index.json"), encoding="utf-8") as file:
            found = json.load(file).get(self.agent, {})
        return found, [str(case) for case in ast.literal_eval(listed.group(1))]


def summarise(agent, found, wanted):
    """Prints a line for each category, and each case that is not OK. Returns the exit status."""
    print("%s:" % agent)
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
    print("%s: %d of %d cases are good" % (agent, len(wanted) - len(bad), len(wanted)))
    return 1 if bad or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
