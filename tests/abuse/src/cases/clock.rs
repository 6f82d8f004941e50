//! The wall clock is set while sessions are open.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{AllFrames, Came, Swarm};
use crate::wire::{BINARY, FIN, Peer, frame};
use crate::{Lab, Result};

/// A library in front of the C library's tells the server another time. The machine's own clock stays.
pub(crate) fn set(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(500, 50);
    let directory = tempfile::tempdir()?;
    let (source, library, offset) = (
        directory.path().join("clock.c"),
        directory.path().join("libclock.so"),
        directory.path().join("offset"),
    );
    fs::write(&source, CLOCK)?;
    fs::write(&offset, 0i64.to_ne_bytes())?;
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .status()?;
    if !built.success() {
        return Err("`cc` cannot build the library with the clock".into());
    }
    let setup = Setup {
        config: "[limits]\nping_interval_ms = 1000\npong_timeout_ms = 1000\nhandshake_timeout_ms = 3000\n",
        variables: &[("LD_PRELOAD", &library), ("ABUSE_CLOCK", &offset)],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let clock = fs::OpenOptions::new().write(true).open(&offset)?;
    let year = 365 * 24 * 3600;
    under_attack(&server, checks, |checks| {
        let mut swarm = Swarm::opened(server.port, "/echo", count)?;
        let mut years = Vec::new();
        for (what, seconds) in [
            ("a year on", year),
            ("a year back", -year),
            ("2 s on", 2),
            ("right", 0),
        ] {
            clock.write_all_at(&i64::to_ne_bytes(seconds), 0)?;
            crate::cases::crowds::answer_pings(&mut swarm, Duration::from_secs(3))?;
            let echoed = echo_on_all(&mut swarm)?;
            let mut new = Peer::open(server.port, "/echo")?;
            let fresh = new.ask(b"hello")? == b"hello";
            new.reset()?;
            std::thread::sleep(Duration::from_millis(200));
            let log = server.log();
            years.push(
                log.lines()
                    .last()
                    .and_then(|it| it.get(..4))
                    .unwrap_or_default()
                    .to_owned(),
            );
            checks.holds(
                format!("{what}: {echoed} of {count} echo"),
                echoed == count && fresh,
            );
        }
        let numbers: Vec<i32> = years.iter().flat_map(|it| it.parse()).collect();
        let follows = matches!(numbers[..], [on, back, near, now] if on == now + 1 && back == now - 1 && near == now);
        checks.holds(format!("the log says {}", years.join(", ")), follows);
        Ok(())
    })
}

/// Returns how many sessions echo.
pub(crate) fn echo_on_all(swarm: &mut Swarm) -> Result<usize> {
    swarm.write_all(&frame(FIN | BINARY, b"hello"))?;
    let (mut frames, mut echoed, mut silent) = (AllFrames::default(), 0, 0);
    while silent < 20 && echoed < swarm.open() {
        silent += 1;
        swarm.look(Duration::from_millis(100), |number, came| {
            if let Came::Bytes(bytes) = came {
                let _ = frames.take(number, bytes, |it| {
                    echoed += usize::from(it.payload == b"hello");
                    silent = 0;
                });
            }
        })?;
    }
    Ok(echoed)
}

const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("ABUSE_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *offset;
    return failed;
}
"#;
