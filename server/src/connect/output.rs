//! What `wshd connect` writes to stdout.
//!
//! Nothing that a server sends steers a terminal: characters that are invisible there are written as escapes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Write};

use crate::logging::value;
use crate::process::stdout;

/// Stdout, and the form of what it gets.
pub(super) struct Output {
    stdout: File,
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
    /// # Errors
    ///
    /// The process can open no more files.
    pub(super) fn new(is_transcript: bool) -> io::Result<Output> {
        let stdout = stdout::unbuffered()?;
        let form = match stdout.is_terminal() {
            _ if is_transcript => Form::Transcript,
            true => Form::Shown,
            false => Form::Plain,
        };
        Ok(Output { stdout, form })
    }

    /// Writes a message that has come.
    pub(super) fn received(&mut self, is_text: bool, payload: Vec<u8>) -> io::Result<()> {
        let bytes = self.form.of_message(is_text, payload);
        self.stdout.write_all(&bytes)
    }

    /// Writes a message that was sent, into a transcript.
    pub(super) fn sent(&mut self, is_text: bool, payload: &[u8]) -> io::Result<()> {
        match self.form {
            Form::Transcript => self.note(&format!("Send: {}", shown(is_text, payload))),
            _ => Ok(()),
        }
    }

    /// Writes a line into a transcript.
    pub(super) fn note(&mut self, line: &str) -> io::Result<()> {
        match self.form {
            Form::Transcript => self.stdout.write_all(format!("{line}\n").as_bytes()),
            _ => Ok(()),
        }
    }
}

impl Form {
    fn of_message(self, is_text: bool, mut payload: Vec<u8>) -> Vec<u8> {
        match self {
            Form::Plain => {
                if is_text {
                    payload.push(b'\n');
                }
                payload
            }
            Form::Shown => format!("< {}\n", shown(is_text, &payload)).into_bytes(),
            Form::Transcript => format!("Recv: {}\n", shown(is_text, &payload)).into_bytes(),
        }
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
        let text = "a\u{1b}]0;x\u{7}\r\nb é";
        for (form, expected) in [
            (Form::Plain, "a\u{1b}]0;x\u{7}\r\nb é\n"),
            (Form::Shown, "< a\\u{1b}]0;x\\u{7}\\r\\nb é\n"),
            (Form::Transcript, "Recv: a\\u{1b}]0;x\\u{7}\\r\\nb é\n"),
        ] {
            let written = form.of_message(true, text.into());
            assert_eq!(written, expected.as_bytes());
        }
        let binary = vec![0, 0x1b];
        assert_eq!(Form::Plain.of_message(false, binary.clone()), binary);
        let shown = Form::Shown.of_message(false, binary);
        assert_eq!(shown, b"< binary, 2 bytes: 00 1b\n");
    }
}
