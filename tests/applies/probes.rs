//! Probes of one key each: a row of the table asks them before and after its key has changed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::world::World;
use super::{MOMENT, OFFER, PATIENCE};
use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::unruly;
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::library;

/// A thousand bytes that compress well, and to fewer bytes at a higher level.
pub(super) fn some_json() -> Vec<u8> {
    let items = (0..60).map(|n| format!("{{\"n\":{},\"m\":{n}}},", n * n * 7919));
    let mut text = items.collect::<String>().into_bytes();
    text.truncate(1000);
    text
}

/// Whether a repeated message is short, because it refers to the first one.
pub(super) fn refers_back(world: &World) -> String {
    let (mut raw, _) = Raw::open_with(&world.server, "/echo", OFFER);
    let lengths = [(); 2].map(|()| {
        raw.send(&frame(0x81, &some_json()));
        raw.frame().map_or(0, |(_, payload)| payload.len())
    });
    yes_or_no(lengths[1] * 2 < lengths[0])
}

pub(super) fn logs_debug(world: &World) -> String {
    drop(world.open("/echo"));
    yes_or_no(world.server.count_lines(&[" DEBUG "]) > 0)
}

/// What happens to a silent connection when another one comes.
pub(super) fn older_of_two_silent(world: &World) -> String {
    let mut older = world.server.raw();
    // The newer connection has sent no whole request either, but the beginning of one.
    let mut newer = world.server.raw();
    newer.write_all(b"GET ").expect("sending");
    end_of(&mut older)
}

/// The highest status of four opening handshakes that are asked for together, so that a slow machine does not spread them
/// over seconds.
pub(super) fn one_of_four(world: &World) -> String {
    let mut streams: Vec<TcpStream> = (0..4).map(|_| world.server.raw()).collect();
    for stream in &mut streams {
        let sent = stream.write_all(opening("/echo", "").as_bytes());
        sent.expect("sending a request");
    }
    let answers = streams.into_iter();
    let answers = answers.map(|stream| status_of(&Server::exchange_over(stream, b"")));
    answers.max().unwrap_or(0).to_string()
}

/// The status that a second session gets beside a first one.
pub(super) fn second_of_two(world: &World) -> String {
    let first = world.server.raw();
    let kept = first.try_clone().expect("a clone of a socket");
    // A session of the probe before may not be over yet. Then it takes the place of this one.
    let _ = Server::exchange_over(first, opening("/echo", "").as_bytes());
    let status = world.status("/echo", "");
    drop(kept);
    status
}

/// What happens to a connection with half a request head.
pub(super) fn half_a_head(world: &World) -> String {
    let mut stream = world.server.raw();
    stream.write_all(b"GET /echo ").expect("sending");
    end_of(&mut stream)
}

/// Whether a connection ends soon.
pub(super) fn end_of(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let ended = match stream.read(&mut [0; 512]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    if ended { "ends" } else { "waits" }.to_owned()
}

/// The first byte of the next frame in hexadecimal, with the code of a Close.
pub(super) fn end_or_frame(stream: &mut TcpStream) -> String {
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

/// How a handler is refused that sends more than a peer takes.
pub(super) fn refused_flood(world: &World) -> String {
    let line = flood_line(world);
    let refused = line.split("flood ended: ").nth(1).unwrap_or_default();
    refused
        .split([' ', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Whether a handler can send much or little to a peer that does not read.
pub(super) fn flood(world: &World) -> String {
    let line = flood_line(world);
    let most = line
        .split("after ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let most: u64 = most.and_then(|most| most.parse().ok()).expect("a number");
    if most > 200_000 { "much" } else { "little" }.to_owned()
}

/// What a handler logs that sends until it is refused.
fn flood_line(world: &World) -> String {
    let before = world.server.count_lines(&["flood ended"]);
    let mut client = world.open("/speaks_later");
    client.send("flood");
    eventually("it is over", || {
        world.server.count_lines(&["flood ended"]) > before
    });
    world.server.lines(&["flood ended"]).pop().expect("a line")
}

/// What comes soon of the echoes of three messages that were sent at once.
pub(super) fn three_messages(world: &World) -> String {
    let mut raw = world.open_raw("/echo");
    raw.send(&frame(0x81, b"hi").repeat(3));
    raw.stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    for _ in 0..3 {
        match end_or_frame(&mut raw.stream).as_str() {
            "81" => {}
            "nothing" => return "fewer".to_owned(),
            other => return other.to_owned(),
        }
    }
    "three".to_owned()
}

pub(super) fn second_topic(world: &World) -> String {
    let words = ["join a", "join b", "publish b heard"];
    let frames = words.map(|word| frame(0x81, word.as_bytes()));
    world.answer("/features", &frames.concat())
}

/// Whether a session stays when its handler is replaced, or the code that it gets.
pub(super) fn replaced(world: &World, patience: Duration) -> String {
    let mut client = world.open("/reloaded");
    let loaded = world.server.count_lines(&["handler loaded", "reloaded"]);
    let mut bytes = std::fs::read(library("echo_wsh")).expect("the library");
    // The bytes behind the library make another file of the same code.
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

/// The status that a handler gives after a panic.
pub(super) fn is_panicking_served(world: &World) -> String {
    let mut client = world.open("/panics?in=message");
    client.send("now");
    let _ = client.close_code();
    world.status("/panics", "")
}

/// The status that a handler gives a moment after `count` panics, with a moment between them.
pub(super) fn after_panics(world: &World, count: usize) -> String {
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

/// Whether a session ends soon after its peer has stopped reading.
pub(super) fn not_read(world: &World) -> String {
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

/// The answer to a handler's call for a second thread.
pub(super) fn second_thread(world: &World) -> String {
    let spawn = "answer(conn, \"spawn\", host->spawn(host->ctx, rest, NULL));";
    let loaded = world.load("spawns", &format!("-DIN_MESSAGE={spawn} {spawn}"));
    assert_eq!(loaded, "loaded");
    let mut client = world.open("/spawns");
    client.send("now");
    let _first = client.text();
    client.text()
}

/// Whether a session with a state of 4 KiB moves to the next version.
pub(super) fn moves(world: &World) -> String {
    let bytes = unruly(&[
        "-DMIGRATES",
        "-DIN_SNAPSHOT=static uint8_t state[4096]; return sink->write(sink->ctx, state, sizeof state)",
    ]);
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

pub(super) fn yes_or_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// The last message of a topic, after one was published.
pub(super) fn keeps_a_message(world: &World) -> String {
    let mut client = world.open("/shares");
    client.ask("publish lobby x");
    client.ask("history lobby 1")
}

/// Whether a new session can become a member of a topic with a value of two bytes.
pub(super) fn enters(world: &World) -> String {
    is_accepted(&world.open("/shares").ask("enter lobby 2"))
}

/// Whether two bytes can be kept that were not kept before.
pub(super) fn puts(world: &World) -> String {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let key = KEYS.fetch_add(1, Ordering::Relaxed);
    is_accepted(&world.open("/shares").ask(&format!("put key{key} 2")))
}

/// Whether all of some asks of one kind are accepted that are made at a time.
pub(super) fn asks(world: &World, kind: &str, count: u64) -> String {
    let answer = world.open("/shares").ask(&format!("{kind} {count}"));
    yes_or_no(answer == format!("{kind} {count}"))
}

/// Whether the answer says that something was done, and not that it was too much.
fn is_accepted(answer: &str) -> String {
    let is_refused = answer.ends_with(" TOO_BIG");
    assert!(is_refused || answer.ends_with(" OK"), "{answer}");
    yes_or_no(!is_refused)
}
