//! Passwords with slow hashes, which few can be compared of at a time: what one peer can keep from the others by
//! guessing, and what it cannot.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::auth::{OF_TEST, basic};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, patience, within};

/// A hash of `tea` that takes half a second or more, by the reference implementation of Argon2.
const SLOW: &str = "$argon2id$v=19$m=65536,t=16,p=1$y/Aj506G/7g8W6LrzUcdsA$MtJ/4G7kUDsZbfrelp3IwE3vNkxH4wEZGsY81EcKIrs";
/// A hash of `tea` that takes a few milliseconds, by `htpasswd -B`.
const QUICK: &str = "$2y$05$abcdefghijklmnopqrstuud6G93R2mClriPOkUzylPQG1gEj0ICEq";

/// A server with users, of whom `ann` has a slow hash, a token, and a page for everybody.
fn server(limits: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    site.write("www/page.txt", "a page");
    site.write("users", &format!("ann:{SLOW}\nbob:{QUICK}\ncai:{QUICK}\n"));
    site.write("tokens", &format!("ci:sha256:{OF_TEST}\n"));
    let config = format!(
        "handlers_dir = \"handlers\"\ndocument_root = \"www\"\nusers_file = \"users\"\ntokens_file = \"tokens\"\n\
         [auth]\n\"/page.txt\" = \"open\"\n[limits]\nhandshake_timeout_ms = 120000\n{limits}"
    );
    site.write("config.toml", &config);
    let server = Server::builder(&site).start();
    (site, server)
}

/// The status of an opening handshake. Several comparisons of slow hashes may come before, each of which takes seconds on a
/// machine with other work.
#[track_caller]
fn upgrade_status(server: &Server, path: &str, lines: &str) -> u16 {
    let stream = server.raw();
    let limit = Some(Duration::from_secs(110) * patience());
    stream.set_read_timeout(limit).expect("a timeout");
    status_of(&Server::exchange_over(
        stream,
        opening(path, lines).as_bytes(),
    ))
}

/// Connects from 127.0.9.`last`.
fn connect_from(last: u8, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let address = |ip: Ipv4Addr, port| SocketAddr::V4(SocketAddrV4::new(ip, port));
    let own = address(Ipv4Addr::new(127, 0, 9, last), 0);
    socket.bind(&own.into()).expect("a loopback address");
    let far = address(Ipv4Addr::LOCALHOST, server.port());
    socket.connect(&far.into()).expect("the server listens");
    socket.into()
}

/// Guesses so many passwords of `ann` from one address, each on a connection of its own.
fn guess(server: &Server, last: u8, count: usize) -> Vec<Guess> {
    let guess = |number| {
        let mut stream = connect_from(last, server);
        let pair = basic(&format!("ann:{last} {number}"));
        // A connection that gave way meanwhile is closed.
        let _ = stream.write_all(opening("/echo", &pair).as_bytes());
        stream.set_nonblocking(true).expect("non-blocking");
        Guess {
            stream,
            answer: Answer::Nothing,
        }
    };
    (0..count).map(guess).collect()
}

/// A connection that has sent a password.
struct Guess {
    stream: TcpStream,
    answer: Answer,
}

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Status(u16),
    Closed,
}

impl Guess {
    fn answer(&mut self) -> Answer {
        if self.answer == Answer::Nothing {
            let mut bytes = [0; 512];
            self.answer = match self.stream.read(&mut bytes) {
                Ok(0) => Answer::Closed,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    Answer::Status(status_of(&text))
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Answer::Nothing,
                Err(_) => Answer::Closed,
            };
        }
        self.answer
    }
}

/// How many have this answer by now.
fn count(guesses: &mut [Guess], answer: Answer) -> usize {
    let answers = guesses.iter_mut().map(Guess::answer);
    answers.filter(|found| *found == answer).count()
}

fn page_status(server: &Server) -> u16 {
    let request = "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
    status_of(&server.exchange(request.as_bytes()))
}

