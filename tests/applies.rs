//! What config/config.toml says of each key under `Applies:`, on a server that runs.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::{Site, library};
use crate::harness::{at_once, eventually};

/// A key, what a change of it does, and how that shows.
struct Row {
    key: &'static str,
    /// The manual's words, as far as they are tested.
    applies: &'static str,
    /// Of the top of the file or of `[limits]`, with what the key needs beside it.
    lines: [&'static str; 2],
    probe: fn(&World) -> String,
    shows: [&'static str; 2],
}

const AT_ONCE: &str = "at once";
const CONNECTION: &str = "next connection";
const SESSION: &str = "next session";
const VERSION: &str = "at once, to the next version";
const LOAD: &str = "next load";
const RESTART: &str = "restart";

/// What every row needs: a running server and its site.
struct World {
    site: Site,
    server: Server,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // First on its server: it asks whether a line of that level was ever logged.
    Row { key: "log_level", applies: AT_ONCE, lines: ["", "log_level = \"debug\""], probe: logs_debug, shows: ["no", "yes"] },
    Row { key: "listen", applies: RESTART, lines: ["", "listen = [\"127.0.0.1:1\"]"], probe: |w| w.asks_for_restart("listen"), shows: ["no", "yes"] },
    Row { key: "stage_dir", applies: RESTART, lines: ["", "stage_dir = \"elsewhere\""], probe: |w| w.asks_for_restart("stage_dir"), shows: ["no", "yes"] },
    Row { key: "hosts", applies: CONNECTION, lines: ["", "hosts = \"any\""], probe: |w| w.status_for("/echo", "evil.example", ""), shows: ["421", "101"] },
    Row { key: "origins", applies: CONNECTION, lines: ["", "origins = \"any\""], probe: |w| w.status("/speaks_later", "Origin: http://evil.example\r\n"), shows: ["403", "101"] },
    Row { key: "deflate", applies: SESSION, lines: ["", "deflate = false"], probe: |w| w.agrees("permessage-deflate"), shows: ["yes", "no"] },
    Row { key: "deflate_context_takeover", applies: SESSION, lines: ["[limits]\ndeflate_bytes_min = 1", "deflate_context_takeover = true\n[limits]\ndeflate_bytes_min = 1"], probe: refers_back, shows: ["no", "yes"] },
    Row { key: "deflate_window_bits", applies: SESSION, lines: ["", "[limits]\ndeflate_window_bits = 9"], probe: |w| w.agrees("server_max_window_bits=9"), shows: ["no", "yes"] },
    Row { key: "deflate_contexts_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\ndeflate_contexts_bytes_max = 0"], probe: |w| w.agrees("permessage-deflate"), shows: ["yes", "no"] },
    Row { key: "deflate_bytes_min", applies: SESSION, lines: ["", "[limits]\ndeflate_bytes_min = 1"], probe: |w| format!("{:x}", w.compressed().0), shows: ["81", "c1"] },
    Row { key: "deflate_level", applies: SESSION, lines: ["[limits]\ndeflate_bytes_min = 1\ndeflate_level = 1", "[limits]\ndeflate_bytes_min = 1\ndeflate_level = 9"], probe: |w| w.compressed().1.to_string(), shows: ["", ""] },
    Row { key: "scan_dir", applies: AT_ONCE, lines: ["", "scan_dir = \"handlers/live\""], probe: |w| w.status("/echo", ""), shows: ["101", "404"] },
    Row { key: "allow_handlers_outside_root_dir", applies: AT_ONCE, lines: ["", "allow_handlers_outside_root_dir = true"], probe: |w| w.status("/linked", ""), shows: ["404", "101"] },
    Row { key: "trust", applies: AT_ONCE, lines: ["", "trust = \"any\""], probe: |w| w.status("/open", ""), shows: ["404", "101"] },
    Row { key: "handlers_map_file", applies: AT_ONCE, lines: ["", "handlers_map_file = \"map.txt\""], probe: |w| w.status("/mapped", ""), shows: ["404", "101"] },
    Row { key: "document_root", applies: CONNECTION, lines: ["", "document_root = \"www\""], probe: |w| w.get("/page.txt"), shows: ["404", "200"] },
    Row { key: "handlers_json", applies: CONNECTION, lines: ["", "handlers_json = false"], probe: |w| w.get("/.wshd/handlers.json"), shows: ["200", "404"] },
    Row { key: "connections_max", applies: AT_ONCE, lines: ["", "[limits]\nconnections_max = 1"], probe: |w| { let _one = w.open("/echo"); w.status("/echo", "") }, shows: ["101", "503"] },
    Row { key: "pending_handshakes_max", applies: AT_ONCE, lines: ["", "[limits]\npending_handshakes_max = 1"], probe: older_of_two_silent, shows: ["waits", "ends"] },
    Row { key: "handshake_timeout_ms", applies: CONNECTION, lines: ["", "[limits]\nhandshake_timeout_ms = 50"], probe: |w| end_of(&mut w.server.raw()), shows: ["waits", "ends"] },
    Row { key: "header_bytes_max", applies: CONNECTION, lines: ["", "[limits]\nheader_bytes_max = 512"], probe: |w| w.status("/echo", &format!("X: {}\r\n", "x".repeat(600))), shows: ["101", "431"] },
    Row { key: "header_lines_max", applies: CONNECTION, lines: ["", "[limits]\nheader_lines_max = 8"], probe: |w| w.status("/echo", &"X: x\r\n".repeat(6)), shows: ["101", "431"] },
    Row { key: "message_bytes_max", applies: SESSION, lines: ["", "[limits]\nmessage_bytes_max = 10"], probe: |w| w.answer("/echo", &frame(0x81, b"more than ten")), shows: ["81", "88 1009"] },
    Row { key: "fragments_max", applies: SESSION, lines: ["", "[limits]\nfragments_max = 1"], probe: |w| w.answer("/echo", &[frame(0x01, b"a"), frame(0x80, b"b")].concat()), shows: ["81", "88 1008"] },
    Row { key: "message_timeout_ms", applies: SESSION, lines: ["", "[limits]\nmessage_timeout_ms = 100"], probe: |w| w.answer("/echo", &frame(0x01, b"a")), shows: ["nothing", "88 1008"] },
    Row { key: "ping_interval_ms", applies: SESSION, lines: ["", "[limits]\nping_interval_ms = 100"], probe: |w| w.answer("/echo", b""), shows: ["nothing", "89"] },
    Row { key: "pong_timeout_ms", applies: SESSION, lines: ["[limits]\nping_interval_ms = 100", "[limits]\nping_interval_ms = 100\npong_timeout_ms = 100"], probe: |w| w.end_after_answer("/echo", b""), shows: ["waits", "ends"] },
    Row { key: "close_timeout_ms", applies: SESSION, lines: ["", "[limits]\nclose_timeout_ms = 100"], probe: |w| w.end_after_answer("/features", &frame(0x81, b"close 1000")), shows: ["waits", "ends"] },
    Row { key: "outbound_bytes_max", applies: SESSION, lines: ["", "[limits]\noutbound_bytes_max = 100000"], probe: flood, shows: ["much", "little"] },
    Row { key: "timers_max", applies: SESSION, lines: ["", "[limits]\ntimers_max = 1"], probe: |w| w.open("/features").ask("timers"), shows: ["timer 2", "timer 1"] },
    Row { key: "topics_max", applies: SESSION, lines: ["", "[limits]\ntopics_max = 1"], probe: second_topic, shows: ["81", "nothing"] },
    Row { key: "blocking_sessions_max", applies: AT_ONCE, lines: ["", "[limits]\nblocking_sessions_max = 1"], probe: |w| { let _one = w.open("/blocking_echo"); w.status("/blocking_echo", "") }, shows: ["101", "503"] },
    Row { key: "reload", applies: VERSION, lines: ["reload = \"drain\"", "reload = \"close\""], probe: |w| replaced(w, PATIENCE), shows: ["stays", "1012"] },
    Row { key: "generations_max", applies: AT_ONCE, lines: ["reload = \"drain\"", "reload = \"drain\"\n[limits]\ngenerations_max = 1"], probe: |w| replaced(w, PATIENCE), shows: ["stays", "1012"] },
    Row { key: "drain_timeout_s", applies: VERSION, lines: ["reload = \"drain\"", "reload = \"drain\"\n[limits]\ndrain_timeout_s = 1"], probe: |w| replaced(w, 3 * PATIENCE), shows: ["stays", "1012"] },
    Row { key: "panics_max", applies: AT_ONCE, lines: ["", "[limits]\npanics_max = 1"], probe: panic, shows: ["101", "503"] },
    Row { key: "panics_window_ms", applies: AT_ONCE, lines: ["[limits]\npanics_max = 2", "[limits]\npanics_max = 2\npanics_window_ms = 50"], probe: |w| after_panics(w, 2), shows: ["503", "101"] },
    Row { key: "quarantine_ms", applies: AT_ONCE, lines: ["[limits]\npanics_max = 1\nquarantine_ms = 60000", "[limits]\npanics_max = 1\nquarantine_ms = 50"], probe: |w| after_panics(w, 1), shows: ["503", "101"] },
    Row { key: "outbound_timeout_ms", applies: SESSION, lines: ["", "[limits]\noutbound_timeout_ms = 100"], probe: not_read, shows: ["waits", "ends"] },
    Row { key: "trial", applies: LOAD, lines: ["trial = \"always\"", "trial = \"never\""], probe: |w| w.load("tried", "-DIN_INIT=if (is_check) { return WSH_ERROR; }"), shows: ["refused", "loaded"] },
    Row { key: "trial_memory_bytes_max", applies: LOAD, lines: ["", "[limits]\ntrial_memory_bytes_max = 16777216"], probe: |w| w.load("eats", EATS), shows: ["loaded", "refused"] },
    Row { key: "init_timeout_ms", applies: LOAD, lines: ["", "[limits]\ninit_timeout_ms = 100"], probe: |w| w.load("slow", "-DIN_INIT=usleep(200000)"), shows: ["loaded", "refused"] },
    Row { key: "threads_max", applies: LOAD, lines: ["", "[limits]\nthreads_max = 1"], probe: second_thread, shows: ["spawn=0", "spawn=-4"] },
    Row { key: "snapshot_bytes_max", applies: VERSION, lines: ["", "[limits]\nsnapshot_bytes_max = 1024"], probe: moves, shows: ["moved=1", "moved=0"] },
    // Last on its server: nothing else is there afterwards.
    Row { key: "handlers_dir", applies: AT_ONCE, lines: ["", "handlers_dir = \"others\""], probe: |w| w.status("/other", ""), shows: ["404", "101"] },
];

/// Keys that say how the server ends, which a row cannot show, and where that is tested.
const ELSEWHERE: &[(&str, &str)] = &[
    ("stop_timeout_ms", "what_bounds_a_stop_applies_at_once"),
    ("stop_batch_sessions", "what_bounds_a_stop_applies_at_once"),
];

/// Changes every key of one kind on a server that runs: a few of them on each of some servers.
fn apply(applies: &str) {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.applies == applies).collect();
    at_once(rows.chunks(5), |rows| {
        let world = World::new();
        for row in rows {
            world.configure(row.lines[0]);
            let before = world.shows(row, row.shows[0]);
            world.configure(row.lines[1]);
            let after = world.shows(row, row.shows[1]);
            assert_ne!(before, after, "{} shows no difference", row.key);
        }
    });
}

