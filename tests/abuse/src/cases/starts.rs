//! Starts that cannot listen, and what they leave of a server that runs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::checks::{Checks, ms, under_attack};
use crate::server::{Server, Setup};
use crate::wire::opening;
use crate::{Lab, Result};

/// Other servers want the port and the socket of one that runs, or may not have them.
pub(crate) fn without_a_place(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let rounds = lab.either(50, 5);
    let setup = Setup {
        config: CONFIG,
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let other = tempfile::tempdir()?;
    fs::create_dir(other.path().join("handlers"))?;
    let live = format!("unix:{}", server.path("wshd.sock").display());
    let closed = other.path().join("closed");
    fs::create_dir(&closed)?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500))?;
    fs::write(other.path().join("a file"), "of another program")?;
    let busy = format!("127.0.0.1:{}", server.port);
    let refusals = [
        (
            "a busy port",
            &*busy,
            "another process listens there already",
        ),
        (
            "a live socket",
            &*live,
            "another process listens there already",
        ),
        (
            "a port without permission",
            "127.0.0.1:80",
            "ermission denied",
        ),
        (
            "a folder without permission",
            "unix:closed/wshd.sock",
            "ermission denied",
        ),
        (
            "a file that is no socket",
            "unix:a file",
            "is no socket, and is left as it is",
        ),
    ];
    under_attack(&server, checks, |checks| {
        for (what, place, why) in refusals {
            let (mut clear, mut longest) = (0, Duration::ZERO);
            for _ in 0..rounds {
                let began = Instant::now();
                let (code, said) = start(&lab.artifacts.server, other.path(), place)?;
                longest = longest.max(began.elapsed());
                let line = said
                    .lines()
                    .rfind(|it| it.starts_with("wshd: cannot listen on"));
                let line = line.unwrap_or_default();
                clear += usize::from(code == Some(1) && line.contains(why));
            }
            checks.holds(
                format!(
                    "{what}: {clear} of {rounds} end with 1 and a sentence, within {}",
                    ms(longest)
                ),
                clear == rounds,
            );
        }
        let left = fs::read_to_string(other.path().join("a file"))?;
        let over_the_socket = over(UnixStream::connect(server.path("wshd.sock"))?)?;
        let over_the_port = server.handshake_status("/echo")? == 101;
        checks.holds(
            "the first server answers at both places, and the file is as it was",
            over_the_socket && over_the_port && left == "of another program",
        );
        Ok(())
    })?;
    dead(lab, checks, rounds.min(10))
}

/// Servers are killed, and the next one takes their socket over.
fn dead(lab: &Lab, checks: &mut Checks, rounds: usize) -> Result<()> {
    let setup = Setup {
        config: CONFIG,
        ..Setup::default()
    };
    let mut server = Server::start(&lab.artifacts, &setup)?;
    let (mut taken, mut longest) = (0, Duration::ZERO);
    for _ in 0..rounds {
        server.signal(Signal::SIGKILL)?;
        server.wait(Duration::from_secs(10))?;
        let began = Instant::now();
        server = server.restart(&lab.artifacts, &setup)?;
        longest = longest.max(began.elapsed());
        let said = server
            .log()
            .contains("took over the socket of a server that is gone");
        let serves = over(UnixStream::connect(server.path("wshd.sock"))?)?;
        taken += usize::from(said && serves);
    }
    checks.holds(
        format!(
            "the socket of a dead server: taken over {taken} times of {rounds}, within {}",
            ms(longest)
        ),
        taken == rounds,
    );
    Ok(())
}

/// Starts a server that may bind no port of the system and write into no folder of others. Returns its exit code and what it says.
fn start(program: &Path, site: &Path, place: &str) -> Result<(Option<i32>, String)> {
    fs::write(
        site.join("config.toml"),
        format!("listen = [\"{place}\"]\n"),
    )?;
    let output = Command::new("setpriv")
        .arg("--bounding-set=-net_bind_service,-dac_override")
        .arg(program)
        .args(["--config", "config.toml", "-w", "handlers"])
        .current_dir(site)
        .env("TMPDIR", site)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), said))
}

/// Whether a handshake over a Unix socket is answered.
fn over(mut stream: UnixStream) -> Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(opening("/echo", "").as_bytes())?;
    let mut head = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut head)?;
    Ok(head == *b"HTTP/1.1 101")
}

const CONFIG: &str = "listen = [\"127.0.0.1:0\", \"unix:wshd.sock\"]\n";
