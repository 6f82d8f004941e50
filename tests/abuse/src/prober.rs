//! A well-behaved client, as a process of its own, so that an attack that keeps this process busy does not count as its wait.
//!
//! Beside each echo of the server it asks for one of a thread of its own that does nothing else. What that takes is the wait
//! for a processor, which on a machine of its own the server would not have.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::wire::{Peer, is_told_to_come_back};

/// A prober that runs.
pub(crate) struct Prober {
    child: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
}

/// What a prober has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) echoes: usize,
    pub(crate) errors: usize,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
    /// How long after the start the longest one was.
    pub(crate) longest_at: Duration,
    /// Of the thread that does nothing but echo.
    pub(crate) bare_p99: Duration,
}

impl Prober {
    /// Starts a prober, and waits until it is connected.
    pub(crate) fn start(port: u16) -> Result<Prober> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["probe", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut ready = [0; 6];
        child
            .stdout
            .as_mut()
            .ok_or("no stdout")?
            .read_exact(&mut ready)
            .map_err(|_| "the prober cannot connect")?;
        Ok(Prober { child, stdin })
    }

    /// Ends the prober. Returns what it has seen.
    pub(crate) fn finish(mut self) -> Result<Probe> {
        drop(self.stdin.take());
        let mut line = String::new();
        let stdout = self.child.stdout.take().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        self.child.wait()?;
        let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        let [echoes, errors, p99, longest, longest_at, bare_p99] = numbers[..] else {
            return Err(format!("the prober says `{line}`").into());
        };
        Ok(Probe {
            echoes: echoes as usize,
            errors: errors as usize,
            p99: Duration::from_micros(p99),
            longest: Duration::from_micros(longest),
            longest_at: Duration::from_micros(longest_at),
            bare_p99: Duration::from_micros(bare_p99),
        })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the prober: an echo every 100 ms, until stdin ends. Then one line says what it has seen.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) fn probe(port: u16) -> Result<()> {
    let mut peer = Some(connect(port)?);
    let bare = Bare::start()?;
    println!("ready");
    std::io::stdout().flush()?;
    let is_over = AtomicBool::new(false);
    let (seen, bare) = std::thread::scope(|scope| {
        let bare = scope.spawn(|| bare.probe(&is_over));
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            is_over.store(true, Ordering::Relaxed);
        });
        let seen = Seen::of(&is_over, |number| {
            let echoed = echo(port, &mut peer, number);
            if let Err(error) = &echoed {
                eprintln!("prober: {error}");
                peer = None;
            }
            echoed
        });
        (seen, bare.join())
    });
    let bare = bare.map_err(|_| "the thread beside it has panicked")?;
    let Seen {
        took,
        errors,
        longest,
        longest_at,
    } = &seen;
    println!(
        "{} {errors} {} {longest} {longest_at} {}",
        took.len(),
        seen.p99(),
        bare.p99()
    );
    Ok(())
}

/// Echoes of one kind, in microseconds.
#[derive(Default)]
struct Seen {
    took: Vec<u64>,
    errors: usize,
    longest: u64,
    longest_at: u64,
}

impl Seen {
    /// Asks every 100 ms until it is over.
    fn of(is_over: &AtomicBool, mut echo: impl FnMut(usize) -> Result<()>) -> Seen {
        let mut seen = Seen::default();
        let began = Instant::now();
        let mut next = began;
        while !is_over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            match echo(seen.took.len()) {
                Ok(()) => {
                    let micros = asked.elapsed().as_micros() as u64;
                    if micros > seen.longest {
                        seen.longest = micros;
                        seen.longest_at = (asked - began).as_micros() as u64;
                    }
                    seen.took.push(micros);
                }
                Err(_) => seen.errors += 1,
            }
            next = (next + PERIOD).max(Instant::now() - PERIOD);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        seen.took.sort_unstable();
        seen
    }

    fn p99(&self) -> u64 {
        let place = (self.took.len() * 99).div_ceil(100).saturating_sub(1);
        self.took.get(place).copied().unwrap_or_default()
    }
}

/// A connection to a thread that does nothing but echo.
struct Bare {
    stream: TcpStream,
}

impl Bare {
    fn start() -> Result<Bare> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        stream.set_nodelay(true)?;
        let (mut far, _) = listener.accept()?;
        far.set_nodelay(true)?;
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = far.read(&mut buffer) {
                if far.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        });
        Ok(Bare { stream })
    }

    fn probe(mut self, is_over: &AtomicBool) -> Seen {
        Seen::of(is_over, |_| {
            self.stream.write_all(&[7; 32])?;
            Ok(self.stream.read_exact(&mut [0; 32])?)
        })
    }
}

fn connect(port: u16) -> Result<Peer> {
    let peer = Peer::open(port, "/echo")?;
    peer.stream.set_read_timeout(Some(PATIENCE))?;
    Ok(peer)
}

/// One echo, on the connection that is there, or a new one.
fn echo(port: u16, peer: &mut Option<Peer>, number: usize) -> Result<()> {
    let mut here = match peer.take() {
        Some(peer) => peer,
        None => connect(port)?,
    };
    let message = format!("still here? {number}");
    let answer = match here.ask(message.as_bytes()) {
        // A server that another process replaces says so. Coming back belongs to what the echo takes.
        Err(error) if is_told_to_come_back(&error) => {
            here = connect(port)?;
            here.ask(message.as_bytes())?
        }
        answer => answer?,
    };
    if answer != message.as_bytes() {
        return Err("another message came back".into());
    }
    *peer = Some(here);
    Ok(())
}

const PERIOD: Duration = Duration::from_millis(100);
/// An echo that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(2);
