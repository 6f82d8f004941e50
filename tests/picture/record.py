#!/usr/bin/env python3
"""Records README's picture: a handler that is saved while a page talks to it.

    cargo build --profile dist
    pip install pillow && apt-get install chromium chromium-driver fonts-dejavu
    tests/picture/record.py

Runs `wshd new hello` in a directory of its own, gives it the first handler that README shows, runs `wshd dev hello` on
port 9998, and opens the page that is served in a headless Chromium. Then it edits and saves the handler. stage.html shows
the three side by side: what the editor holds is what is written to the file, the terminal's lines are what `wshd dev`
prints, and the page is the served one. Log lines below `error` are left out, and so is cargo's line about a wait for
another cargo. Pauses for the reader are added; waits for `wshd` last as long as they do.

--frames DIRECTORY writes every frame as a PNG, to look at.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from PIL import Image, ImageChops

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = "http://localhost:9998/"
SIZE = (900, 506)
SCALE = 2
# As WebDriver writes the key.
ENTER = "\ue007"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wshd", default=ROOT / "target/dist/wshd", type=pathlib.Path, help="the server")
    parser.add_argument("--out", default=HERE / "save_to_live.webp", type=pathlib.Path, help="the picture")
    parser.add_argument("--frames", type=pathlib.Path, help="a directory for single frames")
    arguments = parser.parse_args()
    wshd = arguments.wshd.resolve()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="wshd-picture-"))
        subprocess.run([wshd, "new", "hello"], cwd=directory, check=True, stdout=subprocess.DEVNULL)
        source = pathlib.Path(directory, "hello/src/lib.rs")
        source.write_text((ROOT / "README.md").read_text().split("```rust\n")[1].split("```")[0])
        # The first build compiles the SDK as well, which is no part of what is shown.
        with Dev(wshd, directory) as first:
            first.wait(r"^pages ")
        browser = stack.enter_context(Browser())
        film = Film(browser)
        play(film, browser, wshd, source, stack)
    # Where the animation does not play, its first frame is all that is seen.
    frames = [(film.poster, 1500), *film.frames]
    if arguments.frames:
        arguments.frames.mkdir(parents=True, exist_ok=True)
        for number, (image, shown_ms) in enumerate(frames):
            image.save(arguments.frames / f"{number:03}-{shown_ms}ms.png")
    images = [image for image, _ in frames]
    images[0].save(
        arguments.out,
        save_all=True,
        append_images=images[1:],
        duration=[shown_ms for _, shown_ms in frames],
        loop=0,
        lossless=True,
        quality=100,
        method=6,
    )
    seconds = sum(shown_ms for _, shown_ms in frames) / 1000
    print(f"{arguments.out}: {len(frames)} frames, {seconds:.1f} s, {arguments.out.stat().st_size // 1000} KB")


def play(film, browser, wshd, source, stack):
    """What happens in the picture, from the first command to the last answer."""
    editor = Editor(browser, film, source)
    browser.run("say(['$ '])")
    film.hold(0.8)
    browser.run("say(['$ wshd dev hello'])")
    film.hold(0.5)
    dev = stack.enter_context(Dev(wshd, source.parents[2]))
    film.until(lambda: dev.show(browser, r"^pages "))
    browser.run(f"browse('{PAGE}')")
    film.until(lambda: "connected" in browser.in_page("#state"))
    film.hold(0.8)
    greet(film, browser, "hello Ann")

    editor.replace("hello", "good evening")
    dev.mark()
    editor.save()
    film.until(lambda: dev.show(browser, r"^hello_wsh: live in"))
    film.hold(1.6)
    greet(film, browser, "good evening Ann")
    film.poster = film.frames[-1][0]

    editor.replace("Ok(", "okay(")
    dev.mark()
    editor.save()
    film.until(lambda: dev.show(browser, r"^hello_wsh: build failed"))
    film.until(browser.has_overlay)
    film.hold(3.0)
    editor.replace("okay(", "Ok(")
    editor.replace("evening ", "evening, ")
    dev.mark()
    editor.save()
    film.until(lambda: dev.show(browser, r"^hello_wsh: live in"))
    film.until(lambda: not browser.has_overlay())
    film.hold(1.2)
    greet(film, browser, "good evening, Ann")
    film.hold(2.5)


def greet(film, browser, answer):
    """Sends `Ann` from the page, and waits for the answer."""
    for length in range(1, 4):
        browser.type("#message", "Ann"[length - 1])
        film.hold(0.12)
    browser.type("#message", ENTER)
    film.until(lambda: answer in browser.in_page("#log"))
    film.hold(1.8)


class Editor:
    """A source file as an editor shows it, with a cursor."""

    def __init__(self, browser, film, path):
        self.browser, self.film, self.path = browser, film, path
        self.text = path.read_text().rstrip("\n")
        self.show(-1)

    def show(self, cursor, saved=False):
        self.browser.run("edit(...arguments)", self.text, cursor, saved)

    def replace(self, old, new):
        """As a person does: to the place, what differs away, the new text letter by letter."""
        begin = self.text.index(old)
        common = len(os.path.commonprefix([old, new]))
        tail = len(os.path.commonprefix([old[common:][::-1], new[common:][::-1]]))
        begin, old, new = begin + common, old[common : len(old) - tail], new[common : len(new) - tail]
        end = begin + len(old)
        self.show(end)
        self.film.hold(0.5)
        for _ in old:
            end -= 1
            self.text = self.text[:end] + self.text[end + 1 :]
            self.show(end)
            self.film.hold(0.07)
        for letter in new:
            self.text = self.text[:end] + letter + self.text[end:]
            end += 1
            self.show(end)
            self.film.hold(0.07)
        self.cursor = end
        self.film.hold(0.5)

    def save(self):
        self.path.write_text(self.text + "\n")
        self.show(self.cursor, True)
        self.film.hold(0.1)


class Dev:
    """A running `wshd dev hello`, and what it has printed."""

    def __init__(self, wshd, directory):
        # The log shows errors only, so that the lines for the author fit into the window.
        environment = dict(os.environ, WSHD_LOG_LEVEL="error", CARGO_TERM_COLOR="never")
        self.child = subprocess.Popen(
            [wshd, "dev", "hello"], cwd=directory, env=environment, stderr=subprocess.PIPE, text=True
        )
        self.lines, self.seen = [], 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stderr:
            if not line.startswith("    Blocking waiting"):
                self.lines.append(line.rstrip("\n"))

    def mark(self):
        """Waits from here on for lines that have not come yet."""
        self.seen = len(self.lines)

    def has(self, pattern):
        if self.child.poll() is not None:
            sys.exit("wshd dev ended:\n" + "\n".join(self.lines))
        return any(re.search(pattern, line) for line in self.lines[self.seen :])

    def wait(self, pattern):
        deadline = time.monotonic() + 120
        while not self.has(pattern):
            if time.monotonic() > deadline:
                sys.exit("nothing came that matches:\n" + "\n".join(self.lines))
            time.sleep(0.05)

    def show(self, browser, pattern):
        """Shows what has been printed, and says whether a line since the last mark matches."""
        has = self.has(pattern)
        browser.run("say(arguments[0])", ["$ wshd dev hello", *self.lines])
        return has

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(20)


class Film:
    """Frames and for how long each is shown, and the one that stands for all."""

    def __init__(self, browser):
        self.browser, self.frames, self.poster = browser, [], None

    def hold(self, seconds):
        """What is seen now, for this long."""
        self.add(round(seconds * 1000))

    def until(self, happened):
        """What is seen while something is waited for, as long as it takes."""
        deadline = time.monotonic() + 60
        done = False
        while not done:
            begin = time.monotonic()
            done = happened()
            self.add(0)
            image, shown_ms = self.frames[-1]
            self.frames[-1] = (image, shown_ms + round((time.monotonic() - begin) * 1000))
            if time.monotonic() > deadline:
                sys.exit("what the picture shows next does not happen")

    def add(self, shown_ms):
        image = Image.open(io.BytesIO(self.browser.screenshot())).convert("RGB")
        if self.frames and not ImageChops.difference(image, self.frames[-1][0]).getbbox():
            self.frames[-1] = (image, self.frames[-1][1] + shown_ms)
        else:
            self.frames.append((image, shown_ms))


class Browser:
    """A headless Chromium on stage.html, by WebDriver."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="wshd-picture-chromium-")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.driver.stdout:
            if found := re.search(r"successfully on port (\d+)", line):
                break
        else:
            sys.exit("chromedriver does not start")
        self.driver_url = f"http://127.0.0.1:{found[1]}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        arguments += [f"--force-device-scale-factor={SCALE}", f"--user-data-dir={self.profile.name}"]
        options = {"args": arguments}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self.url = self.driver_url + "/session/" + self.post("/session", {"capabilities": capabilities})["sessionId"]
        self.post("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": SCALE, "mobile": False,
        }})
        self.post("/url", {"url": (HERE / "stage.html").as_uri()})

    def post(self, path, body):
        url = getattr(self, "url", self.driver_url) + path
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.read().decode()}")

    def screenshot(self):
        with urllib.request.urlopen(self.url + "/screenshot", timeout=30) as answer:
            return base64.b64decode(json.load(answer)["value"])

    def run(self, script, *arguments):
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    @contextlib.contextmanager
    def page(self):
        """Inside, commands are for the served page."""
        self.post("/frame", {"id": self.find("#page")})
        try:
            yield
        finally:
            self.post("/frame", {"id": None})

    def find(self, selector):
        return self.post("/element", {"using": "css selector", "value": selector})

    def in_page(self, selector):
        """The text of an element of the served page."""
        with self.page():
            script = "return document.querySelector(arguments[0])?.innerText ?? ''"
            return self.run(script, selector)

    def has_overlay(self):
        with self.page():
            return bool(self.run("return document.querySelector('wshd-dev')?.shadowRoot.innerHTML ?? ''"))

    def type(self, selector, text):
        with self.page():
            element = next(iter(self.find(selector).values()))
            self.post(f"/element/{element}/value", {"text": text})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(self.driver_url + "/shutdown", timeout=20)
        self.driver.terminate()
        self.driver.wait(20)
        self.profile.cleanup()


main()