#[test]
fn what_applies_at_once_does() {
    apply(AT_ONCE);
}

#[test]
fn what_applies_to_the_next_connection_does() {
    apply(CONNECTION);
}

#[test]
fn what_applies_to_the_next_session_does() {
    apply(SESSION);
}

#[test]
fn what_applies_to_the_next_version_does() {
    apply(VERSION);
}

#[test]
fn what_applies_to_the_next_load_does() {
    apply(LOAD);
}

#[test]
fn what_needs_a_restart_is_said_to() {
    apply(RESTART);
}

#[test]
fn the_manual_says_of_every_key_what_is_tested() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/config.toml");
    let manual = std::fs::read_to_string(manual).expect("the manual");
    let (mut paragraph, mut told) = (String::new(), BTreeSet::new());
    for line in manual
        .lines()
        .take_while(|line| !line.starts_with("## One handler's"))
    {
        let text = line.strip_prefix('#').unwrap_or(line).trim();
        if let Some((key, _)) = text.split_once(" = ")
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            let applies = paragraph.split("Applies: ").nth(1).unwrap_or_default();
            if let Some(row) = ROWS.iter().find(|row| row.key == key) {
                assert!(applies.starts_with(row.applies), "{key}: {applies}");
            }
            told.insert(key.to_owned());
        } else if text.is_empty() {
            paragraph.clear();
        } else {
            paragraph = format!("{paragraph} {text}");
        }
    }
    let rows = ROWS.iter().map(|row| row.key);
    let tested = rows.chain(ELSEWHERE.iter().map(|(key, _)| *key));
    assert_eq!(told, tested.map(str::to_owned).collect());
}

