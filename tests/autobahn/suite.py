"""The Autobahn test suite on Python 3.

It is published for Python 2 only. `install` puts it into a virtual environment and translates it
there with lib2to3; `python suite.py SPEC` in that environment then runs its fuzzing client.

The suite keeps payloads in byte strings. Read as latin-1, each of its literals is a str with one
character an octet, so that slices, repetition and joins mean what they meant. The octets come back
where a payload leaves the suite, is compared or is logged.
"""

import binascii
import codecs
import os
import re
import shutil
import subprocess
import sys

SUITE = "autobahntestsuite==25.10.1"
# The versions that the suite was pinned to, or the nearest that run on Python 3.
NEEDS = ["setuptools==68.2.2", "wheel==0.42.0", "Twisted==23.10.0", "six==1.16.0", "Jinja2==3.1.4",
         "pyOpenSSL==23.3.0", "service-identity==23.1.0"]
PINNED = ["txaio==2.1.0", "autobahn==0.10.9"]


def install(directory):
    """Installs and translates the suite once. Returns the python of its environment."""
    python = os.path.join(directory, "bin", "python")
    done = os.path.join(directory, "translated")
    if os.path.exists(done):
        return python
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.check_call([interpreter(), "-m", "venv", directory])
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.check_call(pip + NEEDS)
    # A masker in C, if there is a wheel of it.
    subprocess.call(pip + ["--only-binary", ":all:", "wsaccel==0.6.7"], stderr=subprocess.DEVNULL)
    subprocess.check_call(pip + ["--no-deps", "--no-build-isolation"] + PINNED)
    subprocess.check_call(pip + ["--no-deps", "--no-build-isolation", "--no-compile", SUITE])
    subprocess.check_call([python, "-W", "ignore", os.path.abspath(__file__), "--translate"])
    with open(done, "w", encoding="utf-8") as file:
        file.write(SUITE + "\n")
    return python


def interpreter():
    """A Python that still has lib2to3: 3.9 to 3.12."""
    for name in ("python3", "python3.12", "python3.11", "python3.10", "python3.9"):
        found = shutil.which(name)
        check = "import lib2to3, venv, sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))"
        if found and subprocess.call([found, "-W", "ignore", "-c", check],
                                     stderr=subprocess.DEVNULL) == 0:
            return found
    sys.exit("the suite needs a Python from 3.9 to 3.12 with lib2to3 and venv")


# --- The functions that the translated suite imports under the name `octets`.

def octets(value):
    """The bytes of a str that has one character for each octet. Other characters raise."""
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


def b2a_hex(value):
    return binascii.b2a_hex(octets(value)).decode("ascii")


hexlify = b2a_hex


def text(value):
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def prose(value):
    """A description, which was read as latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def normal(value):
    """A value that is equal for two equal payloads of different types."""
    if isinstance(value, str):
        return octets(value)
    if isinstance(value, (list, tuple)):
        return type(value).__name__, tuple(normal(each) for each in value)
    return value if isinstance(value, bytes) else (type(value).__name__, value)


def shortened(value, length=64):
    value = octets(value)
    return b2a_hex(value[:length]) + (" ..." if len(value) > length else "")


def shortened_text(value, length=64, replace=False):
    value = octets(value)
    try:
        return value[:length].decode("utf-8", "replace" if replace else "strict")
    except UnicodeDecodeError:
        return "0x" + shortened(value, length)


class Utf8Validator:
    """autobahn's interface over the interpreter's own strict decoder."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self.total, self.is_bad = 0, False

    def validate(self, data):
        if self.is_bad:
            return False, False, 0, self.total
        data = octets(data)
        pending = len(self.decoder.getstate()[0])
        try:
            self.decoder.decode(data)
        except UnicodeDecodeError as error:
            self.is_bad = True
            at = max(0, error.end - 1 - pending)
            return False, False, at, self.total + at
        self.total += len(data)
        return True, not self.decoder.getstate()[0], len(data), self.total


