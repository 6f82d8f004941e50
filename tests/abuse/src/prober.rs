//! A well-behaved client, as a process of its own, so that an attack that keeps this process busy does not count as its wait.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::wire::Peer;

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
        let [echoes, errors, p99, longest, longest_at] = numbers[..] else {
            return Err(format!("the prober says `{line}`").into());
        };
        Ok(Probe {
            echoes: echoes as usize,
            errors: errors as usize,
            p99: Duration::from_micros(p99),
            longest: Duration::from_micros(longest),
            longest_at: Duration::from_micros(longest_at),
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
    // The attack comes from this machine too. In the world it would take no processor of the prober's.
    let mut peer = Some(connect(port)?);
    println!("ready");
    std::io::stdout().flush()?;
    let is_over = std::sync::Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        over.store(true, Ordering::Relaxed);
    });

    let mut took = Vec::new();
    let began = Instant::now();
    let (mut errors, mut next) = (0, began);
    let (mut longest, mut longest_at) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match echo(port, &mut peer, took.len()) {
            Ok(()) => {
                let micros = asked.elapsed().as_micros() as u64;
                if micros > longest {
                    longest = micros;
                    longest_at = (asked - began).as_micros();
                }
                took.push(micros);
            }
            Err(error) => {
                eprintln!("prober: {error}");
                errors += 1;
                peer = None;
            }
        }
        next = (next + PERIOD).max(Instant::now() - PERIOD);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    took.sort_unstable();
    let place = (took.len() * 99).div_ceil(100).saturating_sub(1);
    let p99 = took.get(place).copied().unwrap_or_default();
    println!("{} {errors} {p99} {longest} {longest_at}", took.len());
    Ok(())
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
    if here.ask(message.as_bytes())? != message.as_bytes() {
        return Err("another message came back".into());
    }
    *peer = Some(here);
    Ok(())
}

const PERIOD: Duration = Duration::from_millis(100);
/// An echo that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(2);
