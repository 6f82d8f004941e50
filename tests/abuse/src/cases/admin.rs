//! Clients of the admin socket that are slow, many, or talk nonsense.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::checks::{Checks, ms, under_attack};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// A thousand clients that never finish their request, and garbage beside them.
pub(crate) fn slow_and_garbage(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (clients, seconds) = lab.either((1_000, 10), (200, 2));
    let setup = Setup {
        flags: &["--admin-socket", "admin.sock"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let socket = server.path("admin.sock");
    under_attack(&server, checks, |checks| {
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

const GARBAGE: [&[u8]; 6] = [
    b"\0\0\0\0\0\0\0\0\r\n\r\n",
    b"DELETE / HTTP/1.1\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
];
