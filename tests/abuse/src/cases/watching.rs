//! Changes of files of which no event tells.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::artifacts::{Builds, build_name};
use crate::cases::files::{SOON, until};
use crate::checks::{Checks, Leaves, under_attack_that_leaves};
use crate::server::{Server, Setup};
use crate::{Lab, Result};

/// The system gives no watches or no instances of inotify; and a file lies where none tells of it.
pub(crate) fn without_events(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let rounds = lab.either(5, 2);
    let builds = lab.artifacts.builds("ledger_wsh")?;
    for limit in ["max_inotify_watches", "max_inotify_instances"] {
        // A user namespace has limits of its own.
        let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
        let setup = Setup {
            within: &["unshare", "-Ur", "sh", "-c", &script, "sh"],
            plugins: &["echo_wsh", "ledger_wsh"],
            ..Setup::default()
        };
        let server = Server::start(&lab.artifacts, &setup)?;
        under_attack_that_leaves(Leaves::images_of("ledger_wsh"), &server, checks, |checks| {
            replace(&server, checks, rounds, &builds, limit, |bytes| {
                server.put("handlers/ledger_wsh.so", bytes)
            })
        })?;
    }
    let setup = Setup {
        flags: &["--allow-handlers-outside-root-dir"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    fs::create_dir(server.path("outside"))?;
    server.put("outside/built.so", &builds.number(1))?;
    symlink("../outside/built.so", server.path("handlers/ledger_wsh.so"))?;
    server.line(&["handler loaded", "ledger"], SOON)?;
    under_attack_that_leaves(Leaves::images_of("ledger_wsh"), &server, checks, |checks| {
        replace(&server, checks, rounds, &builds, "no event", |bytes| {
            server.put("outside/built.so", bytes)
        })
    })
}

/// Replaces the file and waits for each build, with one warning in all.
fn replace(
    server: &Server,
    checks: &mut Checks,
    rounds: usize,
    builds: &Builds,
    what: &str,
    put: impl Fn(&[u8]) -> Result<()>,
) -> Result<()> {
    let (mut first, mut later) = (Duration::ZERO, Duration::ZERO);
    for number in 2..2 + rounds {
        put(&builds.number(number))?;
        let began = Instant::now();
        until(server, &build_name(number))?;
        match number {
            2 => first = began.elapsed(),
            _ => later = later.max(began.elapsed()),
        }
    }
    let log = server.log();
    let warnings = log.lines().filter(|it| {
        it.contains("cannot watch every directory") || it.contains("no event told of a change")
    });
    let warnings = warnings.count();
    checks.holds(
        format!(
            "{what}: found after {:.1} s, later ones after {:.1} s at most, {warnings} warning",
            first.as_secs_f64(),
            later.as_secs_f64()
        ),
        first.max(later) < Duration::from_secs(5) && warnings == 1,
    );
    Ok(())
}
