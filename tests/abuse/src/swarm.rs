//! Many connections of one thread: none of them waits, and `epoll` says which have something to read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Result;
use crate::wire::{CLOSE, FIN, Frames, PING, PONG, Peer, connect, frame, is_end, opening};

/// Connections by their number. A connection that has ended keeps its number.
pub(crate) struct Swarm {
    epoll: Epoll,
    peers: Vec<Option<TcpStream>>,
    open: usize,
    buffer: Vec<u8>,
}

/// What came over a connection.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    Bytes(&'a [u8]),
    /// The server has closed it, or reset it.
    End {
        is_reset: bool,
    },
}

impl Swarm {
    pub(crate) fn new() -> Result<Swarm> {
        Ok(Swarm {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            peers: Vec::new(),
            open: 0,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Connects so many times, and sends nothing.
    pub(crate) fn connected(port: u16, count: usize) -> Result<Swarm> {
        let mut swarm = Swarm::new()?;
        for _ in 0..count {
            swarm.add(connect(port)?)?;
        }
        Ok(swarm)
    }

    /// Opens so many WebSockets. What comes right behind the answers is lost.
    pub(crate) fn opened(port: u16, path: &str, count: usize) -> Result<Swarm> {
        let mut swarm = Swarm::new()?;
        swarm.open_more(port, path, count)?;
        Ok(swarm)
    }

    pub(crate) fn open_more(&mut self, port: u16, path: &str, count: usize) -> Result<()> {
        let request = opening(path, "");
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            let mut begun = Vec::with_capacity(batch);
            for _ in 0..batch {
                let mut stream = connect(port)?;
                stream.write_all(request.as_bytes())?;
                begun.push(stream);
            }
            for stream in begun {
                self.add(Peer::opened(stream)?.stream)?;
            }
            left -= batch;
        }
        Ok(())
    }

    /// Takes a connection over. Returns its number.
    pub(crate) fn add(&mut self, stream: TcpStream) -> Result<usize> {
        stream.set_nonblocking(true)?;
        let number = self.peers.len();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        self.epoll.add(&stream, event)?;
        self.peers.push(Some(stream));
        self.open += 1;
        Ok(number)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// How many connections there are and were.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn stream(&self, number: usize) -> Option<&TcpStream> {
        self.peers[number].as_ref()
    }

    /// Writes what the kernel takes. Returns how much; 0 for a connection that has ended.
    pub(crate) fn write(&mut self, number: usize, bytes: &[u8]) -> Result<usize> {
        let Some(mut stream) = self.peers[number].as_ref() else {
            return Ok(0);
        };
        match stream.write(bytes) {
            Ok(length) => Ok(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            // The end is reported by `look`, with what came before it.
            Err(error) if is_end(&error) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes to every connection.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        for number in 0..self.peers.len() {
            self.write(number, bytes)?;
        }
        Ok(())
    }

    /// Waits until something comes, and at most for `timeout`. Tells what came.
    pub(crate) fn look(
        &mut self,
        timeout: Duration,
        mut tell: impl FnMut(usize, Came<'_>),
    ) -> Result<()> {
        let mut events = [EpollEvent::empty(); 512];
        let timeout = EpollTimeout::try_from(timeout)?;
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(nix::errno::Errno::EINTR) => 0,
            count => count?,
        };
        for event in &events[..count] {
            let number = event.data() as usize;
            let Some(mut stream) = self.peers[number].as_ref() else {
                continue;
            };
            match stream.read(&mut self.buffer) {
                Ok(0) => self.end(number, false, &mut tell),
                Ok(length) => tell(number, Came::Bytes(&self.buffer[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is_end(&error) => self.end(number, true, &mut tell),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Looks until all connections have ended or the time is over. Returns when each ended.
    pub(crate) fn until_closed(&mut self, most: Duration) -> Result<Vec<Instant>> {
        let mut ended = Vec::new();
        let deadline = Instant::now() + most;
        while self.open > 0 && Instant::now() < deadline {
            self.look(STEP, |_, came| {
                if let Came::End { .. } = came {
                    ended.push(Instant::now());
                }
            })?;
        }
        Ok(ended)
    }

    /// Drops a connection.
    pub(crate) fn drop_one(&mut self, number: usize) {
        if self.peers[number].take().is_some() {
            self.open -= 1;
        }
    }

    fn end(&mut self, number: usize, is_reset: bool, tell: &mut impl FnMut(usize, Came<'_>)) {
        self.drop_one(number);
        tell(number, Came::End { is_reset });
    }
}

/// The frames of every connection of a swarm, whose messages come in pieces.
#[derive(Default)]
pub(crate) struct AllFrames {
    frames: Vec<Frames>,
}

impl AllFrames {
    /// Takes what came over a connection, and calls `each` for the frames that are whole.
    pub(crate) fn take(
        &mut self,
        number: usize,
        bytes: &[u8],
        mut each: impl FnMut(crate::wire::Frame),
    ) -> Result<()> {
        if self.frames.len() <= number {
            self.frames.resize_with(number + 1, Frames::default);
        }
        self.frames[number].take(bytes);
        while let Some(frame) = self.frames[number].next()? {
            each(frame);
        }
        Ok(())
    }

    /// Hears the sessions of a swarm as `look` does, and answers their Pings. `fault_of` says what is wrong with a message of
    /// a session. Returns that, and which sessions have ended.
    pub(crate) fn hear(
        &mut self,
        swarm: &mut Swarm,
        timeout: Duration,
        mut fault_of: impl FnMut(usize, &[u8]) -> Option<String>,
    ) -> Result<Vec<String>> {
        let (mut pings, mut faults) = (Vec::new(), Vec::new());
        swarm.look(timeout, |number, came| {
            let Came::Bytes(bytes) = came else {
                return faults.push(format!("session {number} ends"));
            };
            let taken = self.take(number, bytes, |it| match it.opcode() {
                PING => pings.push((number, it.payload)),
                CLOSE => faults.push(format!("session {number} is closed with {}", it.code())),
                _ => faults.extend(fault_of(number, &it.payload)),
            });
            faults.extend(taken.err().map(|it| it.to_string()));
        })?;
        for (number, payload) in pings {
            swarm.write(number, &frame(FIN | PONG, &payload))?;
        }
        Ok(faults)
    }
}

/// Requests that are on the way at once: fewer than the backlog of the listener.
const BATCH: usize = 200;
const STEP: Duration = Duration::from_millis(20);
