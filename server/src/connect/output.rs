//! What `wshd connect` writes to stdout.
//!
//! Nothing that a server sends steers a terminal: characters that are invisible there are written as escapes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Stdout, Write};

use super::frames::Received;
use crate::logging::value;

/// Stdout, and the form of what it gets.
pub(super) struct Output {
    stdout: Stdout,
    form: Form,
}

/// The form of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// For another program: the bytes of each message, and a line break behind text.
    Plain,
    /// For a terminal: `< ` and the message on one line.
    Shown,
    /// Like pywebsocket's `echo_client.py`: what is sent, too.
    Transcript,
}

impl Output {
    pub(super) fn new(is_transcript: bool) -> Output {
        let stdout = io::stdout();
        let form = match stdout.is_terminal() {
            _ if is_transcript => Form::Transcript,
            true => Form::Shown,
            false => Form::Plain,
        };
        Output { stdout, form }
    }

    /// Writes what has come. `is_answer` says of a Close frame that it answers the client's.
    pub(super) fn received(&mut self, received: &Received, is_answer: bool) -> io::Result<()> {
        let Some(bytes) = self.form.of_received(received, is_answer) else {
            return Ok(());
        };
        self.stdout.write_all(&bytes)?;
        self.stdout.flush()
    }

    /// Writes what was sent, into a transcript.
    pub(super) fn sent(&mut self, what: &str, is_text: bool, payload: &[u8]) -> io::Result<()> {
        if self.form != Form::Transcript {
            return Ok(());
        }
        let line = match what {
            "" => format!("Send: {}\n", shown(is_text, payload)),
            what => format!("Send {what}\n"),
        };
        self.stdout.write_all(line.as_bytes())?;
        self.stdout.flush()
    }
}

impl Form {
    fn of_received(self, received: &Received, is_answer: bool) -> Option<Vec<u8>> {
        let (is_text, payload) = match received {
            Received::Text(text) => (true, text.as_bytes()),
            Received::Binary(bytes) => (false, &bytes[..]),
            other => {
                let line = match other {
                    Received::Ping(_) => "Recv ping\n",
                    Received::Pong(_) => "Recv pong\n",
                    _ if is_answer => "Recv ack\n",
                    _ => "Recv close\n",
                };
                return (self == Form::Transcript).then(|| line.as_bytes().to_vec());
            }
        };
        Some(match self {
            Form::Plain if is_text => [payload, b"\n"].concat(),
            Form::Plain => payload.to_vec(),
            Form::Shown => format!("< {}\n", shown(is_text, payload)).into_bytes(),
            Form::Transcript => format!("Recv: {}\n", shown(is_text, payload)).into_bytes(),
        })
    }
}

/// A message on one line: text with escapes, bytes in hexadecimal.
fn shown(is_text: bool, payload: &[u8]) -> String {
    let mut line = String::new();
    if is_text {
        value::push_message(&mut line, &String::from_utf8_lossy(payload));
        return line;
    }
    // Writing into memory does not fail.
    let _ = write!(line, "binary, {} bytes:", payload.len());
    for byte in payload.iter().take(BINARY_BYTES_SHOWN) {
        let _ = write!(line, " {byte:02x}");
    }
    if payload.len() > BINARY_BYTES_SHOWN {
        line.push_str(" …");
    }
    line
}

/// How much of a binary message is shown.
const BINARY_BYTES_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_character_and_a_program_gets_the_bytes() {
        let text = Received::Text("a\u{1b}]0;x\u{7}\r\nb é".to_owned());
        for (form, expected) in [
            (Form::Plain, "a\u{1b}]0;x\u{7}\r\nb é\n"),
            (Form::Shown, "< a\\u{1b}]0;x\\u{7}\\r\\nb é\n"),
            (Form::Transcript, "Recv: a\\u{1b}]0;x\\u{7}\\r\\nb é\n"),
        ] {
            let written = form.of_received(&text, false).unwrap();
            assert_eq!(written, expected.as_bytes());
        }
        let binary = Received::Binary(vec![0, 0x1b]);
        assert_eq!(Form::Plain.of_received(&binary, false).unwrap(), [0, 0x1b]);
        let shown = Form::Shown.of_received(&binary, false).unwrap();
        assert_eq!(shown, b"< binary, 2 bytes: 00 1b\n");
    }
}
