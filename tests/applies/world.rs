//! A server that runs, whose configuration changes, and what can be asked of it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::probes::{end_or_frame, some_json, yes_or_no};
use super::{OFFER, PATIENCE, Row, SOON};
use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::compile::{compile, unruly};
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::{Site, library};

/// A running server and its site.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) server: Server,
}

impl World {
    pub(super) fn new() -> World {
        let site = Site::with(&[
            "echo_wsh",
            "features_wsh",
            "speaks_later_wsh",
            "panics_wsh",
            "blocking_echo_wsh",
        ]);
        site.add("echo_wsh", "reloaded_wsh.so");
        let pours = compile("tests/fixtures/c/pours.c", &[]);
        site.add_bytes(&pours, "pours_wsh.so");
        let shares = compile("tests/fixtures/c/shares.c", &[]);
        site.add_bytes(&shares, "shares_wsh.so");
        let open = site.add("echo_wsh", "open_wsh.so");
        let everybodys = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(open, everybodys).expect("a mode");
        site.write("map.txt", "/mapped /echo\n");
        site.write("www/page.txt", "a page");
        site.write("users", "");
        site.write("tokens", "");
        for (directory, file) in [("others", "other_wsh.so"), ("outside", "linked_wsh.so")] {
            let directory = site.root().join(directory);
            std::fs::create_dir_all(&directory).expect("a directory");
            std::fs::copy(library("echo_wsh"), directory.join(file)).expect("a copy");
        }
        std::fs::create_dir_all(site.handlers().join("live")).expect("a directory");
        let outside = site.root().join("outside/linked_wsh.so");
        std::os::unix::fs::symlink(outside, site.handlers().join("linked_wsh.so")).expect("a link");
        site.write("config.toml", "handlers_dir = \"handlers\"\n");
        let server = Server::bare(&site).args(["-p", "0"]).start();
        World { site, server }
    }

    /// Writes these lines as the configuration, and waits until they apply.
    #[track_caller]
    pub(super) fn configure(&self, lines: &str) {
        let applied = self.server.count_lines(&["configuration applied"]);
        let base = match lines.contains("handlers_dir = ") {
            true => "",
            false => "handlers_dir = \"handlers\"\n",
        };
        let text = format!("{base}{lines}\n");
        let path = self.site.root().join("config.toml");
        let now = std::fs::read_to_string(path).expect("it is there");
        if now.trim() == text.trim() {
            return;
        }
        self.site.write("config.toml", &text);
        self.server.signal("HUP");
        eventually("it is applied", || {
            self.server.count_lines(&["configuration applied"]) > applied
        });
    }

    /// Waits until the row's probe shows `expected`. If that is empty, returns what it shows first.
    #[track_caller]
    pub(super) fn shows(&self, row: &Row, expected: &str) -> String {
        let mut shown = (row.probe)(self);
        let began = Instant::now();
        while !expected.is_empty() && shown != expected {
            let waited = began.elapsed();
            assert!(
                waited < SOON,
                "{}: `{shown}`, and not `{expected}`",
                row.key
            );
            std::thread::sleep(Duration::from_millis(20));
            shown = (row.probe)(self);
        }
        shown
    }

    /// Replaces a handler by a plugin in C that does this. Returns whether it is loaded or refused.
    #[track_caller]
    pub(super) fn load(&self, name: &str, option: &str) -> String {
        let bytes = unruly(&[option]);
        self.put(name, bytes)
    }