#[test]
fn what_bounds_a_stop_applies_at_once() {
    let mut world = World::new();
    world.configure("[limits]\nstop_timeout_ms = 1000\nstop_batch_sessions = 1");
    let mut sessions = [world.open_raw("/echo"), world.open_raw("/echo")];

    let began = Instant::now();
    world.server.signal("TERM");

    for session in &mut sessions {
        session
            .stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
    }
    let told = sessions
        .iter_mut()
        .map(|session| end_or_frame(&mut session.stream))
        .filter(|shown| shown == "88 1001");
    assert_eq!(told.count(), 1, "one of two is told at a time");
    // It would wait for the sessions' closing handshakes, 5 s.
    world.server.wait(Duration::from_secs(4));
    assert!(began.elapsed() < Duration::from_secs(4));
}

impl World {
    fn new() -> World {
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
        let open = site.add("echo_wsh", "open_wsh.so");
        let everybodys = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(open, everybodys).expect("a mode");
        site.write("map.txt", "/mapped /echo\n");
        site.write("www/page.txt", "a page");
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

    /// Has these lines be the configuration, and waits until they apply.
    #[track_caller]
    fn configure(&self, lines: &str) {
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

    /// Waits until the row's probe shows this; where nothing is said, answers what it shows.
    #[track_caller]
    fn shows(&self, row: &Row, expected: &str) -> String {
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

    /// Puts another file at a handler's place, a plugin in C that does this, and answers what becomes of it.
    #[track_caller]
    fn load(&self, name: &str, option: &str) -> String {
        let bytes = compile("tests/fixtures/c/unruly.c", &[option]);
        self.put(name, bytes)
    }

    #[track_caller]
    fn put(&self, name: &str, mut bytes: Vec<u8>) -> String {
        static FILES: AtomicU64 = AtomicU64::new(0);
        // Another file each time, and the same code.
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

    fn asks_for_restart(&self, key: &str) -> String {
        let parts = ["applies after a restart", &format!("key=\"{key}\"")];
        yes_or_no(self.server.count_lines(&parts) > 0)
    }

    fn status(&self, path: &str, extra: &str) -> String {
        status_of(&self.server.exchange(opening(path, extra).as_bytes())).to_string()
    }

    fn status_for(&self, path: &str, host: &str, extra: &str) -> String {
        let request = opening(path, extra).replace("Host: localhost", &format!("Host: {host}"));
        status_of(&self.server.exchange(request.as_bytes())).to_string()
    }

    fn get(&self, path: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        status_of(&self.server.exchange(request.as_bytes())).to_string()
    }

    /// Whether an answer to an offer of compression has this in it.
    fn agrees(&self, part: &str) -> String {
        let answer = self.server.exchange(opening("/echo", OFFER).as_bytes());
        yes_or_no(answer.contains(part))
    }

    #[track_caller]
    fn open(&self, path: &str) -> Client {
        self.server.connect(path)
    }

    #[track_caller]
    fn open_raw(&self, path: &str) -> Raw {
        Raw::open(&self.server, path)
    }

    /// The first byte and the length of the echo of something that compresses well, but not by itself.
    fn compressed(&self) -> (u8, usize) {
        let text = some_json();
        let (mut raw, _) = Raw::open_with(&self.server, "/echo", OFFER);
        raw.send(&frame(0x81, &text));
        raw.frame()
            .map_or((0, 0), |(first, payload)| (first, payload.len()))
    }

    /// What comes within a moment for these bytes.
    fn answer(&self, path: &str, bytes: &[u8]) -> String {
        let mut raw = self.open_raw(path);
        raw.send(bytes);
        raw.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        end_or_frame(&mut raw.stream)
    }

    /// Whether the connection ends a moment after the first frame.
    fn end_after_answer(&self, path: &str, bytes: &[u8]) -> String {
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

/// A thousand bytes that compress well, and shorter at a higher level.
fn some_json() -> Vec<u8> {
    let items = (0..60).map(|n| format!("{{\"n\":{},\"m\":{n}}},", n * n * 7919));
    let mut text = items.collect::<String>().into_bytes();
    text.truncate(1000);
    text
}

/// Whether a message that came before makes its repetition short.
fn refers_back(world: &World) -> String {
    let (mut raw, _) = Raw::open_with(&world.server, "/echo", OFFER);
    let lengths = [(); 2].map(|()| {
        raw.send(&frame(0x81, &some_json()));
        raw.frame().map_or(0, |(_, payload)| payload.len())
    });
    yes_or_no(lengths[1] * 2 < lengths[0])
}

fn logs_debug(world: &World) -> String {
    drop(world.open("/echo"));
    yes_or_no(world.server.count_lines(&[" DEBUG "]) > 0)
}

/// What becomes of a connection that says nothing when another one comes.
fn older_of_two_silent(world: &World) -> String {
    let mut older = world.server.raw();
    // The newer one has asked for nothing either, but has begun to.
    let mut newer = world.server.raw();
    newer.write_all(b"GET ").expect("sending");
    end_of(&mut older)
}

/// Whether a connection ends within a moment.
fn end_of(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let ended = match stream.read(&mut [0; 512]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    if ended { "ends" } else { "waits" }.to_owned()
}

/// The first byte of the next frame, with the code of a Close.
fn end_or_frame(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4];
    match stream.read(&mut bytes) {
        Ok(0) => "end".to_owned(),
        Ok(4) if bytes[0] == 0x88 => {
            format!("88 {}", u16::from_be_bytes([bytes[2], bytes[3]]))
        }
        Ok(_) => format!("{:x}", bytes[0]),
        Err(_) => "nothing".to_owned(),
    }
}

/// How much a handler can send to a peer that does not read.
fn flood(world: &World) -> String {
    let before = world.server.count_lines(&["flood ended"]);
    let mut client = world.open("/speaks_later");
    client.send("flood");
    eventually("it is over", || {
        world.server.count_lines(&["flood ended"]) > before
    });
    let line = world.server.lines(&["flood ended"]).pop().expect("a line");
    let most = line
        .split("after ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let most: u64 = most.and_then(|most| most.parse().ok()).expect("a number");
    if most > 200_000 { "much" } else { "little" }.to_owned()
}

fn second_topic(world: &World) -> String {
    let words = ["join a", "join b", "publish b heard"];
    let frames = words.map(|word| frame(0x81, word.as_bytes()));
    world.answer("/features", &frames.concat())
}

/// What becomes of a session when its handler is replaced.
fn replaced(world: &World, patience: Duration) -> String {
    let mut client = world.open("/reloaded");
    let loaded = world.server.count_lines(&["handler loaded", "reloaded"]);
    let mut bytes = std::fs::read(library("echo_wsh")).expect("the library");
    // Another file each time, and the same code.
    bytes.extend((loaded as u64).to_le_bytes());
    world.site.add_bytes(&bytes, "reloaded_wsh.so");
    eventually("the next version serves", || {
        world.server.count_lines(&["handler loaded", "reloaded"]) > loaded
    });
    let mut stream = client.raw_writer();
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    match end_or_frame(&mut stream).as_str() {
        "nothing" => {
            assert_eq!(client.ask("still there?"), "still there?");
            "stays".to_owned()
        }
        close => close.trim_start_matches("88 ").to_owned(),
    }
}

/// Whether a handler is in service after a panic.
fn panic(world: &World) -> String {
    let mut client = world.open("/panics?in=message");
    client.send("now");
    let _ = client.close_code();
    world.status("/panics", "")
}

/// Whether a handler is in service a moment after so many panics, each a moment after the one before.
fn after_panics(world: &World, count: usize) -> String {
    let bytes = std::fs::read(library("panics_wsh")).expect("the library");
    assert_eq!(world.put("panicking", bytes), "loaded");
    for _ in 0..count {
        let mut client = world.open("/panicking?in=message");
        client.send("now");
        let _ = client.close_code();
        std::thread::sleep(MOMENT);
    }
    world.status("/panicking", "")
}

/// Whether a session ends a moment after its peer has begun to take nothing.
fn not_read(world: &World) -> String {
    let ended = || {
        world
            .server
            .count_lines(&["session closed", "outbound_timeout_ms"])
    };
    let before = ended();
    let mut deaf = world.open_raw("/pours");
    deaf.send(&frame(0x81, b"begin"));
    let began = Instant::now();
    while ended() == before {
        if began.elapsed() > 2 * PATIENCE {
            return "waits".to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    "ends".to_owned()
}

/// What a handler is answered that wants a second thread.
fn second_thread(world: &World) -> String {
    let spawn = "answer(conn, \"spawn\", host->spawn(host->ctx, rest, NULL));";
    let loaded = world.load("spawns", &format!("-DIN_MESSAGE={spawn} {spawn}"));
    assert_eq!(loaded, "loaded");
    let mut client = world.open("/spawns");
    client.send("now");
    let _first = client.text();
    client.text()
}

/// Whether a session with a state of 4 KiB moves to the next version.
fn moves(world: &World) -> String {
    let bytes = compile(
        "tests/fixtures/c/unruly.c",
        &[
            "-DMIGRATES",
            "-DIN_SNAPSHOT=static uint8_t state[4096]; return sink->write(sink->ctx, state, sizeof state)",
        ],
    );
    assert_eq!(world.put("moving", bytes.clone()), "loaded");
    let mut client = world.open("/moving");
    assert_eq!(client.ask("hello"), "hello");
    let told = || world.server.lines(&["sessions moved", "handler=moving"]);
    let before = told().len();
    assert_eq!(world.put("moving", bytes), "loaded");
    eventually("it is said", || told().len() > before);
    let line = told().pop().expect("a line");
    let moved = line.split(' ').find(|word| word.starts_with("moved="));
    moved.unwrap_or_default().to_owned()
}

fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Takes memory in its trial only.
const EATS: &str = "-DIN_INIT=if (is_check) { char *volatile more = malloc(64 << 20); \
                    if (more == NULL) { return WSH_ERROR; } free(more); }";
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const SOON: Duration = Duration::from_secs(10);
/// How long something is waited for that is not to come, or is to come at once.
const PATIENCE: Duration = Duration::from_millis(400);
/// Longer than the shortest times that rows set, and shorter than the longest.
const MOMENT: Duration = Duration::from_millis(150);
