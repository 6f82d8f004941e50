//! The table's clients on the host of `wsh::test`.

use std::time::Duration;

use super::{Host, Peer};

pub(super) struct Tested(wsh::test::Server);

struct TestedPeer {
    client: wsh::test::Client,
    is_closing: bool,
}

impl Tested {
    /// A server with the topics of the real one's configuration.
    pub(super) fn new(server: wsh::test::Server) -> Tested {
        server.set_history("*", 0, Duration::MAX);
        server.set_history("h*", 5, Duration::MAX);
        server.set_history("/others", 5, Duration::MAX);
        server.set_presence("alone", false);
        server.set_use("/others", false);
        Tested(server)
    }
}

impl Host for Tested {
    fn connect(&self, query: &str) -> Result<Box<dyn Peer + '_>, u16> {
        let request = self.0.request(&format!("/script?{query}"));
        let mut opening = request.protocol("a").protocol("b").begin();
        // A handshake that sets an alarm is woken by the clock of the test.
        if opening.is_pending() {
            self.0.advance(Duration::from_secs(1));
        }
        match opening.finish() {
            Ok(client) => Ok(Box::new(TestedPeer {
                client,
                is_closing: false,
            })),
            Err(refusal) => Err(refusal.status),
        }
    }

    fn said(&self) -> Vec<String> {
        let lines = self.0.log().into_iter();
        let said = |line: wsh::test::Line| line.message.strip_prefix("said: ").map(str::to_owned);
        lines.filter_map(said).collect()
    }

    fn wait_for_end(&self, before: usize) {
        let said = self.said();
        let is_over = said[before..]
            .iter()
            .any(|line| line.starts_with("closed with"));
        assert!(is_over, "{:?}", &said[before..]);
    }

    fn settle(&self) {}
}

impl Peer for TestedPeer {
    fn say(&mut self, text: &str) {
        self.client.send(text);
    }

    fn part(&mut self, text: &str, is_last: bool) {
        self.client.send_part(text, is_last);
    }

    fn ping(&mut self) {
        self.client.ping(b"x");
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.is_closing = true;
        self.client.close(code.into(), reason);
    }

    fn lose(&mut self) {
        self.is_closing = true;
        self.client.lose();
    }

    fn read(&mut self) -> Option<String> {
        let mut message = self.client.try_receive();
        if message.is_none() && self.client.closed().is_none() {
            // A timer, or an alarm.
            self.client.advance(Duration::from_secs(1));
            message = self.client.try_receive();
        }
        let message = message?;
        Some(match message.as_text() {
            Some(text) => text.to_owned(),
            None => format!("{} bytes", message.as_bytes().len()),
        })
    }

    fn end(mut self: Box<Self>) -> String {
        if !self.is_closing && self.client.closed().is_none() {
            self.client.close(1000, "");
        }
        let closed = self.client.closed();
        closed.map_or("nothing".to_owned(), |close| close.to_string())
    }
}
