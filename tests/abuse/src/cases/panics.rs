//! A handler that panics.

use std::time::{Duration, Instant};

use crate::checks::{Checks, Leaves, ms, under_attack_that_leaves};
use crate::server::{Server, Setup};
use crate::wire::{CLOSE, FIN, PING, PONG, Peer, TEXT, exchange, frame};
use crate::{Lab, Result};

/// A session panics in each callback in turn, beside sessions of the same handler and of another one.
pub(crate) fn in_each_callback(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let rounds = lab.either(50, 2);
    let setup = Setup {
        plugins: &["echo_wsh", "panics_wsh"],
        config: "[handler.panics]\npanics_max = 1000000\n",
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let plugin = std::fs::read(lab.artifacts.plugin("panics_wsh"))?;
    let leaves = Leaves {
        panics: true,
        ..Leaves::default()
    };
    under_attack_that_leaves(leaves, &server, checks, |checks| {
        let mut neighbours = [
            Peer::open(server.port, "/panics")?,
            Peer::open(server.port, "/echo")?,
        ];
        let (mut provoked, mut wrong, mut disturbed) = (0, Vec::new(), 0);
        for round in 0..rounds {
            for (callback, expected) in CALLBACKS {
                // What a panic carries may panic when it is dropped.
                let more = ["", "&drop=1"][round % 2];
                let code = provoke(&server, callback, more)?;
                provoked += 1;
                if code != expected {
                    wrong.push(format!("{callback}{more}: {code}"));
                }
                for neighbour in &mut neighbours {
                    disturbed += usize::from(neighbour.ask(b"still there?")? != b"still there?");
                }
            }
        }
        checks.holds(
            format!(
                "{provoked} panics in {} callbacks, {} with another code {}",
                CALLBACKS.len(),
                wrong.len(),
                wrong.join(", ")
            ),
            wrong.is_empty(),
        );
        checks.holds(
            format!("{} neighbours, {disturbed} disturbed", neighbours.len()),
            disturbed == 0,
        );
        // The callbacks of a session that has closed run when its peer has seen the end.
        let deadline = Instant::now() + SOON;
        while panics_counted(&server)? < provoked - rounds && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let counted = panics_counted(&server)?;
        checks.holds(
            format!(
                "{counted} counted; the {rounds} in `destroy`, which has no answer in the ABI, are only logged"
            ),
            counted == provoked - rounds,
        );
        server.add("breaks", &plugin)?;
        breaker(&server, checks)
    })
}

/// Five panics put a handler out of service. After five seconds one session is let in.
fn breaker(server: &Server, checks: &mut Checks) -> Result<()> {
    let mut open = Peer::open(server.port, "/breaks")?;
    for _ in 0..5 {
        let mut peer = Peer::open(server.port, "/breaks?in=message")?;
        peer.send(&frame(FIN | TEXT, b"now"))?;
        peer.close_code()?;
    }
    let broken = Instant::now();
    server.line(&["handler quarantined", "handler=breaks"], SOON)?;
    let status = || server.handshake_status("/breaks");
    let refused = status()?;
    checks.holds(
        format!(
            "after 5 panics {refused} within {}, an open session goes on",
            ms(broken.elapsed())
        ),
        refused == 503 && open.ask(b"hello")? == b"hello",
    );
    while status()? == 503 && broken.elapsed() < 2 * SOON {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (half_open, next) = (broken.elapsed(), status()?);
    checks.holds(
        format!(
            "half open after {:.1} s: one session, then {next}",
            half_open.as_secs_f64()
        ),
        next == 503 && (4.5..6.5).contains(&half_open.as_secs_f64()),
    );
    Ok(())
}

/// Leads a session to this callback, which panics. Returns the code that the session ends with; of a handshake its status.
fn provoke(server: &Server, callback: &str, more: &str) -> Result<u16> {
    let path = format!("/panics?in={callback}{more}");
    if callback == "handshake" {
        return server.handshake_status(&path);
    }
    let mut peer = Peer::open(server.port, &path)?;
    let first = match callback {
        "message" => Some(frame(FIN | TEXT, b"hello")),
        "ping" => Some(frame(FIN | PING, b"")),
        "pong" => Some(frame(FIN | PONG, b"")),
        "closing" | "close" | "destroy" => Some(frame(FIN | CLOSE, &1000u16.to_be_bytes())),
        _ => None,
    };
    if let Some(first) = first {
        peer.send(&first)?;
    }
    Ok(peer.close_code()?.0)
}

/// How many panics of the handler the list of handlers says.
fn panics_counted(server: &Server) -> Result<usize> {
    let request = "GET /.wshd/handlers.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = exchange(server.port, request.as_bytes())?;
    let count = answer
        .split("panics_wsh.so\"")
        .nth(1)
        .and_then(|it| it.split("\"panics\":").nth(1));
    let digits = count.and_then(|it| it.split(|it: char| !it.is_ascii_digit()).next());
    Ok(digits.ok_or("the list has no panics")?.parse()?)
}

/// Each callback, and how its session ends. The closing handshake is over when the last two run.
const CALLBACKS: [(&str, u16); 11] = [
    ("handshake", 500),
    ("open", 1011),
    ("message", 1011),
    ("ping", 1011),
    ("pong", 1011),
    ("drain", 1011),
    ("timer", 1011),
    ("answer", 1011),
    ("closing", 1011),
    ("close", 1000),
    ("destroy", 1000),
];
const SOON: Duration = Duration::from_secs(10);
