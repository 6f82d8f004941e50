"""A `wshd` with example handlers, plain and over TLS, for the Python scripts beside this file. Those that start the
server themselves call `build` alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Certificates for `openssl req`. Each has the extensions that the strictest clients ask for.
OPENSSL = """[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def build(handlers):
    """Builds the server and these handlers. Returns the directory of the server and their libraries."""
    command = ["cargo", "build", "--release", "--locked", "-p", "wshd"]
    for handler in handlers:
        command += ["-p", handler]
    subprocess.check_call(command, cwd=ROOT)
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = json.loads(subprocess.check_output(metadata, cwd=ROOT))
    return os.path.join(metadata["target_directory"], "release")


class EchoServer:
    """`wshd` on two free ports, one plain and one with TLS, until the end of the `with`.

    `handlers` maps names of handlers to their crates. `config` is the text of config.toml behind its first lines; the
    server's directory is `site`.
    """

    def __init__(self, site, built, handlers, config):
        self.site, self.built = site, built
        self.log = os.path.join(site, "log")
        self.ca = os.path.join(site, "ca.pem")
        self._certificates()
        os.mkdir(os.path.join(site, "handlers"), 0o755)
        for name, crate in handlers.items():
            self._copy("lib%s.so" % crate, os.path.join("handlers", name + "_wsh.so"))
        self._write("config.toml", "\n".join([
            'listen = ["127.0.0.1:0", "tls:127.0.0.1:0"]',
            'handlers_dir = "handlers"',
            config,
            "[tls]",
            'certificates = [{ certificate = "server.pem", key = "server.key" }]', ""]))

    def __enter__(self):
        command = [os.path.join(self.built, "wshd"), "--config",
                   os.path.join(self.site, "config.toml")]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            log = self.said()
            plain = re.search(r"ws://localhost:(\d+)/echo", log)
            tls = re.search(r"address=tls:127\.0\.0\.1:(\d+)", log)
            if plain and tls:
                self.plain_port, self.tls_port = int(plain.group(1)), int(tls.group(1))
                return self
            time.sleep(0.05)
        sys.exit("the server does not serve /echo:\n" + self.said())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def said(self):
        """The log."""
        with open(self.log, encoding="utf-8") as log:
            return log.read()

    def _certificates(self):
        """Makes a CA, and the server's certificate for `localhost`."""
        if not shutil.which("openssl"):
            print("`openssl` is not installed: apt-get install openssl")
            sys.exit(2)
        self._write("openssl.cnf", OPENSSL)
        make = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7"]
        for more in (["-extensions", "ca", "-subj", "/CN=the CA of a test",
                      "-keyout", "ca.key", "-out", "ca.pem"],
                     ["-extensions", "server", "-subj", "/CN=localhost",
                      "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-keyout", "server.key", "-out", "server.pem"]):
            subprocess.run(make + more, cwd=self.site, check=True, stderr=subprocess.PIPE)

    def _copy(self, source, target):
        with open(os.path.join(self.built, source), "rb") as file:
            content = file.read()
        target = os.path.join(self.site, target)
        with open(target, "wb") as file:
            file.write(content)
        os.chmod(target, 0o755)

    def _write(self, name, text):
        with open(os.path.join(self.site, name), "w", encoding="utf-8") as file:
            file.write(text)