    #[track_caller]
    pub(super) fn put(&self, name: &str, mut bytes: Vec<u8>) -> String {
        static FILES: AtomicU64 = AtomicU64::new(0);
        // The bytes behind the library make another file of the same code.
        bytes.extend(FILES.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let handler = format!("handler=\"{name}\"");
        let file = format!("cannot load `{name}_wsh.so`");
        let count = || {
            let loaded = self.server.count_lines(&["handler loaded", &handler]);
            (loaded, self.server.count_lines(&["plugin refused", &file]))
        };
        let before = count();
        self.site.add_bytes(&bytes, &format!("{name}_wsh.so"));
        eventually("it is loaded or refused", || count() != before);
        let is_loaded = count().0 > before.0;
        if is_loaded { "loaded" } else { "refused" }.to_owned()
    }

    pub(super) fn asks_for_restart(&self, key: &str) -> String {
        let parts = ["applies after a restart", &format!("key=\"{key}\"")];
        yes_or_no(self.server.count_lines(&parts) > 0)
    }

    /// The mode of a file of the site, or `none` where there is none.
    pub(super) fn mode_of(&self, file: &str) -> String {
        let found = std::fs::metadata(self.site.root().join(file));
        let mode = found.map(|found| format!("{:o}", found.permissions().mode() & 0o777));
        mode.unwrap_or_else(|_| "none".to_owned())
    }

    pub(super) fn status(&self, path: &str, extra: &str) -> String {
        status_of(&self.server.exchange(opening(path, extra).as_bytes())).to_string()
    }

    pub(super) fn status_for(&self, path: &str, host: &str, extra: &str) -> String {
        let request = opening(path, extra).replace("Host: localhost", &format!("Host: {host}"));
        status_of(&self.server.exchange(request.as_bytes())).to_string()
    }

    /// The address of the client that a handler is told.
    pub(super) fn client(&self, extra: &str) -> String {
        let request = opening("/features?handshake=client", extra);
        let answer = self.server.exchange(request.as_bytes());
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("X-Client: "));
        let address = line.and_then(|line| line.rsplit_once(':'));
        address.map_or_else(String::new, |(address, _)| address.to_owned())
    }

    pub(super) fn get(&self, path: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        status_of(&self.server.exchange(request.as_bytes())).to_string()
    }

    /// The value of a header line of the response to a request for a path; `none` without one.
    pub(super) fn header(&self, path: &str, name: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = self.server.exchange(request.as_bytes());
        let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map_or("none", |(_, value)| value).to_owned()
    }

    /// Whether the response to an offer of compression contains `part`.
    pub(super) fn agrees(&self, part: &str) -> String {
        let answer = self.server.exchange(opening("/echo", OFFER).as_bytes());
        yes_or_no(answer.contains(part))
    }

    #[track_caller]
    pub(super) fn open(&self, path: &str) -> Client {
        self.server.connect(path)
    }

    #[track_caller]
    pub(super) fn open_raw(&self, path: &str) -> Raw {
        Raw::open(&self.server, path)
    }

    /// The first byte and the payload length of the echo of text that compresses well.
    pub(super) fn compressed(&self) -> (u8, usize) {
        let text = some_json();
        let (mut raw, _) = Raw::open_with(&self.server, "/echo", OFFER);
        raw.send(&frame(0x81, &text));
        raw.frame()
            .map_or((0, 0), |(first, payload)| (first, payload.len()))
    }

    /// Sends these bytes, and returns the first frame that comes soon.
    pub(super) fn answer(&self, path: &str, bytes: &[u8]) -> String {
        let mut raw = self.open_raw(path);
        raw.send(bytes);
        raw.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        end_or_frame(&mut raw.stream)
    }

    /// Whether the connection ends soon after the first frame.
    pub(super) fn end_after_answer(&self, path: &str, bytes: &[u8]) -> String {
        let mut raw = self.open_raw(path);
        raw.send(bytes);
        let _ = raw.frame();
        raw.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        let (mut rest, began) = ([0; 64], Instant::now());
        loop {
            if began.elapsed() > PATIENCE {
                return "waits".to_owned();
            }
            match raw.stream.read(&mut rest) {
                Ok(0) => return "ends".to_owned(),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return "waits".to_owned();
                }
                Err(_) => return "ends".to_owned(),
            }
        }
    }
}
