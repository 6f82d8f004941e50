//! How a conversation of `wshd connect` ends: the exit code, and what is said of it.

use std::io;
use std::time::Duration;

use super::frames::ServerFault;
use crate::config::CloseText;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides have sent a Close frame. `sent` is the code of the client's, if that was the first.
    Closed {
        sent: Option<u16>,
        received: CloseText,
    },
    /// The connection ended without a Close frame of the server.
    Lost,
    /// No Close frame answered the client's.
    Unanswered(Duration),
    /// Nothing came for so long after a Ping.
    Silent(Duration),
    Fault(ServerFault),
    /// Stdin could not be read on.
    Input(String),
    /// Stdout could not be written. Messages are lost.
    Output(io::Error),
    /// The program that read stdout has closed it.
    ReaderGone,
}

impl End {
    /// The end that an error of stdout leads to.
    pub(super) fn of_output(error: io::Error) -> End {
        match error.kind() {
            io::ErrorKind::BrokenPipe => End::ReaderGone,
            _ => End::Output(error),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            End::Closed { .. } if self.is_normal() => 0,
            End::Closed { .. } => CLOSED_OTHERWISE,
            End::Lost | End::Unanswered(_) | End::Silent(_) | End::Fault(_) => BROKEN,
            End::Input(_) => INPUT_FAILED,
            End::Output(_) => OUTPUT_FAILED,
            End::ReaderGone => READER_GONE,
        }
    }

    /// What to say of it; `None` if all is well, or if there is no reader for what was lost.
    pub(super) fn sentence(&self) -> Option<String> {
        match self {
            End::Closed { .. } if self.is_normal() => None,
            End::Closed { received, .. } => Some(format!("the server closed with {received}")),
            End::Lost => Some("the server ended the connection without a Close frame".to_owned()),
            End::Unanswered(limit) => Some(format!(
                "the server did not answer the Close frame within {} s",
                limit.as_secs_f64()
            )),
            End::Silent(limit) => Some(format!(
                "the server is silent: nothing came within {} s after a Ping",
                limit.as_secs_f64()
            )),
            End::Fault(fault @ ServerFault::TooBig) => Some(fault.to_string()),
            End::Fault(fault) => Some(format!("the server breaks the protocol: {fault}")),
            End::Input(sentence) => Some(sentence.clone()),
            End::Output(error) => Some(format!("cannot write to stdout: {error}")),
            End::ReaderGone => None,
        }
    }

    /// Whether the server closed without a code, with 1000, or with the code of the client.
    fn is_normal(&self) -> bool {
        match self {
            End::Closed { sent, received } => {
                matches!(received.code, 1000 | 1005) || *sent == Some(received.code)
            }
            _ => false,
        }
    }
}

const INPUT_FAILED: u8 = 1;
/// The server closed with another code than 1000 or the client's.
const CLOSED_OTHERWISE: u8 = 4;
/// The connection was lost or silent, the server broke the protocol, or a message was too long.
const BROKEN: u8 = 5;
const OUTPUT_FAILED: u8 = 6;
/// What a shell shows of a filter that SIGPIPE ends.
const READER_GONE: u8 = 141;
