//! One connection of an operator: reads a request, answers it, and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::request::{AdminRequest, RequestFault};
use super::{Admin, json};
use crate::http::head::Head;
use crate::http::response::ResponseHead;

/// By which way a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The admin socket, at which commands are taken.
    Socket,
    /// The admin address, which only tells.
    Network,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    Json(Value),
    /// A text of this media type.
    Text(&'static str, String),
}

impl Answer {
    pub(super) fn good(body: Value) -> Answer {
        Answer {
            status: 200,
            body: Body::Json(body),
        }
    }

    /// A sentence that says why nothing was done.
    pub(super) fn fault(status: u16, sentence: &str) -> Answer {
        Answer {
            status,
            body: Body::Json(json!({ "error": sentence })),
        }
    }
}

/// Serves one connection. `is_asked` becomes true when its request is whole.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    admin: Arc<Admin>,
    door: Door,
    is_asked: &AtomicBool,
) {
    let head = match timeout(HEAD_TIMEOUT, read_head(&mut stream)).await {
        Ok(Ok(Some(head))) => Ok(head),
        // Nothing was asked.
        Ok(Ok(None)) => return,
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(RequestFault::Late),
    };
    is_asked.store(true, Ordering::Relaxed);
    let (answer, has_body) = match head {
        Ok(head) => (answer(&head, door, &admin).await, head.method() != b"HEAD"),
        Err(fault) => (Answer::fault(fault.status(), &fault.to_string()), true),
    };
    let (media_type, body) = match &answer.body {
        Body::Json(value) => ("application/json", json::text(value) + "\n"),
        Body::Text(media_type, text) => (*media_type, text.clone()),
    };
    let mut head = ResponseHead::new(answer.status);
    head.line("Content-Type", media_type);
    head.number("Content-Length", body.len() as u64);
    head.line("Cache-Control", "no-store");
    if door == Door::Network {
        for (name, value) in BROWSER_LINES {
            head.line(name, value);
        }
    }
    head.line("Connection", "close");
    let mut bytes = head.into_bytes();
    if has_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    let sent = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        // With bytes unread, the system would tell the peer of an error before it has read the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The peer may be gone.
    let _ = timeout(SEND_TIMEOUT, sent).await;
}

async fn answer(head: &Head, door: Door, admin: &Arc<Admin>) -> Answer {
    if door == Door::Network {
        return admin.answer_to_network(head).await;
    }
    match AdminRequest::parse(head.method(), head.target()) {
        Ok(request) => admin.answer(request).await,
        Err(fault) => Answer::fault(fault.status(), &fault.to_string()),
    }
}

/// Reads the head of a request; `None` if the peer ends before it begins one. A body is not read.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Head>, RequestFault> {
    let mut received = Vec::new();
    loop {
        let before = received.len();
        let read = stream.read_buf(&mut received).await;
        match read {
            Ok(0) | Err(_) if received.is_empty() => return Ok(None),
            Ok(0) | Err(_) => return Err(RequestFault::Malformed),
            Ok(_) => {}
        }
        if let Some(end) = Head::end(&received, before) {
            received.truncate(end);
            let head = Head::parse(received.into(), HEAD_LINES_MAX);
            return head.map(Some).map_err(|_| RequestFault::Malformed);
        }
        // A request that is none never has the end of a head.
        if crate::http::head::first_bytes::judge(&received, before).is_err() {
            return Err(RequestFault::Malformed);
        }
        if received.len() >= HEAD_BYTES_MAX {
            return Err(RequestFault::TooLong);
        }
    }
}

/// What keeps an answer from pages of other sites, and anything but the page's own script from running in it.
const BROWSER_LINES: [(&str, &str); 5] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
];
/// How long the head of a request may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEAD_LINES_MAX: usize = 64;
/// How long the peer may take to read the answer, and to end.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
