//! Guesses of a password.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::checks::{Checks, ms, under_attack};
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
        let (difference, deviation) = timing(lab, &ask)?;
        checks.holds(
            format!("a wrong password of a user and of none differ by {difference:.2} of a standard deviation of {}", ms(deviation)),
            difference < 1.0,
        );
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

/// Guesses for a user that exists and for one that does not, in turn, from addresses that have guesses left. Returns the
/// difference of their means in standard deviations, and the larger standard deviation.
fn timing(lab: &Lab, ask: &impl Fn(u8, &str) -> Result<u16>) -> Result<(f64, Duration)> {
    let mut took = [Vec::new(), Vec::new()];
    for last in 10..lab.either(70, 20) {
        for number in 0..10 {
            let user = ["ann", "zed"][number % 2];
            let asked = Instant::now();
            if ask(last, &format!("{user}:wrong {number}"))? != 401 {
                return Err("a guess of a fresh address is not answered 401".into());
            }
            took[number % 2].push(asked.elapsed().as_secs_f64());
        }
    }
    let [(known, spread), (unknown, other)] = took.map(|times| {
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    });
    let deviation = f64::max(spread, other);
    Ok((
        (known - unknown).abs() / deviation,
        Duration::from_secs_f64(deviation),
    ))
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
