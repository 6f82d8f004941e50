//! What config/config.toml says of each key under `Applies:`, on a server that runs.

mod probes;
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use self::probes::{
    after_panics, asks, end_of, end_or_frame, enters, flood, half_a_head, is_panicking_served,
    keeps_a_message, logs_debug, moves, not_read, older_of_two_silent, one_of_four, puts,
    refers_back, refused_flood, replaced, second_of_two, second_thread, second_topic,
    three_messages,
};
use self::world::World;
use crate::harness::at_once;
use crate::harness::client_frame::frame;

/// A key, what a change of it does, and how that shows.
struct Row {
    key: &'static str,
    /// The first words of the manual about when a change applies.
    applies: &'static str,
    /// The configuration before and after, with the lines that the key needs beside it.
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

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // First on its server: the probe asks whether a line of that level was ever logged.
    Row { key: "log_level", applies: AT_ONCE, lines: ["", "log_level = \"debug\""], probe: logs_debug, shows: ["no", "yes"] },
    Row { key: "listen", applies: AT_ONCE, lines: ["", "listen = [\"127.0.0.1:0\", \"unix:w.sock\"]"], probe: |w| w.mode_of("w.sock"), shows: ["none", "660"] },
    Row { key: "unix_mode", applies: AT_ONCE, lines: ["listen = [\"127.0.0.1:0\", \"unix:w.sock\"]", "listen = [\"127.0.0.1:0\", \"unix:w.sock\"]\nunix_mode = \"666\""], probe: |w| w.mode_of("w.sock"), shows: ["660", "666"] },
    Row { key: "validation_host", applies: CONNECTION, lines: ["", "validation_host = \"127.0.0.1\""], probe: |w| w.status("ws://localhost/echo", ""), shows: ["101", "404"] },
    Row { key: "validation_port", applies: CONNECTION, lines: ["", "validation_port = 81"], probe: |w| w.status("ws://localhost/echo", ""), shows: ["101", "404"] },
    Row { key: "stage_dir", applies: RESTART, lines: ["", "stage_dir = \"elsewhere\""], probe: |w| w.asks_for_restart("stage_dir"), shows: ["no", "yes"] },
    Row { key: "hosts", applies: CONNECTION, lines: ["", "hosts = \"any\""], probe: |w| w.status_for("/echo", "evil.example", ""), shows: ["421", "101"] },
    Row { key: "allow", applies: CONNECTION, lines: ["", "allow = [\"192.0.2.1\"]"], probe: |w| w.status("/echo", ""), shows: ["101", "0"] },
    Row { key: "deny", applies: CONNECTION, lines: ["", "deny = [\"127.0.0.0/8\"]"], probe: |w| w.status("/echo", ""), shows: ["101", "0"] },
    Row { key: "trusted_proxies", applies: CONNECTION, lines: ["", "trusted_proxies = [\"loopback\"]"], probe: |w| w.client("X-Forwarded-For: 192.0.2.7:9\r\n"), shows: ["127.0.0.1", "192.0.2.7"] },
    Row { key: "forwarded_header", applies: CONNECTION, lines: ["trusted_proxies = [\"loopback\"]", "trusted_proxies = [\"loopback\"]\nforwarded_header = \"forwarded\""], probe: |w| w.client("X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.8\r\n"), shows: ["192.0.2.7", "192.0.2.8"] },
    Row { key: "origins", applies: CONNECTION, lines: ["", "origins = \"any\""], probe: |w| w.status("/speaks_later", "Origin: http://evil.example\r\n"), shows: ["403", "101"] },
    Row { key: "deflate", applies: SESSION, lines: ["", "deflate = false"], probe: |w| w.agrees("permessage-deflate"), shows: ["yes", "no"] },
    Row { key: "deflate_context_takeover", applies: SESSION, lines: ["[limits]\ndeflate_bytes_min = 1", "deflate_context_takeover = true\n[limits]\ndeflate_bytes_min = 1"], probe: refers_back, shows: ["no", "yes"] },
    Row { key: "deflate_window_bits", applies: SESSION, lines: ["", "[limits]\ndeflate_window_bits = 9"], probe: |w| w.agrees("server_max_window_bits=9"), shows: ["no", "yes"] },
    Row { key: "deflate_contexts_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\ndeflate_contexts_bytes_max = 0"], probe: |w| w.agrees("permessage-deflate"), shows: ["yes", "no"] },
    Row { key: "deflate_bytes_min", applies: SESSION, lines: ["", "[limits]\ndeflate_bytes_min = 1"], probe: |w| format!("{:x}", w.compressed().0), shows: ["81", "c1"] },
    Row { key: "deflate_level", applies: SESSION, lines: ["[limits]\ndeflate_bytes_min = 1\ndeflate_level = 1", "[limits]\ndeflate_bytes_min = 1\ndeflate_level = 9"], probe: |w| w.compressed().1.to_string(), shows: ["", ""] },
    Row { key: "scan_dir", applies: AT_ONCE, lines: ["", "scan_dir = \"handlers/live\""], probe: |w| w.status("/echo", ""), shows: ["101", "404"] },
    Row { key: "allow_handlers_outside_root_dir", applies: AT_ONCE, lines: ["", "allow_handlers_outside_root_dir = true"], probe: |w| w.status("/linked", ""), shows: ["503", "101"] },
    Row { key: "trust", applies: AT_ONCE, lines: ["", "trust = \"any\""], probe: |w| w.status("/open", ""), shows: ["503", "101"] },
    Row { key: "handlers_map_file", applies: AT_ONCE, lines: ["", "handlers_map_file = \"map.txt\""], probe: |w| w.status("/mapped", ""), shows: ["404", "101"] },
    Row { key: "document_root", applies: CONNECTION, lines: ["", "document_root = \"www\""], probe: |w| w.get("/page.txt"), shows: ["404", "200"] },
    Row { key: "directory_listings", applies: CONNECTION, lines: ["document_root = \"www\"", "document_root = \"www\"\ndirectory_listings = true"], probe: |w| w.get("/"), shows: ["404", "200"] },
    Row { key: "files_max_age_s", applies: CONNECTION, lines: ["document_root = \"www\"", "document_root = \"www\"\nfiles_max_age_s = 60"], probe: |w| w.header("/page.txt", "cache-control"), shows: ["no-cache", "max-age=60"] },
    Row { key: "pages", applies: CONNECTION, lines: ["", "pages = false"], probe: |w| w.get("/"), shows: ["200", "404"] },
    Row { key: "handlers_json", applies: CONNECTION, lines: ["", "handlers_json = false"], probe: |w| w.get("/.wshd/handlers.json"), shows: ["200", "404"] },
    Row { key: "metrics", applies: CONNECTION, lines: ["", "metrics = \"off\""], probe: |w| w.get("/.wshd/metrics"), shows: ["200", "404"] },
    Row { key: "admin_socket", applies: RESTART, lines: ["", "admin_socket = \"off\""], probe: |w| w.asks_for_restart("admin_socket"), shows: ["no", "yes"] },
    Row { key: "pid_file", applies: RESTART, lines: ["", "pid_file = \"wshd.pid\""], probe: |w| w.asks_for_restart("pid_file"), shows: ["no", "yes"] },
    Row { key: "users_file", applies: CONNECTION, lines: ["", "users_file = \"users\""], probe: |w| w.get("/page.txt"), shows: ["404", "401"] },
    Row { key: "tokens_file", applies: CONNECTION, lines: ["", "tokens_file = \"tokens\""], probe: |w| w.status("/echo", ""), shows: ["101", "401"] },
    Row { key: "basic_auth", applies: CONNECTION, lines: ["users_file = \"users\"", "users_file = \"users\"\nbasic_auth = false"], probe: |w| w.status("/echo", ""), shows: ["401", "101"] },
    Row { key: "basic_auth_credential", applies: CONNECTION, lines: ["basic_auth_credential = \"ann:coffee\"", "basic_auth_credential = \"ann:tea\""], probe: |w| w.status("/echo", "Authorization: Basic YW5uOnRlYQ==\r\n"), shows: ["401", "101"] },
    Row { key: "connections_max", applies: AT_ONCE, lines: ["", "[limits]\nconnections_max = 1"], probe: second_of_two, shows: ["101", "503"] },
    Row { key: "connections_per_address_max", applies: AT_ONCE, lines: ["", "[limits]\nconnections_per_address_max = 1"], probe: second_of_two, shows: ["101", "503"] },
    Row { key: "handshakes_per_s_max", applies: AT_ONCE, lines: ["", "[limits]\nhandshakes_per_s_max = 1"], probe: one_of_four, shows: ["101", "503"] },
    Row { key: "handshakes_per_address_per_s_max", applies: AT_ONCE, lines: ["", "[limits]\nhandshakes_per_address_per_s_max = 1"], probe: one_of_four, shows: ["101", "429"] },
    Row { key: "pending_handshakes_max", applies: AT_ONCE, lines: ["", "[limits]\npending_handshakes_max = 1"], probe: older_of_two_silent, shows: ["waits", "ends"] },
    Row { key: "handshake_timeout_ms", applies: CONNECTION, lines: ["", "[limits]\nhandshake_timeout_ms = 50"], probe: |w| end_of(&mut w.server.raw()), shows: ["waits", "ends"] },
    Row { key: "header_bytes_per_s_min", applies: CONNECTION, lines: ["[limits]\nhandshake_timeout_ms = 300\nheader_bytes_per_s_min = 0", "[limits]\nhandshake_timeout_ms = 300\nheader_bytes_per_s_min = 1"], probe: half_a_head, shows: ["ends", "waits"] },
    Row { key: "header_bytes_max", applies: CONNECTION, lines: ["", "[limits]\nheader_bytes_max = 512"], probe: |w| w.status("/echo", &format!("X: {}\r\n", "x".repeat(600))), shows: ["101", "431"] },
    Row { key: "header_lines_max", applies: CONNECTION, lines: ["", "[limits]\nheader_lines_max = 8"], probe: |w| w.status("/echo", &"X: x\r\n".repeat(6)), shows: ["101", "431"] },
    Row { key: "message_bytes_max", applies: SESSION, lines: ["", "[limits]\nmessage_bytes_max = 10"], probe: |w| w.answer("/echo", &frame(0x81, b"more than ten")), shows: ["81", "88 1009"] },
    Row { key: "fragments_max", applies: SESSION, lines: ["", "[limits]\nfragments_max = 1"], probe: |w| w.answer("/echo", &[frame(0x01, b"a"), frame(0x80, b"b")].concat()), shows: ["81", "88 1008"] },
    Row { key: "message_timeout_ms", applies: SESSION, lines: ["", "[limits]\nmessage_timeout_ms = 100"], probe: |w| w.answer("/echo", &frame(0x01, b"a")), shows: ["nothing", "88 1008"] },
    Row { key: "ping_interval_ms", applies: SESSION, lines: ["", "[limits]\nping_interval_ms = 100"], probe: |w| w.answer("/echo", b""), shows: ["nothing", "89"] },
    Row { key: "idle_timeout_ms", applies: SESSION, lines: ["", "[limits]\nidle_timeout_ms = 100"], probe: |w| w.answer("/echo", b""), shows: ["nothing", "88 1001"] },
    Row { key: "pong_timeout_ms", applies: SESSION, lines: ["[limits]\nping_interval_ms = 100", "[limits]\nping_interval_ms = 100\npong_timeout_ms = 100"], probe: |w| w.end_after_answer("/echo", b""), shows: ["waits", "ends"] },
    Row { key: "close_timeout_ms", applies: SESSION, lines: ["", "[limits]\nclose_timeout_ms = 100"], probe: |w| w.end_after_answer("/features", &frame(0x81, b"close 1000")), shows: ["waits", "ends"] },
    Row { key: "outbound_bytes_max", applies: SESSION, lines: ["", "[limits]\noutbound_bytes_max = 100000"], probe: flood, shows: ["much", "little"] },
    Row { key: "messages_per_s_max", applies: SESSION, lines: ["", "[limits]\nmessages_per_s_max = 1"], probe: three_messages, shows: ["three", "fewer"] },
    Row { key: "bytes_per_s_max", applies: SESSION, lines: ["", "[limits]\nbytes_per_s_max = 1"], probe: three_messages, shows: ["three", "fewer"] },
    Row { key: "outbound_policy", applies: SESSION, lines: ["", "outbound_policy = \"drop_new\""], probe: refused_flood, shows: ["TooBig", "Dropped"] },
    Row { key: "rate_policy", applies: SESSION, lines: ["[limits]\nmessages_per_s_max = 1", "rate_policy = \"close\"\n[limits]\nmessages_per_s_max = 1"], probe: three_messages, shows: ["fewer", "88 1008"] },
    Row { key: "timers_max", applies: SESSION, lines: ["", "[limits]\ntimers_max = 1"], probe: |w| w.open("/features").ask("timers"), shows: ["timer 2", "timer 1"] },
    Row { key: "topics_max", applies: SESSION, lines: ["", "[limits]\ntopics_max = 1"], probe: second_topic, shows: ["81", "nothing"] },
    Row { key: "history_bytes_max", applies: AT_ONCE, lines: ["[topics.\"shares/*\"]\nhistory = { count = 9 }", "[topics.\"shares/*\"]\nhistory = { count = 9 }\n[limits]\nhistory_bytes_max = 0"], probe: keeps_a_message, shows: ["history OK x", "history OK"] },
    Row { key: "buffered_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\nbuffered_bytes_max = 65536"], probe: |w| w.answer("/echo", &frame(0x82, &[7; 600_000])[..500_000]), shows: ["nothing", "88 1013"] },
    Row { key: "presence_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\npresence_bytes_max = 0"], probe: enters, shows: ["yes", "no"] },
    Row { key: "presence_value_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\npresence_value_bytes_max = 1"], probe: enters, shows: ["yes", "no"] },
    Row { key: "store_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\nstore_bytes_max = 0"], probe: puts, shows: ["yes", "no"] },
    Row { key: "store_value_bytes_max", applies: AT_ONCE, lines: ["", "[limits]\nstore_value_bytes_max = 1"], probe: puts, shows: ["yes", "no"] },
    Row { key: "session_asks_max", applies: AT_ONCE, lines: ["", "[limits]\nsession_asks_max = 1"], probe: |w| asks(w, "asks", 2), shows: ["yes", "no"] },
    // A worker can answer some of them meanwhile.
    Row { key: "asks_max", applies: AT_ONCE, lines: ["", "[limits]\nasks_max = 1"], probe: |w| asks(w, "own", 500), shows: ["yes", "no"] },
    Row { key: "sessions_max", applies: AT_ONCE, lines: ["", "[limits]\nsessions_max = 1"], probe: |w| { let _one = w.open("/echo"); w.status("/echo", "") }, shows: ["101", "503"] },
    Row { key: "blocking_sessions_max", applies: AT_ONCE, lines: ["", "[limits]\nblocking_sessions_max = 1"], probe: |w| { let _one = w.open("/blocking_echo"); w.status("/blocking_echo", "") }, shows: ["101", "503"] },
    Row { key: "reload", applies: VERSION, lines: ["reload = \"drain\"", "reload = \"close\""], probe: |w| replaced(w, PATIENCE), shows: ["stays", "1012"] },
    Row { key: "generations_max", applies: AT_ONCE, lines: ["reload = \"drain\"", "reload = \"drain\"\n[limits]\ngenerations_max = 1"], probe: |w| replaced(w, PATIENCE), shows: ["stays", "1012"] },
    Row { key: "drain_timeout_s", applies: VERSION, lines: ["reload = \"drain\"", "reload = \"drain\"\n[limits]\ndrain_timeout_s = 1"], probe: |w| replaced(w, 3 * PATIENCE), shows: ["stays", "1012"] },
    Row { key: "panics_max", applies: AT_ONCE, lines: ["", "[limits]\npanics_max = 1"], probe: is_panicking_served, shows: ["101", "503"] },
    Row { key: "panics_window_ms", applies: AT_ONCE, lines: ["[limits]\npanics_max = 2", "[limits]\npanics_max = 2\npanics_window_ms = 50"], probe: |w| after_panics(w, 2), shows: ["503", "101"] },
    Row { key: "quarantine_ms", applies: AT_ONCE, lines: ["[limits]\npanics_max = 1\nquarantine_ms = 60000", "[limits]\npanics_max = 1\nquarantine_ms = 50"], probe: |w| after_panics(w, 1), shows: ["503", "101"] },
    Row { key: "outbound_timeout_ms", applies: SESSION, lines: ["", "[limits]\noutbound_timeout_ms = 100"], probe: not_read, shows: ["waits", "ends"] },
    Row { key: "trial", applies: LOAD, lines: ["trial = \"always\"", "trial = \"never\""], probe: |w| w.load("tried", "-DIN_INIT=if (is_check) { return WSH_ERROR; }"), shows: ["refused", "loaded"] },
    Row { key: "trial_memory_bytes_max", applies: LOAD, lines: ["", "[limits]\ntrial_memory_bytes_max = 16777216"], probe: |w| w.load("eats", EATS), shows: ["loaded", "refused"] },
    Row { key: "init_timeout_ms", applies: LOAD, lines: ["", "[limits]\ninit_timeout_ms = 100"], probe: |w| w.load("slow", "-DIN_INIT=usleep(200000)"), shows: ["loaded", "refused"] },
    Row { key: "threads_max", applies: LOAD, lines: ["", "[limits]\nthreads_max = 1"], probe: second_thread, shows: ["spawn=0", "spawn=-4"] },
    Row { key: "snapshot_bytes_max", applies: VERSION, lines: ["", "[limits]\nsnapshot_bytes_max = 1024"], probe: moves, shows: ["moved=1", "moved=0"] },
    // Last on its server: no other handler is there afterwards.
    Row { key: "handlers_dir", applies: AT_ONCE, lines: ["", "handlers_dir = \"others\""], probe: |w| w.status("/other", ""), shows: ["404", "101"] },
];

