//! The load: many connections from one thread, each with one batch of messages in flight.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Result;
use crate::frame::Batch;
use crate::socket::{Offer, Socket};

/// Open connections to one server.
#[derive(Debug)]
pub(crate) struct Load {
    sockets: Vec<Socket>,
    epoll: Epoll,
    buffer: Vec<u8>,
    /// How long an answer may take.
    patience: Duration,
}

/// What was driven through a server.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    pub(crate) messages: u64,
    pub(crate) elapsed: Duration,
    /// From writing a batch to the last byte of its echo, in nanoseconds, in no order.
    pub(crate) latencies: Vec<u32>,
}

impl Load {
    pub(crate) fn open(port: u16, path: &str, connections: usize, offer: Offer) -> Result<Load> {
        Load::open_each(port, |_| path.to_owned(), connections, offer)
    }

    /// Opens connections, each at a path of its own.
    pub(crate) fn open_each(
        port: u16,
        path: impl Fn(usize) -> String,
        connections: usize,
        offer: Offer,
    ) -> Result<Load> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut sockets = Vec::with_capacity(connections);
        for index in 0..connections {
            let socket = Socket::open(port, &path(index), offer)?;
            socket.set_nonblocking()?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            sockets.push(socket);
        }
        Ok(Load {
            sockets,
            epoll,
            buffer: vec![0; 256 * 1024],
            patience: PATIENCE,
        })
    }

    /// Limits the wait for an answer.
    pub(crate) fn with_patience(self, patience: Duration) -> Load {
        Load { patience, ..self }
    }

    /// Whether every connection has permessage-deflate.
    pub(crate) fn is_deflating(&self) -> bool {
        self.sockets.iter().all(|socket| socket.is_deflating)
    }

    /// Sends one message on every connection and compares the echo with it.
    pub(crate) fn check(&mut self, batch: &Batch) -> Result<()> {
        let one = batch.one();
        // Groups keep the bytes in flight few for any payload.
        for first in (0..self.sockets.len()).step_by(CHECKED_AT_A_TIME) {
            let group = first..self.sockets.len().min(first + CHECKED_AT_A_TIME);
            for socket in &mut self.sockets[group.clone()] {
                socket.reader.keep();
            }
            self.drive(&one, group.clone(), Until::Sent(0))?;
            for socket in &mut self.sockets[group] {
                let echo = socket.reader.take_kept(one.payload.len())?;
                if echo != one.payload {
                    return Err("what comes back is not what was sent".into());
                }
            }
        }
        Ok(())
    }

    /// Drives every connection for this time: as soon as a batch is back, the next one is sent. When this returns, everything
    /// that was sent has come back.
    pub(crate) fn run(&mut self, batch: &Batch, duration: Duration) -> Result<Driven> {
        self.drive(batch, 0..self.sockets.len(), Until::Elapsed(duration))
    }

    /// Drives every connection for this many batches.
    pub(crate) fn run_batches(&mut self, batch: &Batch, batches: u32) -> Result<Driven> {
        let all = u64::from(batch.messages) * u64::from(batches) * self.sockets.len() as u64;
        self.drive(batch, 0..self.sockets.len(), Until::Sent(all))
    }

    fn drive(
        &mut self,
        batch: &Batch,
        group: std::ops::Range<usize>,
        until: Until,
    ) -> Result<Driven> {
        let mut driven = Driven::default();
        let began = Instant::now();
        let mut now = began;
        let mut stopped_at = began;
        let mut active = group.len();
        let mut sent = active as u64 * u64::from(batch.messages);
        for index in group {
            self.send(index, batch, now)?;
        }
        let mut events = [EpollEvent::empty(); 256];
        while active > 0 {
            let count = self.wait(&mut events)?;
            now = Instant::now();
            let has_time = until.allows(now.duration_since(began), sent);
            // This limits the wait for the last answers. `wait` limits the others.
            if has_time {
                stopped_at = now;
            } else if now > stopped_at + self.patience {
                return Err(self.too_slow());
            }
            for event in &events[..count] {
                let index = event.data() as usize;
                if event.events().contains(EpollFlags::EPOLLOUT) {
                    self.write(index, batch)?;
                }
                let socket = &mut self.sockets[index];
                let messages = socket.read(&mut self.buffer)?;
                if messages > socket.outstanding {
                    return Err("more comes back than was sent".into());
                }
                driven.messages += u64::from(messages);
                socket.outstanding -= messages;
                if messages == 0 || socket.outstanding > 0 {
                    continue;
                }
                now = Instant::now();
                let latency = now.duration_since(socket.sent_at).as_nanos();
                driven
                    .latencies
                    .push(latency.try_into().unwrap_or(u32::MAX));
                if until.allows(now.duration_since(began), sent) {
                    sent += u64::from(batch.messages);
                    self.send(index, batch, now)?;
                } else {
                    active -= 1;
                }
            }
        }
        driven.elapsed = began.elapsed();
        Ok(driven)
    }

    /// Sends one batch on each of the first `publishers` connections, and waits until every connection has as many
    /// messages. Returns after how many nanoseconds each message had come.
    pub(crate) fn publish(&mut self, batch: &Batch, publishers: usize) -> Result<Vec<u32>> {
        let mut missing = self.sockets.len() * batch.messages as usize;
        let mut latencies = Vec::with_capacity(missing);
        for socket in &mut self.sockets {
            socket.outstanding = batch.messages;
        }
        let began = Instant::now();
        for publisher in 0..publishers {
            self.sockets[publisher].written = 0;
            self.write(publisher, batch)?;
        }
        let mut events = [EpollEvent::empty(); 256];
        while missing > 0 {
            let count = self.wait(&mut events)?;
            if began.elapsed() > self.patience {
                return Err(self.too_slow());
            }
            for event in &events[..count] {
                let socket = &mut self.sockets[event.data() as usize];
                let messages = socket.read(&mut self.buffer)?;
                if messages > socket.outstanding {
                    return Err("more comes than was published".into());
                }
                socket.outstanding -= messages;
                let latency = began.elapsed().as_nanos().try_into().unwrap_or(u32::MAX);
                latencies.extend((0..messages).map(|_| latency));
                missing -= messages as usize;
            }
        }
        Ok(latencies)
    }

    fn send(&mut self, index: usize, batch: &Batch, now: Instant) -> Result<()> {
        let socket = &mut self.sockets[index];
        socket.written = 0;
        socket.outstanding = batch.messages;
        socket.sent_at = now;
        self.write(index, batch)
    }

    /// Writes what fits. The rest is written when the socket is writable again.
    fn write(&mut self, index: usize, batch: &Batch) -> Result<()> {
        let socket = &mut self.sockets[index];
        let had_waited = socket.written > 0;
        let is_whole = socket.write(&batch.bytes)?;
        if !is_whole || had_waited {
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, !is_whole);
            let mut event = EpollEvent::new(flags, index as u64);
            self.epoll.modify(&*socket, &mut event)?;
        }
        Ok(())
    }

    fn too_slow(&self) -> Box<dyn std::error::Error + Send + Sync> {
        format!("no answer within {:?}", self.patience).into()
    }

    fn wait(&self, events: &mut [EpollEvent]) -> Result<usize> {
        let timeout = EpollTimeout::try_from(self.patience)?;
        match self.epoll.wait(events, timeout) {
            Ok(0) => Err(self.too_slow()),
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// When sending ends. Every connection sends at least once.
#[derive(Clone, Copy, Debug)]
enum Until {
    Elapsed(Duration),
    Sent(u64),
}

impl Until {
    fn allows(self, elapsed: Duration, sent: u64) -> bool {
        match self {
            Until::Elapsed(most) => elapsed < most,
            Until::Sent(most) => sent < most,
        }
    }
}

const CHECKED_AT_A_TIME: usize = 100;
const PATIENCE: Duration = Duration::from_secs(15);
