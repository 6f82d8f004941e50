//! Clients of the admin socket that are slow, many, or talk nonsense.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use crate::checks::{Checks, ms, under_attack};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// Commands of another user, then a thousand clients that never finish their request, and garbage beside them.
pub(crate) fn slow_and_garbage(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (clients, seconds) = lab.either((1_000, 10), (200, 2));
    let setup = Setup {
        flags: &["--admin-socket", "admin.sock"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let socket = server.path("admin.sock");
    under_attack(&server, checks, |checks| {
        let tries = lab.either(1_000, 100);
        let (answered, sessions) = of_another_user(&server, &socket, tries)?;
        checks.holds(
            format!("{tries} commands of another user: {answered} answered, {sessions} of 1 session open"),
            answered == 0 && sessions == 1,
        );
        let mut slow = Vec::new();
        for _ in 0..clients {
            let mut stream = UnixStream::connect(&socket)?;
            // A server that has enough of them may have closed it already.
            let _ = stream.write_all(b"GET /status HTTP/1.1\r\nX: ");
            slow.push(stream);
        }
        let began = Instant::now();
        let (mut garbage, mut answered, mut longest) = (0, 0, Duration::ZERO);
        while began.elapsed() < Duration::from_secs(seconds) {
            for stream in &mut slow {
                let _ = stream.write_all(b"x");
            }
            for bytes in GARBAGE {
                let mut stream = UnixStream::connect(&socket)?;
                stream.set_read_timeout(Some(Duration::from_millis(200)))?;
                let _ = stream.write_all(bytes);
                let _ = stream.read(&mut [0; 1024]);
                garbage += 1;
            }
            let asked = Instant::now();
            let status = Command::new(&lab.artifacts.server)
                .args(["status", "--json", "--socket"])
                .arg(&socket)
                .output()?;
            longest = longest.max(asked.elapsed());
            answered += usize::from(status.status.success());
            Peer::open(server.port, "/echo")?.ask(b"hello")?;
        }
        checks.note(format!(
            "{clients} slow clients, {garbage} pieces of garbage"
        ));
        checks.holds(
            format!(
                "`wshd status` answered {answered} times meanwhile, after {} at most",
                ms(longest)
            ),
            answered > 0 && longest < Duration::from_secs(5),
        );
        Ok(())
    })
}

/// Another user asks for the status and orders a drain, where an operator has opened the way to the socket. Returns how many
/// commands are answered, and how many sessions are open afterwards.
fn of_another_user(server: &Server, socket: &Path, tries: usize) -> Result<(usize, usize)> {
    fs::set_permissions(server.path(""), Permissions::from_mode(0o755))?;
    fs::set_permissions(socket, Permissions::from_mode(0o666))?;
    let mut session = Peer::open(server.port, "/echo")?;
    let answered = std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<usize> {
            // Of this thread only.
            let nobody = Uid::from_raw(65534);
            set_thread_res_uid(nobody, nobody, nobody)?;
            let mut answered = 0;
            for number in 0..tries {
                let command = ["GET /status", "POST /drain?handler=echo"][number % 2];
                let mut stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                let _ = stream.write_all(format!("{command} HTTP/1.1\r\n\r\n").as_bytes());
                answered += usize::from(stream.read(&mut [0; 1024]).is_ok_and(|it| it > 0));
            }
            Ok(answered)
        });
        other.join().map_err(|_| "the other user has panicked")?
    })?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    let open = session.ask(b"still here?")? == b"still here?";
    Ok((answered, usize::from(open)))
}

const GARBAGE: [&[u8]; 6] = [
    b"\0\0\0\0\0\0\0\0\r\n\r\n",
    b"DELETE / HTTP/1.1\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
];