class Masker:
    """autobahn's interface on long integers: fast enough without C."""

    def __init__(self, mask, _length=None):
        self.mask, self.at = bytes(mask), 0

    def pointer(self):
        return self.at

    def reset(self):
        self.at = 0

    def process(self, data):
        turned = self.mask[self.at & 3:] + self.mask[:self.at & 3]
        self.at += len(data)
        key = (turned * (len(data) // 4 + 1))[:len(data)]
        masked = int.from_bytes(data, "little") ^ int.from_bytes(key, "little")
        return masked.to_bytes(len(data), "little")


# --- Translating.

def replace(path, changes, encoding="utf-8"):
    """Each change must find as many places as it says, so that a changed suite is noticed."""
    with open(path, encoding=encoding, newline="") as file:
        source = file.read()
    for pattern, new, count in changes:
        source, found = re.subn(pattern, new, source, flags=re.M)
        if found != count:
            sys.exit("%s: %r stands there %d times, not %d" % (path, pattern, found, count))
    with open(path, "w", encoding=encoding, newline="") as file:
        file.write(source)


def translate():
    import logging
    import sysconfig
    from lib2to3 import refactor

    logging.getLogger("RefactoringTool").setLevel(logging.ERROR)
    site = sysconfig.get_paths()["purelib"]
    suite = os.path.join(site, "autobahntestsuite")
    cases = os.path.join(suite, "case")
    case_files = [os.path.join(cases, name) for name in sorted(os.listdir(cases))
                  if name.endswith(".py")]
    others = [os.path.join(suite, name + ".py")
              for name in ("fuzzing", "caseset", "report", "_version")]
    for path in case_files + others:
        with open(path, "rb") as file:
            source = file.read().replace(b"\r\n", b"\n")
        if path in case_files:
            source = re.sub(rb"\A((?:#[^\n]*\n)?)#[^\n]*coding[=:][^\n]*\n", rb"\1", source)
            source = b"# coding=latin-1\n" + source
        with open(path, "wb") as file:
            file.write(source)

    fixers = [name for name in refactor.get_fixers_from_package("lib2to3.fixes")
              if not name.endswith(("_buffer", "_idioms", "_set_literal", "_ws_comma"))]
    refactor.RefactoringTool(fixers).refactor(case_files + others, write=True)

    generated = 0
    for path in case_files:
        with open(path, encoding="latin-1", newline="") as file:
            source = file.read()
        source, count = re.subn(r"\(object, *Case, *\)", "(Case,)", source)
        generated += count
        source = re.sub(r"^import binascii$", "from autobahntestsuite import octets as binascii",
                        source, flags=re.M)
        with open(path, "w", encoding="latin-1", newline="") as file:
            file.write(source)
    if generated != 6:
        sys.exit("%d case classes are generated, not 6" % generated)

    def case(name, *changes):
        replace(os.path.join(cases, name + ".py"), changes, "latin-1")

    case("case",
         (r"return pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)",
          "return normal(obj1) == normal(obj2)", 1),
         (r"^import pickle$", "from autobahntestsuite.octets import normal", 1))
    # The suite does not list this case, which needs an interface that its library has dropped.
    case("__init__", (r"^from \.case9_9_1 import \*$", "", 1))
    case("case6_x_x", (r"^from autobahn\.websocket\.utf8validator import Utf8Validator$",
                       "from autobahntestsuite.octets import Utf8Validator", 1))
    case("case10_1_1", (r"len\(self\.payload\) / self\.p\.autoFragmentSize",
                        "len(self.payload) // self.p.autoFragmentSize", 1))
    case("case12_x_x", (r"^import copy, os, pkg_resources, hashlib, binascii$",
                        "import copy, os, pkg_resources, hashlib\n"
                        "from autobahntestsuite import octets as binascii", 1))
    replace(os.path.join(suite, "fuzzing.py"), [
        (r"^import os, json, binascii, time, textwrap, pkg_resources$",
         "import os, json, time, textwrap, pkg_resources\nfrom . import octets as binascii", 1),
        (r"p = ''\.join\(payload\)", "p = b''.join(payload)", 1),
        (r"open\(os\.path\.join\(outdir, report_filename\), 'w'\)",
         "open(os.path.join(outdir, report_filename), 'w', encoding='utf-8')", 4),
        (r"ll\.encode\('utf8'\)", "ll", 1),
        (r"f\.write\(\((.*)\)\.encode\(\"utf-8\"\)\)", r"f.write(\1)", 1),
        (r'("localCloseReason": )self\.localCloseReason,',
         r"\1binascii.text(self.localCloseReason),", 1),
        (r'("http(?:Request|Response)": )(self\.http_\w+) if', r"\1binascii.text(\2) if", 2),
        (r"\b(self\.Case|CCase)\.DESCRIPTION", r"binascii.prose(\1.DESCRIPTION)", 2),
    ])
    replace(os.path.join(site, "autobahn", "websocket", "protocol.py"),
            [(r"range\(payload_len / len\(payload\)\)", "range(payload_len // len(payload))", 1)])
    with open(os.path.join(suite, "__init__.py"), "w", encoding="utf-8") as file:
        file.write("from ._version import __version__\n\nversion = __version__\n")
    shutil.copyfile(os.path.abspath(__file__), os.path.join(suite, "octets.py"))


# --- Running.

def fuzz(spec_path):
    import json
    import warnings

    warnings.simplefilter("ignore")
    from autobahn.websocket import protocol
    if "wsaccel" not in sys.modules:
        protocol.Utf8Validator = Utf8Validator
        protocol.createXorMasker = Masker
    from autobahntestsuite import fuzzing
    fuzzing.binLogData, fuzzing.asciiLogData = shortened, shortened_text
    base = fuzzing.FuzzingProtocol

    def sending(name, at):
        """The method of the suite's base class, given the octets of its payload."""
        def send(self, *arguments, **named):
            arguments = list(arguments)
            if len(arguments) > at and arguments[at] is not None:
                arguments[at] = octets(arguments[at])
            for key in ("payload", "reasonUtf8"):
                if named.get(key) is not None:
                    named[key] = octets(named[key])
            return getattr(super(base, self), name)(*arguments, **named)
        setattr(base, name, send)

    sending("sendFrame", 1)
    sending("sendMessage", 0)
    sending("sendMessageFrameData", 0)
    sending("sendCloseFrame", 1)

    from twisted.internet import reactor
    from twisted.python import log

    def show(event):
        if event.get("isError"):
            print("ERROR", log.textFromEventDict(event), flush=True)

    log.addObserver(show)
    with open(spec_path, encoding="utf-8") as file:
        fuzzing.startClient(json.load(file))
    reactor.run()


if __name__ == "__main__":
    translate() if sys.argv[1] == "--translate" else fuzz(sys.argv[1])
