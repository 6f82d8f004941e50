//! A server as a process of its own, and the system's figures of it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::Result;
use crate::contender::Contender;
use crate::machine::Cores;

/// A server that listens. Its process ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    clock: ClockId,
    pub(crate) port: u16,
    site: Option<TempDir>,
    log: File,
}

impl Server {
    pub(crate) fn start(contender: &Contender, cores: Cores) -> Result<Server> {
        let port = free_port()?;
        let (command, site) = contender.command(port)?;
        Server::run(command, site, port, cores)
    }

    /// Starts the command and waits until it listens.
    pub(crate) fn run(
        mut command: Command,
        site: Option<TempDir>,
        port: u16,
        cores: Cores,
    ) -> Result<Server> {
        // A file and not a pipe, which would have to be read while a measure is taken.
        let log = tempfile::tempfile()?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?);
        let child = cores.spawn(&mut command)?;
        let clock = clock_getcpuclockid(Pid::from_raw(child.id() as i32))?;
        let mut server = Server {
            child,
            clock,
            port,
            site,
            log,
        };
        server.await_listening()?;
        Ok(server)
    }

    fn await_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let said = self.said(0)?;
                let why = ended.map_or("does not listen".to_owned(), |it| it.to_string());
                return Err(format!("it {why}: {}", said.trim_end()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory of its plugins and configuration, if it has one.
    pub(crate) fn site(&self) -> Option<&Path> {
        self.site.as_ref().map(TempDir::path)
    }

    /// Returns what the server has written to stderr from this byte on.
    pub(crate) fn said(&self, from: u64) -> Result<String> {
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.log.read_at(&mut buffer, from + said.len() as u64)? {
                0 => return Ok(String::from_utf8_lossy(&said).into_owned()),
                length => said.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// Returns the CPU time of all its threads so far, in user space and in the kernel.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        Ok(self.clock.now()?.into())
    }

    /// Returns the CPU time so far, once the server has come to rest.
    pub(crate) fn settled_cpu_time(&self) -> Result<Duration> {
        let deadline = Instant::now() + REST_TIMEOUT;
        let mut last = self.cpu_time()?;
        loop {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.cpu_time()?;
            if now - last < REST || Instant::now() > deadline {
                return Ok(now);
            }
            last = now;
        }
    }

    /// Returns its resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
        let kilobytes: u64 = kilobytes.ok_or("no resident memory is told")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("it does not end when asked to".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds a port that no socket listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server that takes less than this in 5 ms is at rest: its own timers run on.
const REST: Duration = Duration::from_micros(100);
const REST_TIMEOUT: Duration = Duration::from_secs(2);
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
