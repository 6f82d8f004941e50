//! Everything at once: sessions with topics, histories and members, publications, closes, aborts, messages in
//! parts, pending handshakes and asks from plugins' threads, while the handler and the configuration are replaced.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::{Error, Message, WebSocket};

use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{is_long, within};

/// Why a connection is over, or what is wrong with it.
#[derive(Debug)]
enum End {
    /// A Close frame with this code.
    Closed(u16),
    /// No Close frame.
    Lost,
    Fault(String),
}

/// A connection, and the publications that it has seen.
struct Peer {
    socket: WebSocket<TcpStream>,
    /// The last number of each publisher and topic.
    seen: HashMap<String, u64>,
}

/// A random generator. Each peer has one of its own.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

impl Peer {
    /// Opens a session. `None` if the handshake is refused, as some are.
    fn connect(port: u16, path: &str) -> Result<Option<Peer>, End> {
        let fault = |what: &str| End::Fault(format!("{path}: {what}"));
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| fault(&e.to_string()))?;
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        let url = format!("ws://localhost:{port}{path}");
        let request = url.into_client_request().expect("a request");
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Some(Peer {
                socket,
                seen: HashMap::new(),
            })),
            Err(HandshakeError::Failure(Error::Http(response))) if response.status() == 403 => {
                Ok(None)
            }
            Err(error) => Err(fault(&error.to_string())),
        }
    }

    fn send(&mut self, text: &str) -> Result<(), End> {
        self.socket.send(Message::text(text)).map_err(end_of)
    }

    /// Reads until this text comes.
    fn await_text(&mut self, wanted: &str) -> Result<(), End> {
        loop {
            match self.socket.read().map_err(end_of)? {
                Message::Text(text) if text.as_str() == wanted => return Ok(()),
                Message::Text(text) if text.as_str() == "t" => {}
                Message::Text(text) if text.starts_with("n ") => self.note(&text)?,
                Message::Ping(_) => {}
                Message::Close(frame) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    // Reading on sends the answer to the Close.
                    while self.socket.read().is_ok() {}
                    return Err(End::Closed(code));
                }
                other => return Err(End::Fault(format!("{other:?} instead of {wanted}"))),
            }
        }
    }

    /// Notes a publication. The numbers of one publisher on one topic must follow one another.
    fn note(&mut self, publication: &str) -> Result<(), End> {
        let parts = publication.rsplit_once(' ');
        let numbered = parts.and_then(|(from, number)| Some((from, number.parse::<u64>().ok()?)));
        let Some((from, number)) = numbered else {
            return Err(End::Fault(format!("a publication `{publication}`")));
        };
        match self.seen.insert(from.to_owned(), number) {
            Some(last) if last + 1 != number => {
                Err(End::Fault(format!("{number} after {last} of {from}")))
            }
            _ => Ok(()),
        }
    }

    /// Sends a random order to the handler, and awaits its effect.
    fn order(&mut self, dice: &mut Dice, number: usize) -> Result<(), End> {
        let echo = format!("e{number}");
        match dice.roll(300) {
            0 => self.send("p")?,
            1..40 => self.send("k")?,
            40..100 => {
                self.send("m")?;
                self.await_text("one two three")?;
            }
            100..105 => {
                self.send("c")?;
                return self.await_text("the end");
            }
            105..110 => {
                self.send("a")?;
                return match self.await_text("the end") {
                    Err(End::Lost) => Err(End::Closed(ABORTED)),
                    other => other,
                };
            }
            110..115 => return Err(End::Closed(LEFT)),
            _ => {}
        }
        self.send(&echo)?;
        self.await_text(&echo)
    }
}

impl End {
    fn told(self) -> String {
        match self {
            End::Closed(code) => format!("closed with {code}"),
            End::Lost => "lost".to_owned(),
            End::Fault(what) => what,
        }
    }
}

fn end_of(error: Error) -> End {
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            End::Fault("nothing for 30 s".to_owned())
        }
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) => {
            End::Lost
        }
        other => End::Fault(other.to_string()),
    }
}