#[test]
fn guesses_over_the_rate_are_refused_while_the_others_wait_and_no_other_address_waits_for_them() {
    let (_site, server) = server("");
    assert_eq!(upgrade_status(&server, "/echo", &basic("bob:tea")), 101);

    let mut guesses = guess(&server, 1, 60);
    within(Duration::from_secs(60), "guesses are refused", || {
        count(&mut guesses, Answer::Status(429)) >= 30
    });
    // Nothing had to be compared for that.
    let waiting = count(&mut guesses, Answer::Nothing);
    assert!(waiting > 10, "{waiting} wait");

    for _ in 0..3 {
        assert_eq!(page_status(&server), 200);
        assert_eq!(
            upgrade_status(&server, "/echo", "Authorization: Bearer test\r\n"),
            101
        );
        assert_eq!(upgrade_status(&server, "/echo", &basic("bob:tea")), 101);
    }
    // A user that the server has not seen yet has the next turn, or the one after it.
    let before = count(&mut guesses, Answer::Status(401));
    assert_eq!(upgrade_status(&server, "/echo", &basic("cai:tea")), 101);
    let compared = count(&mut guesses, Answer::Status(401)) - before;
    // As many as are compared at a time, and one that had its turn before the user asked.
    assert!(compared <= 5, "{compared} were compared before");
    assert!(count(&mut guesses, Answer::Nothing) > 0);
}

#[test]
fn connections_whose_passwords_wait_give_way_to_what_needs_no_comparison() {
    let (_site, server) = server("pending_handshakes_max = 32\n");
    assert_eq!(upgrade_status(&server, "/echo", &basic("bob:tea")), 101);
    let mut guesses: Vec<Guess> = (1..=6).flat_map(|last| guess(&server, last, 30)).collect();

    for round in 0..10 {
        assert_eq!(page_status(&server), 200, "round {round}");
        let token = upgrade_status(&server, "/echo", "Authorization: Bearer test\r\n");
        assert_eq!(token, 101, "round {round}");
        let remembered = upgrade_status(&server, "/echo", &basic("bob:tea"));
        assert_eq!(remembered, 101, "round {round}");
    }

    let waiting = count(&mut guesses, Answer::Nothing);
    assert!((16..=32).contains(&waiting), "{waiting} wait");
    // Of no address so many wait that the others' connections were closed for them. One that has more than a quarter, which
    // is 8, gives way when the next connection comes.
    for of_address in guesses.chunks_mut(30) {
        let waiting = count(of_address, Answer::Nothing);
        assert!(waiting <= 8 + 1, "{waiting} of one address wait");
    }
    server.line(&["WARN", "closed for a new one", "pending_handshakes_max"]);
}

#[test]
fn a_peer_that_leaves_takes_its_connection_and_its_guess_along() {
    let (_site, server) = server("");
    let open = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid()));
        open.expect("the server runs").count()
    };
    let before = open();
    // From the second address on, every guess waits for all those of the first.
    let mut first = guess(&server, 1, 20);
    for _ in 0..5 {
        let mut guesses = guess(&server, 2, 20);
        eventually("they wait", || open() >= before + 30);
        assert_eq!(count(&mut guesses, Answer::Status(429)), 0);
        drop(guesses);
        eventually("their connections are closed", || open() <= before + 21);
    }
    assert!(count(&mut first, Answer::Nothing) > 0);
}

#[test]
fn a_removed_user_does_not_enter_by_a_password_that_waited() {
    let (site, server) = server("");
    // Those of ann's own address have their turns before ann has.
    let _before = guess(&server, 2, 8);
    let mut ann = connect_from(2, &server);
    ann.write_all(opening("/echo", &basic("ann:tea")).as_bytes())
        .expect("sending");

    site.write("users", &format!("bob:{QUICK}\n"));
    server.line(&["only users may enter", "users=1"]);

    ann.set_read_timeout(Some(Duration::from_secs(110)))
        .expect("a timeout");
    let answer = Server::exchange_over(ann, b"");
    assert_eq!(status_of(&answer), 401, "{answer}");
}
