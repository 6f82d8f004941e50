//! A load that does not wait for the server. Echoes fall due at a fixed pace, and the time of each counts from then, so that
//! a short halt of the server shows.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Result;
use crate::frame::Batch;
use crate::socket::{Offer, Socket};

/// Open connections that send in turn.
#[derive(Debug)]
pub(crate) struct Pace {
    sockets: Vec<Socket>,
    epoll: Epoll,
    buffer: Vec<u8>,
    batch: Batch,
    /// The time between two messages, on any connection.
    period: Duration,
}

impl Pace {
    pub(crate) fn open(
        port: u16,
        path: &str,
        connections: usize,
        period: Duration,
    ) -> Result<Pace> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut sockets = Vec::with_capacity(connections);
        for index in 0..connections {
            let socket = Socket::open(port, path, Offer::Nothing)?;
            socket.set_nonblocking()?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            sockets.push(socket);
        }
        Ok(Pace {
            sockets,
            epoll,
            buffer: vec![0; 64 * 1024],
            batch: Batch::binary(PAYLOAD_BYTES, 1),
            period,
        })
    }

    /// Sends for this time, and calls `aside` whenever there is time for something short. Returns how many nanoseconds each
    /// echo took.
    pub(crate) fn run(
        &mut self,
        duration: Duration,
        mut aside: impl FnMut() -> Result<()>,
    ) -> Result<Vec<u32>> {
        let messages = (duration.as_nanos() / self.period.as_nanos()) as usize;
        let mut latencies = Vec::with_capacity(messages);
        let began = Instant::now();
        let due = |number: usize| began + self.period * number as u32;
        let (mut sent, mut heard_at) = (0, began);
        let mut events = [EpollEvent::empty(); 64];
        while latencies.len() < messages {
            // The process sleeps while it has nothing to do. On a machine with a quota of processor time, a process
            // that spins stops every process for tens of milliseconds.
            let is_awaiting = latencies.len() < sent;
            let timeout = EpollTimeout::from(u8::from(is_awaiting));
            let count = self.epoll.wait(&mut events, timeout)?;
            for event in &events[..count] {
                let socket = &mut self.sockets[event.data() as usize];
                if socket.read(&mut self.buffer)? == 0 {
                    continue;
                }
                heard_at = Instant::now();
                socket.outstanding -= 1;
                let latency = heard_at.duration_since(socket.sent_at).as_nanos();
                latencies.push(latency.try_into().unwrap_or(u32::MAX));
            }
            let now = Instant::now();
            if sent < messages && due(sent) <= now {
                let count = self.sockets.len();
                let socket = &mut self.sockets[sent % count];
                // A connection that still waits for its last echo delays the next ones, and their times count that.
                if socket.outstanding == 0 {
                    socket.outstanding = 1;
                    socket.sent_at = due(sent);
                    socket.written = 0;
                    if !socket.write(&self.batch.bytes)? {
                        return Err("a socket has no room for a short message".into());
                    }
                    sent += 1;
                }
            } else if latencies.len() == sent && (sent == messages || due(sent) > now + ROOM) {
                aside()?;
                let now = Instant::now();
                if sent < messages && due(sent) > now + ROOM {
                    std::thread::sleep(due(sent) - now - ROOM);
                }
            }
            if now > heard_at + PATIENCE {
                return Err(format!("no echo within {PATIENCE:?}").into());
            }
        }
        Ok(latencies)
    }
}

const PAYLOAD_BYTES: usize = 125;
/// What is done aside nearly always takes less than this.
const ROOM: Duration = Duration::from_micros(150);
const PATIENCE: Duration = Duration::from_secs(15);
