//! Requests that come in an odd way, or are too large.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::checks::{Checks, ms, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{self, BINARY, FIN, Peer, connect, exchange, frame, opening, status_of};
use crate::{Lab, Result};

/// A valid request of which each byte is a packet.
pub(crate) fn byte_by_byte(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let mut stream = connect(server.port)?;
        let began = Instant::now();
        for byte in opening("/echo", "").bytes() {
            stream.write_all(&[byte])?;
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut peer = Peer::opened(stream)?;
        let took = began.elapsed();
        let echo = peer.ask(b"hello")?;
        checks.holds(
            format!("101 with the right key after {}", ms(took)),
            took < Duration::from_secs(2) && echo == b"hello",
        );
        Ok(())
    })
}

/// Heads over each limit.
pub(crate) fn too_large(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let in_a_row = lab.either(1_000, 100);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
        let many: String = (0..10_000).map(|it| format!("X-{it}: 1\r\n")).collect();
        let target = format!("/{}", "x".repeat(64 << 10));
        for (what, request, wanted) in [
            ("1 MiB header", opening("/echo", &long), 431),
            ("10,000 headers", opening("/echo", &many), 431),
            ("target of 64 KiB", opening(&target, ""), 414),
        ] {
            let status = status_of(&exchange(server.port, request.as_bytes())?);
            let before = server.usage()?.cpu;
            let began = Instant::now();
            let mut others = 0;
            for _ in 0..in_a_row {
                let answer = exchange(server.port, request.as_bytes())?;
                others += usize::from(status_of(&answer) != wanted);
            }
            let took = began.elapsed();
            let each = (server.usage()?.cpu - before) / in_a_row;
            checks.holds(
                format!(
                    "{what}: {status}, {} of a processor each, {in_a_row} in {:.1} s",
                    ms(each),
                    took.as_secs_f64()
                ),
                status == wanted
                    && each < Duration::from_millis(5)
                    && took < Duration::from_secs(5),
            );
            if others > 0 {
                checks.holds(format!("{others} other answers"), false);
            }
        }
        Ok(())
    })
}

/// A request that is refused, with one behind it that would be answered.
pub(crate) fn refused_and_followed(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let next = "GET /.wshd/handlers.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let refused = opening("/nowhere", "") + next;
        let answer = exchange(server.port, refused.as_bytes())?;
        let answers = answer.matches("HTTP/1.1 ").count();
        checks.holds(
            format!("{}, {answers} answer, closed", status_of(&answer)),
            status_of(&answer) == 404 && answers == 1,
        );
        Ok(())
    })
}

/// A request whose segment has messages behind it.
pub(crate) fn early_frame(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let rounds = lab.either(1_000, 100);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let mut lost = 0;
        for number in 0..rounds {
            let first = format!("first {number}");
            let mut bytes = opening("/echo", "").into_bytes();
            bytes.extend(frame(FIN | BINARY, first.as_bytes()));
            bytes.extend(frame(FIN | wire::TEXT, b"second"));
            let mut stream = connect(server.port)?;
            stream.write_all(&bytes)?;
            let mut peer = Peer::opened(stream)?;
            for wanted in [first.as_bytes(), b"second"] {
                let came = peer.frame()?.is_some_and(|it| it.payload == wanted);
                lost += usize::from(!came);
            }
        }
        checks.holds(format!("{lost} of {} messages lost", 2 * rounds), lost == 0);
        Ok(())
    })
}
