#!/usr/bin/env python3
"""How long a saved handler takes to be live: saves `echo_wsh` twenty times in `wshd dev` and in `wshd dev --release`.

    cargo build --profile dist && tests/save_to_live.py

Prints medians and the worst of what `wshd dev` itself says. They are to be under 1 s with the build, and under 10 ms
for load and swap; the exit status says whether they are.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIVE = re.compile(r"^echo_wsh: live in ([\d.]+) s \(build ([\d.]+) s, load (\d+) ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wshd", default=ROOT / "target/dist/wshd", type=pathlib.Path, help="the server")
    parser.add_argument("--saves", default=20, type=int, help="how many times")
    arguments = parser.parse_args()
    is_good = True
    for profile in [[], ["--release"]]:
        live, build, load = zip(*measure(arguments.wshd.resolve(), arguments.saves, profile))
        print(f"{' '.join(['wshd dev', *profile])}: {len(live)} saves")
        for name, values, unit in [("live", live, "s"), ("build", build, "s"), ("load", load, "ms")]:
            print(f"  {name:5}  median {statistics.median(values):g} {unit}, worst {max(values):g} {unit}")
        is_good &= statistics.median(live) < 1 and statistics.median(load) < 10
    sys.exit(not is_good)


def measure(wshd, saves, profile):
    """The times of each save: (live, build, load)."""
    with tempfile.TemporaryDirectory(prefix="wshd-save-") as directory:
        subprocess.run([wshd, "new", "echo"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
        source = pathlib.Path(directory, "echo/src/lib.rs")
        handler = (ROOT / "handlers/echo_wsh/src/lib.rs").read_text()
        assert "Goodbye" in handler
        source.write_text(handler)
        server = subprocess.Popen(
            [wshd, "dev", "echo", "-p", "0", *profile], cwd=directory, stderr=subprocess.PIPE, text=True
        )
        try:
            said = []
            wait(server, said, re.compile(r"^echo_wsh +ws://"))
            times = []
            for number in range(saves):
                source.write_text(handler.replace("Goodbye", f"Goodbye {number}"))
                live, build, load = wait(server, said, LIVE).groups()
                times.append((float(live), float(build), int(load)))
            return times
        finally:
            server.terminate()
            server.communicate()


def wait(server, said, wanted):
    for line in server.stderr:
        said.append(line)
        if found := wanted.match(line):
            return found
    sys.exit("wshd ended:\n" + "".join(said))


main()
