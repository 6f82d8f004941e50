//! What a peer would like to write into the log.

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{Peer, exchange, opening};
use crate::{Lab, Result};

/// Line breaks, escapes and marks of direction, in everything that a peer says and the log repeats.
pub(crate) fn injected(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let setup = Setup {
        plugins: &["echo_wsh", "features_wsh"],
        flags: &["--log-level", "debug"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let mut sent = 0;
        for (encoded, plain) in INJECTED {
            for request in [
                opening(&format!("/features?x={encoded}"), ""),
                opening(&format!("/nowhere{encoded}"), ""),
                opening("/features", &format!("User-Agent: a{plain}b\r\n")),
                opening("/nowhere", &format!("User-Agent: a{plain}b\r\n")),
                opening(
                    "/features",
                    &format!("Sec-WebSocket-Protocol: a{plain}b\r\n"),
                ),
                opening("/features", &format!("Origin: http://a{plain}b\r\n")),
                opening("/features", "").replace("localhost", &format!("a{plain}b")),
                format!("GET /{plain} HTTP/1.1\r\n\r\n"),
            ] {
                exchange(server.port, request.as_bytes())?;
                sent += 1;
            }
            let reason = [&4000u16.to_be_bytes()[..], format!("a{plain}b").as_bytes()].concat();
            let mut peer = Peer::open(server.port, "/features")?;
            peer.send(&crate::wire::frame(0x88, &reason))?;
            peer.close_code()?;
            let mut peer = Peer::open(server.port, "/features")?;
            let order = format!("fail a{plain}b");
            peer.send(&crate::wire::frame(0x81, order.as_bytes()))?;
            peer.close_code()?;
            sent += 2;
        }
        exchange(
            server.port,
            b"GET /\xff\xfe\x80 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \xff\r\n\r\n",
        )?;
        let log = server.log();
        let odd = log.lines().filter(|line| !is_a_line(line)).count();
        let first = log
            .lines()
            .find(|line| !is_a_line(line))
            .unwrap_or_default();
        checks.holds(
            format!(
                "{odd} of {} lines are not one event {}",
                log.lines().count(),
                first.escape_debug()
            ),
            odd == 0,
        );
        checks.note(format!("{} texts sent", sent + 1));
        Ok(())
    })
}

/// Whether a line begins with a time, and nothing in it moves the reader's cursor or turns the text round.
fn is_a_line(line: &str) -> bool {
    let begins = line.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let is_odd = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffd}')
    };
    begins && !line.chars().any(is_odd)
}

/// As it stands in a target, and as it is.
const INJECTED: [(&str, &str); 9] = [
    ("%0aFORGED", "\nFORGED"),
    ("%0d%0aFORGED", "\rFORGED"),
    ("%1b%5b31m", "\u{1b}[31m"),
    ("%1b%5d0;x%07", "\u{1b}]0;x\u{7}"),
    ("%e2%80%ae", "\u{202e}"),
    ("%e2%80%a8", "\u{2028}"),
    ("%c2%9b31m", "\u{9b}31m"),
    ("%7f%08", "\u{7f}\u{8}"),
    ("%ff%fe", "\u{feff}"),
];
