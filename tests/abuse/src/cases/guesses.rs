//! Guesses of a password.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{connect_from, opening, read_answer, status_of};
use crate::{Lab, Result};

/// Guesses from one address, while the user comes and goes from another one.
pub(crate) fn passwords(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(10_000, 500);
    let setup = Setup {
        config: "users_file = \"users\"\n[auth]\n\"/\" = \"required\"\n\"/echo\" = \"open\"\n",
        files: &[("users", TEA)],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let ask = |last: u8, pair: &str| -> Result<u16> {
            use std::io::Write;
            let line = format!("Authorization: Basic {}\r\n", base64(pair.as_bytes()));
            let mut stream = connect_from(Ipv4Addr::new(127, 0, 2, last), server.port)?;
            stream.write_all(opening("/nowhere", &line).as_bytes())?;
            Ok(status_of(&read_answer(&mut stream)?))
        };
        let right = ask(2, "ann:tea")?;
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        let (mut known, mut shut_out) = (0, 0);
        for number in 0..count {
            *statuses
                .entry(ask(1, &format!("ann:{number}"))?)
                .or_default() += 1;
            if number % 100 == 0 {
                known += 1;
                shut_out += usize::from(ask(2, "ann:tea")? != 404);
            }
        }
        let answers: Vec<String> = statuses
            .iter()
            .map(|(status, count)| format!("{count} × {status}"))
            .collect();
        let limited = statuses.get(&429).copied().unwrap_or_default();
        let others = statuses.keys().any(|status| ![401, 429].contains(status));
        checks.holds(
            format!("{count} guesses: {}", answers.join(", ")),
            limited > 0 && !others,
        );
        checks.holds(
            format!(
                "the right password is let in {} of {} times",
                known - shut_out + usize::from(right == 404),
                known + 1
            ),
            shut_out == 0 && right == 404,
        );
        Ok(())
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk
            .iter()
            .fold(0u32, |all, byte| all << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    text
}

/// The user `ann` with a hash of `tea` that takes a few milliseconds, by `htpasswd -B`.
const TEA: &str = "ann:$2y$05$abcdefghijklmnopqrstuud6G93R2mClriPOkUzylPQG1gEj0ICEq";
