//! One client that checks every message in both directions.

use std::collections::HashMap;

use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error, Message};

use super::{ROOM, SOON};
use crate::harness::client::Client;
use crate::harness::patch::build_name;
use crate::harness::server::Server;
use crate::harness::within;

/// One client, which checks every message that it gets.
pub(super) struct Checker {
    pub(super) client: Client,
    number: usize,
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Whether the first fragment of a message is sent and its last is not.
    is_in_message: bool,
    published: u64,
    pub(super) ticks: u64,
    /// How many publications of each client have come.
    pub(super) news: HashMap<usize, u64>,
    build: String,
    pub(super) moves: u64,
}

impl Checker {
    pub(super) fn connect(server: &Server, path: &str, number: usize) -> Checker {
        let tick = if number.is_multiple_of(3) {
            "&tick_ms=100"
        } else {
            ""
        };
        let room = number / ROOM;
        let client = server.connect(&format!("{path}?room={room}{tick}"));
        let mut checker = Checker {
            client,
            number,
            sent: 0,
            answered: 0,
            is_in_message: false,
            published: 0,
            ticks: 0,
            news: HashMap::new(),
            build: build_name(0),
            moves: 0,
        };
        if checker.is_async() {
            // The events style joins by the request.
            let joined = checker.client.ask(&format!("join {room}"));
            assert_eq!(joined, format!("joined {room}"));
            if number.is_multiple_of(3) {
                checker.client.send("tick");
            }
        }
        checker
    }

    /// Sends the next message, or half of one.
    pub(super) fn say(&mut self) {
        let Self { number, sent, .. } = *self;
        if number % 4 == 1 {
            let (kind, text) = if self.is_in_message {
                (Data::Continue, " and its end".to_owned())
            } else {
                (Data::Text, format!("{sent} the beginning"))
            };
            let frame = Frame::message(text, OpCode::Data(kind), self.is_in_message);
            self.client.send(Message::Frame(frame));
            self.sent += u64::from(self.is_in_message);
            self.is_in_message = !self.is_in_message;
            return;
        }
        self.client.send(format!("{sent} whole"));
        self.sent += 1;
        if number.is_multiple_of(ROOM) {
            let room = if self.is_async() {
                format!("{} ", number / ROOM)
            } else {
                String::new()
            };
            self.client
                .send(format!("publish {room}{number} {}", self.published));
            self.published += 1;
        }
    }

    /// Reads and checks what has come.
    pub(super) fn listen(&mut self) {
        self.client
            .stream()
            .set_nonblocking(true)
            .expect("a socket");
        loop {
            match self.client.try_read() {
                Ok(message) => self.check(&message),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("client {}: {error}", self.number),
            }
        }
        self.client
            .stream()
            .set_nonblocking(false)
            .expect("a socket");
    }

    /// Compares a message with what must come next.
    #[track_caller]
    pub(super) fn check(&mut self, message: &Message) {
        let text = match message {
            Message::Text(text) => text.as_str(),
            Message::Ping(_) => return,
            other => panic!("client {}: {other:?}", self.number),
        };
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        match words[..] {
            ["tick", tick, _] => {
                assert_eq!(number(tick), self.ticks, "client {}", self.number);
                self.ticks += 1;
            }
            ["news", publisher, edition] => {
                let publisher = publisher.parse().expect("a number");
                let expected = self.news.entry(publisher).or_default();
                assert_eq!(number(edition), *expected, "client {}", self.number);
                *expected += 1;
            }
            [answered, build, moves] => {
                assert_eq!(number(answered), self.answered, "client {}", self.number);
                self.answered += 1;
                assert!(build >= &*self.build, "{build} after {}", self.build);
                build.clone_into(&mut self.build);
                assert!(number(moves) >= self.moves, "{text} after {}", self.moves);
                self.moves = number(moves);
            }
            _ => panic!("client {}: {text}", self.number),
        }
    }

    /// Ends a half-sent message, and waits for every answer.
    pub(super) fn finish(&mut self) {
        if self.is_in_message {
            self.say();
        }
        while self.answered < self.sent {
            let message = self.client.receive();
            self.check(&message);
        }
    }

    /// Waits for every publication, and for an answer of this build.
    pub(super) fn end(&mut self, build: &str) {
        within(SOON, "the session runs the last build", || {
            if self.number % 4 == 1 {
                self.say();
            }
            self.say();
            self.finish();
            self.build == build
        });
        assert!(self.moves > 0, "client {} never moved", self.number);
        self.listen();
    }

    pub(super) fn is_async(&self) -> bool {
        self.client.path.contains("async")
    }
}
