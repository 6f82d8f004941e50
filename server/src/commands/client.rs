//! Asks a server at its admin socket.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::Value;

use crate::sessions::peer::PeerProcess;

/// A server, by its admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    socket: PathBuf,
}

/// What a server has answered.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) body: Value,
    /// The number of its process; 0 where this process cannot see it.
    pub(super) server: u32,
}

/// Why a server has not answered as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It has answered that it does not do it.
    #[error("{0}")]
    Refused(String),
    #[error("no server answers at `{}`: {error}", socket.display())]
    NoServer { socket: PathBuf, error: io::Error },
    #[error("`{}` is not of this user's server: it belongs to the user with the number {uid}", socket.display())]
    OfAnother { socket: PathBuf, uid: u32 },
    #[error("the server at `{}` does not answer in time", socket.display())]
    Late { socket: PathBuf },
    #[error("the server at `{}` {what}", socket.display())]
    Odd { socket: PathBuf, what: &'static str },
}

impl Client {
    pub(super) fn new(socket: &Path) -> Client {
        let socket = socket.to_owned();
        Client { socket }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, NoAnswer> {
        self.get_within(path, ANSWER_TIMEOUT)
    }

    /// Like [`get`](Self::get), with a limit for the time that the server may take.
    pub(super) fn get_within(&self, path: &str, limit: Duration) -> Result<Value, NoAnswer> {
        Ok(self.ask("GET", path, limit)?.body)
    }

    /// Like [`get`](Self::get), with the process that answers.
    pub(super) fn get_told(&self, path: &str) -> Result<Told, NoAnswer> {
        self.ask("GET", path, ANSWER_TIMEOUT)
    }

    pub(super) fn post(&self, path: &str) -> Result<Value, NoAnswer> {
        Ok(self.post_told(path)?.body)
    }

    /// Like [`post`](Self::post), with the process that answers.
    pub(super) fn post_told(&self, path: &str) -> Result<Told, NoAnswer> {
        // A reload waits for the code of handlers.
        self.ask("POST", path, ACTION_TIMEOUT)
    }

    /// Like [`post`](Self::post), with a limit for the time that the server may take.
    pub(super) fn post_within(&self, path: &str, limit: Duration) -> Result<Value, NoAnswer> {
        Ok(self.ask("POST", path, limit)?.body)
    }

    fn ask(&self, method: &str, path: &str, limit: Duration) -> Result<Told, NoAnswer> {
        let odd = |what| NoAnswer::Odd {
            socket: self.socket.clone(),
            what,
        };
        let (mut stream, server) = self.connect()?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: wshd\r\nConnection: close\r\n\r\n");
        let asked = stream.set_read_timeout(Some(limit));
        let asked = asked.and_then(|()| stream.set_write_timeout(Some(limit)));
        let asked = asked.and_then(|()| stream.write_all(request.as_bytes()));
        asked.map_err(|_| odd("ended the connection"))?;
        let mut answer = Vec::new();
        match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let socket = self.socket.clone();
                return Err(NoAnswer::Late { socket });
            }
            Err(_) => return Err(odd("ended the connection")),
        }
        let (is_good, body) = parse(&answer).ok_or_else(|| odd("gave no answer"))?;
        match is_good {
            true => Ok(Told { body, server }),
            false => {
                let why = body["error"].as_str().unwrap_or("the server refuses it");
                Err(NoAnswer::Refused(why.to_owned()))
            }
        }
    }

    /// A connection, and the process at its other end as far as the system tells it.
    fn connect(&self) -> Result<(UnixStream, u32), NoAnswer> {
        let socket = self.socket.clone();
        let stream = match UnixStream::connect(&self.socket) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(NoAnswer::Refused(format!(
                    "the admin socket `{}` is for its server's user and root only",
                    socket.display()
                )));
            }
            Err(error) => return Err(NoAnswer::NoServer { socket, error }),
        };
        // What another user's process answers must not be taken for the server.
        let own = geteuid().as_raw();
        let process = PeerProcess::of(&stream);
        match process {
            Some(process) if own != 0 && process.uid != own && process.uid != 0 => {
                let uid = process.uid;
                Err(NoAnswer::OfAnother { socket, uid })
            }
            _ => Ok((stream, process.map_or(0, |it| it.pid))),
        }
    }
}

/// Whether a response is a good one, and its body.
fn parse(answer: &[u8]) -> Option<(bool, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    let body = serde_json::from_str(body).ok()?;
    Some((status == "200", body))
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const ACTION_TIMEOUT: Duration = Duration::from_secs(70);
/// An answer with a thousand sessions of long paths is far below.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_status_and_anything_else_is_none() {
        let good = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"a\":1}\n";
        assert_eq!(
            parse(good.as_bytes()),
            Some((true, serde_json::json!({ "a": 1 })))
        );
        let refused = "HTTP/1.1 404 Not Found\r\n\r\n{}";
        assert_eq!(
            parse(refused.as_bytes()),
            Some((false, serde_json::json!({})))
        );
        for odd in [
            "",
            "SSH-2.0\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\n\r\n{",
            "HTTP/1.1 200 OK",
        ] {
            assert_eq!(parse(odd.as_bytes()), None, "{odd:?}");
        }
    }
}