/// Runs one client after another until `deadline`. Returns the faults.
fn keep_busy(port: u16, seed: u64, deadline: Instant, orders: &AtomicUsize) -> Vec<String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut faults = Vec::new();
    while Instant::now() < deadline && faults.len() < 3 {
        let path = ["/stress", "/stress", "/stress?later"][dice.roll(3) as usize];
        let mut peer = match Peer::connect(port, path) {
            Ok(Some(peer)) => peer,
            Ok(None) => continue,
            Err(end) => {
                faults.push(end.told());
                continue;
            }
        };
        let mut number = 0;
        let end = loop {
            if Instant::now() >= deadline {
                break End::Closed(LEFT);
            }
            number += 1;
            orders.fetch_add(1, Ordering::Relaxed);
            if let Err(end) = peer.order(&mut dice, number) {
                break end;
            }
            std::thread::sleep(Duration::from_millis(dice.roll(200)));
        };
        match end {
            End::Closed(ABORTED | LEFT | ASKED | KICKED | SUPERSEDED) => {}
            end => faults.push(format!("{} after order {number} at {path}", end.told())),
        }
    }
    faults
}

#[test]
fn everything_at_once_breaks_no_order_count_or_lifetime() {
    let (sessions, lasts) = match is_long() {
        true => (300, Duration::from_secs(60)),
        false => (60, Duration::from_secs(2)),
    };
    let site = Site::empty();
    let library = compile("tests/fixtures/c/stress.c", &["-O1"]);
    site.add_bytes(&library, "stress_wsh.so");
    site.write("config.toml", HISTORY);
    let mut server = Server::bare(&site)
        .args(["-p", "0", "-w"])
        .arg(site.handlers())
        .args(["--log-level", "info"])
        .start();
    let deadline = Instant::now() + lasts;
    let orders = AtomicUsize::new(0);

    let faults = std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=sessions)
            .map(|seed| {
                let (port, orders) = (server.port(), &orders);
                scope.spawn(move || keep_busy(port, seed, deadline, orders))
            })
            .collect();
        let mut build = 0_u32;
        while Instant::now() < deadline {
            build += 1;
            site.add_bytes(
                &[&library[..], &build.to_le_bytes()].concat(),
                "stress_wsh.so",
            );
            if build.is_multiple_of(3) {
                let table = build / 12;
                let interval = 20_000 + build;
                let text = format!(
                    "[limits]\nping_interval_ms = {interval}\n[handler.stress]\nconfig = {{ table = {table} }}\n{HISTORY}"
                );
                site.write("config.toml", &text);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let faults = clients
            .into_iter()
            .map(|client| client.join().expect("it ends"));
        faults.flatten().collect::<Vec<String>>()
    });

    assert!(
        faults.is_empty(),
        "{faults:#?}\n{:#?}",
        server.lines(&["FAULT"])
    );
    let mut listed = serde_json::Value::Null;
    within(
        Duration::from_secs(30),
        "all but one generation retired",
        || {
            listed = server.listing()[0].clone();
            let generations = listed["generations"].as_array().expect("a list");
            listed["sessions"] == 0
                && listed["members"] == 0
                && generations.len() == 1
                && generations[0]["number"] == listed["generation"]
                && listed["retired"].as_u64() == listed["generation"].as_u64().map(|last| last - 1)
        },
    );
    let generations = listed["generation"].as_u64().expect("a number") as usize;
    assert!(generations > 3, "{listed}");
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(20)).success());
    assert_eq!(server.lines(&["FAULT"]), Vec::<String>::new());
    // The last change may have been loaded since the list was looked at.
    let loaded = server.count_lines(&["handler loaded"]);
    assert!(loaded >= generations, "{loaded} of {generations}");
    let retired = server.count_lines(&["generation retired"]);
    // A load that ended during the stop was shut down, too.
    assert!(
        (loaded..=loaded + 1).contains(&retired),
        "{retired} of {loaded}"
    );
    assert_eq!(server.lines(&["panicked"]), Vec::<String>::new());
    if is_long() {
        let orders = orders.load(Ordering::Relaxed);
        eprintln!("{orders} orders of {sessions} clients, {generations} generations");
    }
}

/// Publications that a session hears as history and as news must follow one another, too.
const HISTORY: &str = "[topics.\"stress/even\"]\nhistory = { count = 20 }\n";
/// The codes of the handler: for a session that asks to be closed, and for one that another session closes.
const ASKED: u16 = 4001;
const KICKED: u16 = 4002;
/// The code of a session that cannot move for too many generations.
const SUPERSEDED: u16 = 1012;
/// Not on the wire: the handler has aborted, or the client has left.
const ABORTED: u16 = 1;
const LEFT: u16 = 2;
