//! What `wshd connect` is to send: arguments, lines of stdin, and in a terminal commands.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

use super::frames::MESSAGE_BYTES_MAX;
use crate::config::{CloseText, ConnectOptions};

/// One thing to do. The end of all of them is the end of the channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Close(CloseText),
    /// Tell the operator this.
    Tell(String),
    /// Stdin cannot be read on.
    Failed(String),
}

/// Reads stdin on a thread of its own, or sends the messages of the command line.
pub(super) fn start(options: &ConnectOptions, is_interactive: bool) -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let source = match options.messages.is_empty() {
        false => Source::Arguments(options.messages.clone()),
        true if options.is_whole => Source::Whole,
        true if is_interactive => Source::Terminal,
        true => Source::Lines,
    };
    let is_text = !options.is_binary;
    let read = move || source.read(is_text, |input| sender.blocking_send(input).is_ok());
    // Where the system has no thread left, there is nothing to send.
    let _ = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(read);
    receiver
}

/// Where messages come from.
enum Source {
    Arguments(Vec<String>),
    /// The whole of stdin is one message.
    Whole,
    /// Each line of stdin is a message.
    Lines,
    /// Each line is a message or a command.
    Terminal,
}

impl Source {
    /// Calls `send` with everything that comes, until it answers `false`.
    fn read(self, is_text: bool, mut send: impl FnMut(Input) -> bool) {
        match self {
            Source::Arguments(messages) => {
                let mut messages = messages.into_iter();
                messages.all(|message| send(Input::Message(message.into_bytes())));
            }
            Source::Whole => {
                let mut whole = Vec::new();
                let read = limited(&mut io::stdin().lock()).read_to_end(&mut whole);
                send(read.map_or_else(failed, |_| message(whole, is_text, 1)));
            }
            Source::Lines => lines(send, |line, number| message(line, is_text, number)),
            // Who types can type it again.
            Source::Terminal => lines(send, |line, number| match typed(line, is_text, number) {
                Input::Failed(why) => Input::Tell(why),
                input => input,
            }),
        }
    }
}

/// The message or the command of a line that was typed.
fn typed(line: Vec<u8>, is_text: bool, number: usize) -> Input {
    match line.strip_prefix(b"/") {
        Some(text) if text.starts_with(b"/") => message(text.to_vec(), is_text, number),
        Some(words) => command(&String::from_utf8_lossy(words)),
        None => message(line, is_text, number),
    }
}

/// Calls `send` with what `make` makes of each line of stdin, until it answers `false`.
fn lines(mut send: impl FnMut(Input) -> bool, make: impl Fn(Vec<u8>, usize) -> Input) {
    let mut stdin = io::stdin().lock();
    for number in 1.. {
        let mut line = Vec::new();
        let mut is_last = true;
        let input = match limited(&mut stdin).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                // A terminal ends at each Ctrl-D, and would be read on.
                is_last = line.last() != Some(&b'\n');
                for end in [b'\n', b'\r'] {
                    if line.last() == Some(&end) {
                        line.pop();
                    }
                }
                make(line, number)
            }
            Err(error) => failed(error),
        };
        is_last |= matches!(input, Input::Failed(_));
        if !send(input) || is_last {
            return;
        }
    }
}

/// A reader of one message at most, and of one byte more.
fn limited<R: Read>(reader: R) -> io::Take<R> {
    reader.take(MESSAGE_BYTES_MAX as u64 + 1)
}

/// The message of a line, or of the whole of stdin.
fn message(payload: Vec<u8>, is_text: bool, line: usize) -> Input {
    if payload.len() > MESSAGE_BYTES_MAX {
        let wanted = format!("wants at most {MESSAGE_BYTES_MAX} bytes");
        return Input::Failed(format!("line {line} of stdin is too long: {wanted}"));
    }
    if is_text && std::str::from_utf8(&payload).is_err() {
        return Input::Failed(format!(
            "line {line} of stdin is not UTF-8: `--binary` sends any bytes"
        ));
    }
    Input::Message(payload)
}

/// What a line behind a slash asks for.
fn command(words: &str) -> Input {
    let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
    match name {
        "ping" => match rest.len() {
            0..=125 => Input::Ping(rest.as_bytes().to_vec()),
            found => Input::Tell(format!(
                "a Ping of {found} bytes is not allowed: wants at most 125"
            )),
        },
        "close" if rest.is_empty() => Input::Close(CloseText::default()),
        "close" => match rest.parse() {
            Ok(close) => Input::Close(close),
            Err(error) => Input::Tell(format!("`{rest}`: {error}")),
        },
        "help" => Input::Tell(HELP.to_owned()),
        _ => Input::Tell(format!(
            "`/{name}` is no command: wants `/ping`, `/close` or `/help`; `//{words}` sends it as a message"
        )),
    }
}

fn failed(error: io::Error) -> Input {
    Input::Failed(format!("cannot read stdin: {error}"))
}

/// How many inputs wait to be sent.
const WAITING_MAX: usize = 64;
const HELP: &str = "\
commands
  /ping [TEXT]             send a Ping, and tell how long its Pong takes
  /close [CODE [REASON]]   close, with code 1000 unless another is given
  //TEXT                   send a message that begins with a slash
  Ctrl-D                   close with what `--close` says";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_behind_a_slash_is_a_command_or_told_of() {
        let close = |code, reason: &str| {
            let reason = reason.to_owned();
            Input::Close(CloseText { code, reason })
        };
        assert_eq!(command("ping"), Input::Ping(Vec::new()));
        assert_eq!(command("ping a b"), Input::Ping(b"a b".to_vec()));
        assert_eq!(command("close"), close(1000, ""));
        assert_eq!(command("close 4000 good bye"), close(4000, "good bye"));
        for (line, told) in [
            (
                "close now",
                "`now`: wants a code from 0 to 65535, and behind a blank a reason of at most 123 bytes",
            ),
            (
                "close 1005 bye",
                "`1005 bye`: 1005 stands for a Close frame without a code, which has no reason",
            ),
            (
                "quit",
                "`/quit` is no command: wants `/ping`, `/close` or `/help`; `//quit` sends it as a message",
            ),
        ] {
            assert_eq!(command(line), Input::Tell(told.to_owned()));
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_no_message() {
        let told = "line 3 of stdin is not UTF-8: `--binary` sends any bytes".to_owned();
        assert_eq!(message(vec![0xff], true, 3), Input::Failed(told));
        assert_eq!(message(vec![0xff], false, 3), Input::Message(vec![0xff]));
    }
}
