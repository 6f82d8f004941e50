//! The table's clients on a running server.

use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{Host, Peer};
use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};

pub(super) struct Real(pub(super) Server);

/// The lines of the handler about a session whose only purpose is to wait for earlier lines.
const PROBED: &str = "open extension=UNSUPPORTED";
const PROBE_CLOSED: &str = "closed with 4999 probe (peer)";

/// A client, the end of its session, and whether it is between two fragments.
struct RealPeer(Option<Client>, Option<String>, bool);

impl Host for Real {
    fn connect(&self, query: &str) -> Result<Box<dyn Peer + '_>, u16> {
        let target = format!("/script?{query}");
        let extra = "Sec-WebSocket-Protocol: a, b\r\n";
        if query.contains("refused") {
            let answer = self.0.exchange(opening(&target, extra).as_bytes());
            return Err(if answer.is_empty() {
                0
            } else {
                status_of(&answer)
            });
        }
        let headers = [("Sec-WebSocket-Protocol", "a, b")];
        let client = Client::connect(self.0.port(), &target, &headers);
        Ok(Box::new(RealPeer(Some(client), None, false)))
    }

    fn said(&self) -> Vec<String> {
        let said = |line: String| line.split("said: ").nth(1).map(str::to_owned);
        let lines = self.0.lines(&["said: "]);
        let is_probe = |line: &String| line == PROBED || line == PROBE_CLOSED;
        let text = |line: String| {
            said(line).map(|text| text.split(" handler=").next().unwrap_or("").to_owned())
        };
        let said = lines.into_iter().filter_map(text);
        said.filter(|line| !is_probe(line)).collect()
    }

    fn wait_for_end(&self, before: usize) {
        eventually("the session is over for its handler", || {
            self.said()[before..]
                .iter()
                .any(|line| line.starts_with("closed with"))
        });
    }

    fn settle(&self) {
        let probed = self.0.count_lines(&[PROBED]);
        let target = "/script?o=extension+wsh.probe/1";
        let headers = [("Sec-WebSocket-Protocol", "a")];
        let mut probe = Client::connect(self.0.port(), target, &headers);
        eventually("the log has come so far", || {
            self.0.count_lines(&[PROBED]) > probed
        });
        probe.start_closing(4999, "probe");
        probe.close_code();
    }
}

impl Peer for RealPeer {
    fn say(&mut self, text: &str) {
        if let Some(client) = &mut self.0 {
            client.send(text);
        }
    }

    fn part(&mut self, text: &str, is_last: bool) {
        let data = if std::mem::replace(&mut self.2, !is_last) {
            Data::Continue
        } else {
            Data::Text
        };
        if let Some(client) = &mut self.0 {
            let frame = Frame::message(text.to_owned(), OpCode::Data(data), is_last);
            client.send(Message::Frame(frame));
        }
    }

    fn ping(&mut self) {
        if let Some(client) = &mut self.0 {
            client.send(Message::Ping(b"x".to_vec().into()));
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        if let Some(client) = &mut self.0 {
            client.start_closing(code, reason);
        }
    }

    fn lose(&mut self) {
        self.0 = None;
        self.1 = Some("1006".to_owned());
    }

    fn read(&mut self) -> Option<String> {
        loop {
            match self.0.as_mut()?.try_read() {
                Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(Message::Binary(bytes)) => return Some(format!("{} bytes", bytes.len())),
                Ok(Message::Close(frame)) => {
                    let end = frame.map_or("1005".to_owned(), |frame| {
                        format!("{} {}", u16::from(frame.code), frame.reason.as_str())
                    });
                    self.1.get_or_insert(end.trim_end().to_owned());
                }
                Ok(_) => {}
                Err(_) => {
                    self.0 = None;
                    self.1.get_or_insert("1006".to_owned());
                    return None;
                }
            }
        }
    }

    fn end(mut self: Box<Self>) -> String {
        if self.1.is_none() && self.0.is_some() {
            self.close(1000, "");
        }
        while self.read().is_some() {}
        self.1.unwrap_or_default()
    }
}