/// Keys that a row cannot show, and the test that does: of how the server stops, of a server with TLS, of where the log
/// goes, and one with a single value.
const ELSEWHERE: &[(&str, &str)] = &[
    ("kind", "every_fault_of_a_file_is_told_in_full"),
    (
        "upgrade_timeout_ms",
        "a_program_that_does_not_take_over_is_ended_and_the_server_serves_on",
    ),
    (
        "listen_backlog",
        "a_longer_queue_applies_to_a_socket_that_listens",
    ),
    (
        "user",
        "a_server_of_root_becomes_the_user_before_handlers_run",
    ),
    (
        "group",
        "a_server_of_root_becomes_the_user_before_handlers_run",
    ),
    (
        "every_address",
        "an_address_gets_tls_and_loses_it_without_a_restart",
    ),
    (
        "certificates",
        "what_is_said_of_tls_applies_to_the_next_connection",
    ),
    (
        "client_auth",
        "what_is_said_of_tls_applies_to_the_next_connection",
    ),
    (
        "client_ca",
        "what_is_said_of_tls_applies_to_the_next_connection",
    ),
    (
        "log_file",
        "the_file_that_the_configuration_names_applies_at_once",
    ),
    (
        "log_format",
        "formats_and_the_file_of_the_access_log_apply_at_once",
    ),
    (
        "access_log_format",
        "formats_and_the_file_of_the_access_log_apply_at_once",
    ),
    (
        "access_log_file",
        "formats_and_the_file_of_the_access_log_apply_at_once",
    ),
    (
        "log_file_bytes_max",
        "the_file_that_the_configuration_names_applies_at_once",
    ),
    (
        "log_files_max",
        "the_file_that_the_configuration_names_applies_at_once",
    ),
    ("stop_delay_ms", "what_bounds_a_stop_applies_at_once"),
    (
        "memory_bytes_max",
        "a_server_near_its_limit_of_memory_refuses_new_sessions_and_recovers",
    ),
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
        .take_while(|line| !line.starts_with("## A handler's own"))
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
    let world = World::new();
    world.configure("[limits]\nstop_delay_ms = 500\nstop_batch_sessions = 1");
    let mut sessions = [(); 3].map(|()| world.open_raw("/echo"));

    world.server.signal("TERM");

    world.server.line(&["not ready any more", "delay_ms=500"]);
    world.server.line(&["stopping", "sessions=3"]);
    let told = sessions.iter_mut().filter_map(|session| {
        let patience = session.stream.set_read_timeout(Some(MOMENT));
        patience.expect("a timeout");
        let shown = end_or_frame(&mut session.stream);
        (shown != "nothing").then_some(shown)
    });
    let told: Vec<String> = told.collect();
    assert!(
        told.len() <= 1,
        "one of three is told in two seconds: {told:?}"
    );
    assert!(told.iter().all(|shown| shown == "88 1001"), "{told:?}");

    let mut world = World::new();
    world.configure("[limits]\nstop_timeout_ms = 1000");
    let _silent = world.open_raw("/echo");
    let began = Instant::now();
    world.server.signal("TERM");
    // The default would wait 5 s for the session's closing handshake.
    world.server.wait(Duration::from_secs(4));
    assert!(began.elapsed() < Duration::from_secs(4));
}

/// A plugin that takes memory in its trial only.
const EATS: &str = "-DIN_INIT=if (is_check) { char *volatile more = malloc(64 << 20); \
                    if (more == NULL) { return WSH_ERROR; } free(more); }";
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const SOON: Duration = Duration::from_secs(60);
/// How long a probe waits for what must not come, or must come at once.
const PATIENCE: Duration = Duration::from_millis(400);
/// Longer than the shortest time that a row sets, shorter than the longest.
const MOMENT: Duration = Duration::from_millis(150);
