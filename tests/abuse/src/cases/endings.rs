//! Plugins that end their process.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::checks::{Checks, under_attack};
use crate::compile::unruly;
use crate::server::{Server, Setup};
use crate::wire::{FIN, Peer, TEXT, frame};
use crate::{Lab, Result};

/// In a callback it is the end of the server, which says why and can be started again at once. While it loads it is a refusal.
pub(crate) fn of_plugins(lab: &Lab, checks: &mut Checks) -> Result<()> {
    for (what, code, said, statuses) in FATAL {
        in_a_callback(lab, checks, what, code, said, statuses)?;
    }
    let setup = Setup {
        config: "[limits]\ninit_timeout_ms = 1000\ntrial_memory_bytes_max = 268435456\n",
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let codes = FATAL.iter().map(|(what, code, ..)| (*what, *code));
    let plugins: Vec<(&str, Vec<u8>)> = codes
        .chain([("hangs", "hang()")])
        .map(|(what, code)| (what, unruly(&[&format!("-DIN_INIT={code}")])))
        .collect();
    under_attack(&server, checks, |checks| {
        let mut session = Peer::open(server.port, "/echo")?;
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        for (number, (_, bytes)) in plugins.iter().enumerate() {
            let put = Instant::now();
            server.put(&format!("handlers/fatal{number}_wsh.so"), bytes)?;
            let named = format!("cannot load `fatal{number}_wsh.so`");
            server.line(&["plugin refused", &named], SOON)?;
            longest = longest.max(put.elapsed());
            session.ask(b"still here?")?;
        }
        let refused = server.log().matches("plugin refused").count();
        checks.holds(
            format!(
                "while they load: {refused} of {} refused in a line each, after {:.1} s at most, in {:.1} s",
                plugins.len(),
                longest.as_secs_f64(),
                began.elapsed().as_secs_f64()
            ),
            refused == plugins.len() && longest < Duration::from_secs(5),
        );
        Ok(())
    })
}

fn in_a_callback(
    lab: &Lab,
    checks: &mut Checks,
    what: &str,
    code: &str,
    said: &str,
    statuses: &[i32],
) -> Result<()> {
    let setup = Setup {
        // Memory ends before that of this machine.
        within: &["prlimit", "--data=1073741824"],
        ..Setup::default()
    };
    let mut server = Server::start(&lab.artifacts, &setup)?;
    server.add("ends", &unruly(&[&format!("-DIN_MESSAGE={code}")]))?;
    let mut innocent = Peer::open(server.port, "/echo")?;
    let mut peer = Peer::open(server.port, "/ends")?;
    peer.send(&frame(FIN | TEXT, b"go"))?;
    let status = server.wait(SOON)?;
    let log = server.log();
    let named = log
        .lines()
        .filter(|it| it.contains(said))
        .filter(|it| it.contains("`message`") || it.contains("=\"message\""))
        .filter(|it| it.contains("`ends`") || it.contains("handler=ends"))
        .count();
    let told = innocent.close_code()?.0;
    std::fs::remove_file(server.path("handlers/ends_wsh.so"))?;
    let started = Instant::now();
    let server = server.restart(&lab.artifacts, &setup)?;
    let mut again = Peer::open(server.port, "/echo")?;
    again.ask(b"again")?;
    let took = started.elapsed();
    let ended = status.code().or(status.signal()).unwrap_or_default();
    checks.holds(
        format!(
            "{what}: {status}, named in {named} line, others {told}, served again {:.2} s after a start",
            took.as_secs_f64()
        ),
        statuses.contains(&ended) && named == 1 && took < Duration::from_secs(1),
    );
    Ok(())
}

/// What a plugin does, its code, what the log says, and the exit status or signal.
const FATAL: [(&str, &str, &str, &[i32]); 5] = [
    ("exit", "exit(0)", "handler called `exit`", &[70]),
    ("abort", "abort()", "signal SIGABRT in", &[6]),
    ("a fault", "crash()", "signal SIGSEGV in", &[11]),
    // Where it hits the page behind the stack, the standard library says so and aborts.
    (
        "an overflow of the stack",
        "run_over()",
        "signal SIGSEGV in",
        &[6, 11],
    ),
    (
        "1 GiB of memory",
        "eat_memory()",
        "signal SIGSEGV in",
        &[11],
    ),
];
const SOON: Duration = Duration::from_secs(20);
