//! A session of WebDriver BiDi: commands to a browser, and the events that it tells (<https://w3c.github.io/webdriver-bidi/>).

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

/// The connection to a browser. What comes is read only while a caller waits for something.
pub(crate) struct Connection {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// What no caller has taken yet.
    events: VecDeque<Value>,
}

impl Connection {
    /// Opens a session with what listens on this port of this machine.
    pub(crate) fn open(port: u16, capabilities: Value) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the browser listens");
        stream.set_nodelay(true).expect("an option of TCP");
        let url = format!("ws://127.0.0.1:{port}/session");
        let (socket, _) = tungstenite::client(url, stream).expect("the browser speaks BiDi");
        let mut connection = Connection {
            socket,
            last_id: 0,
            events: VecDeque::new(),
        };
        connection.command(
            "session.new",
            json!({ "capabilities": { "alwaysMatch": capabilities } }),
        );
        let events = ["log.entryAdded", PROMPT_OPENED];
        connection.command("session.subscribe", json!({ "events": events }));
        connection
    }

    /// Runs a command and returns its result.
    pub(crate) fn command(&mut self, method: &str, params: Value) -> Value {
        let result = self.run(method, params, false);
        result.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a command, which may fail because a page goes away.
    pub(crate) fn try_command(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.run(method, params, false)
    }

    /// Runs a command that may open a prompt, such as a click. Some browsers answer it after the prompt only.
    pub(crate) fn command_or_prompt(&mut self, method: &str, params: Value) {
        let result = self.run(method, params, true);
        result.unwrap_or_else(|error| panic!("{error}"));
    }

    fn run(&mut self, method: &str, params: Value, ends_at_prompt: bool) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let command = json!({ "id": id, "method": method, "params": params }).to_string();
        let sent = self.socket.send(Message::text(command));
        sent.map_err(|error| format!("{method}: the browser has ended: {error}"))?;
        let end = Instant::now() + ANSWERED;
        loop {
            let message = self.read(end);
            let message = message.map_err(|error| format!("{method}: {error}: {params}"))?;
            if message["id"] == id {
                return match message["error"].as_str() {
                    Some(error) => Err(format!("{method}: {error}: {}", message["message"])),
                    None => Ok(message["result"].clone()),
                };
            }
            if message["type"] == "event" {
                let is_prompt = message["method"] == PROMPT_OPENED;
                self.events.push_back(message);
                if is_prompt && ends_at_prompt {
                    return Ok(Value::Null);
                }
            }
        }
    }

    /// Waits for the next prompt of this browsing context, and returns its text.
    pub(crate) fn prompt(&mut self, context: &str) -> String {
        let end = Instant::now() + ANSWERED;
        let is_it = |event: &Value| {
            event["method"] == PROMPT_OPENED && event["params"]["context"] == context
        };
        loop {
            if let Some(index) = self.events.iter().position(is_it) {
                let event = self.events.remove(index).expect("it was found");
                return text(&event["params"]["message"]);
            }
            let message = self.read(end);
            let message = message.unwrap_or_else(|error| panic!("no prompt: {error}"));
            if message["type"] == "event" {
                self.events.push_back(message);
            }
        }
    }

    /// Returns the errors that pages logged since `forget_events`. A command that was answered before has brought them.
    pub(crate) fn logged_errors(&self) -> Vec<String> {
        let logged = self.events.iter().map(|event| &event["params"]);
        let errors = logged.filter(|entry| entry["level"] == "error");
        errors.map(|entry| entry["text"].to_string()).collect()
    }

    pub(crate) fn forget_events(&mut self) {
        self.events.clear();
    }

    /// Reads the next message, which must come before `end`.
    fn read(&mut self, end: Instant) -> Result<Value, String> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no answer in {ANSWERED:?}"));
            }
            let stream = self.socket.get_ref();
            stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text).map_err(|error| error.to_string());
                }
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(error.kind()) => {}
                Err(error) => return Err(format!("the browser has ended: {error}")),
            }
        }
    }
}

/// A text of an answer.
pub(crate) fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("no text, but {value}"))
        .to_owned()
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

const PROMPT_OPENED: &str = "browsingContext.userPromptOpened";
/// How long a command may take, for example a script that waits for a message.
const ANSWERED: Duration = Duration::from_secs(60);
