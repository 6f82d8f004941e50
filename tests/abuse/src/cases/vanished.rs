//! Peers that are gone without a word, and peers that reset.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockFilter;

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::Swarm;
use crate::wire::{BINARY, FIN, Peer, frame};
use crate::{Lab, Result};

/// Sessions whose peers drop every packet, so that nothing that the server sends is acknowledged.
pub(crate) fn half_open(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(1_000, 100);
    let config = lab.either(
        "",
        "[limits]\nping_interval_ms = 2000\npong_timeout_ms = 1000\n",
    );
    // A Ping may be a tenth late.
    let most = lab.either(37.5, 3.2) + 1.0;
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let before = ends(&server);
        let swarm = Swarm::opened(server.port, "/echo", count)?;
        for number in 0..count {
            vanish(swarm.stream(number).ok_or("it is open")?)?;
        }
        let began = Instant::now();
        let limit = Duration::from_secs_f64(most) + Duration::from_secs(10);
        while ends(&server) < before + count && began.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(100));
        }
        let last = began.elapsed().as_secs_f64();
        // A second end of a session would come now.
        std::thread::sleep(Duration::from_millis(500));
        let ended = ends(&server) - before;
        checks.holds(
            format!("{ended} ends of {count} sessions, the last after {last:.1} s"),
            ended == count && last <= most,
        );
        Ok(())
    })
}

/// Drops every packet that comes, before TCP sees it. When the socket is closed, it resets.
fn vanish(stream: &TcpStream) -> Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_linger(Some(Duration::ZERO))?;
    let nothing_passes = SockFilter::new(BPF_RETURN, 0, 0, 0);
    Ok(socket.attach_filter(&[nothing_passes])?)
}

/// Resets of the peer within a frame that it sends, and within one that it gets.
pub(crate) fn resets(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let message = frame(FIN | BINARY, &[7; 200]);
        let (before, mut opened) = (ends(&server), 0);
        // What it says at its start, of the user that it runs as, is no matter of peers.
        let lines = server.log().lines().count();
        for length in 0..=message.len() {
            let mut peer = Peer::open(server.port, "/echo")?;
            peer.send(&message[..length])?;
            peer.reset()?;
            opened += 1;
        }
        // The answer has a header of four bytes.
        for length in 0..=204 {
            let mut peer = Peer::open(server.port, "/echo")?;
            peer.send(&message)?;
            read_exactly(&mut peer.stream, length)?;
            peer.reset()?;
            opened += 1;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while ends(&server) < before + opened && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let ended = ends(&server) - before;
        let log = server.log();
        let loud = log
            .lines()
            .skip(lines)
            .filter(|it| it.contains(" WARN ") || it.contains("ERROR"))
            .count();
        checks.holds(format!("{ended} sessions end of {opened}"), ended == opened);
        checks.holds(format!("{loud} warnings and errors"), loud == 0);
        Ok(())
    })
}

fn read_exactly(stream: &mut TcpStream, length: usize) -> Result<()> {
    use std::io::Read;
    Ok(stream.read_exact(&mut vec![0; length])?)
}

/// How many sessions have ended, by the access lines.
pub(crate) fn ends(server: &Server) -> usize {
    server.log().matches("session closed").count()
}

/// BPF_RET | BPF_K of `linux/filter.h`.
const BPF_RETURN: u16 = 0x06;
