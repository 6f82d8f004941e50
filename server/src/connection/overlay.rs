//! What `wshd dev` shows in open pages: which handlers do not build and why. A page whose files were
//! saved loads again.
//!
//! A script that the server adds to its pages listens to a stream of events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::transport::Transport;

/// The newest event of each kind. A page that misses one gets the next.
#[derive(Debug)]
pub struct Overlay {
    newest: watch::Sender<Events>,
}

/// What a page is told.
#[derive(Clone, Debug)]
struct Events {
    /// The handlers that do not build, in JSON.
    failures: String,
    /// A digest of all files of pages. A page that was sent with another digest is out of date.
    pages: u64,
}

impl Overlay {
    /// An overlay without failures.
    pub(crate) fn new() -> Arc<Overlay> {
        let failures = document(&BTreeMap::new());
        let newest = watch::Sender::new(Events { failures, pages: 0 });
        Arc::new(Overlay { newest })
    }

    /// Shows these failures, by the name of the handler, in place of all earlier ones.
    pub(crate) fn show(&self, failures: &BTreeMap<&str, &str>) {
        let document = document(failures);
        self.newest.send_if_modified(|events| {
            let is_new = events.failures != document;
            events.failures = document;
            is_new
        });
    }

    /// Has pages that were sent with another digest load again.
    pub(crate) fn set_pages(&self, digest: u64) {
        self.newest.send_if_modified(|events| {
            let is_new = events.pages != digest;
            events.pages = digest;
            is_new
        });
    }

    /// The script element that a page gets at its end.
    pub(crate) fn tag(&self) -> String {
        let pages = self.newest.borrow().pages;
        format!("<script src=\"{SCRIPT_PATH}\" data-pages=\"{pages:016x}\"></script>\n")
    }

    /// Streams to one page what it is told, until it goes away.
    pub(super) async fn stream(&self, page: &mut Transport) {
        let mut changes = self.newest.subscribe();
        let mut text = STREAM_HEAD.to_owned();
        loop {
            let Events { failures, pages } = changes.borrow_and_update().clone();
            text.push_str(&format!(
                "event: pages\ndata: {pages:016x}\n\ndata: {failures}\n\n"
            ));
            if !write(page, &text).await {
                return;
            }
            text.clear();
            loop {
                tokio::select! {
                    changed = changes.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = gone(page.socket()) => return,
                    // A page that vanished without closing is found out by writing.
                    () = tokio::time::sleep(BEAT) => {
                        if !write(page, ":\n\n").await {
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// The failures in JSON, which has no line feed whatever the texts are.
fn document(failures: &BTreeMap<&str, &str>) -> String {
    let failures = failures.iter();
    let failures = failures.map(|(name, text)| {
        let shown: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let rest = if shown == *text { "" } else { "\n…" };
        json!({ "name": name, "text": format!("{shown}{rest}") })
    });
    serde_json::Value::from(failures.collect::<Vec<_>>()).to_string()
}

/// Writes to a page; false when it does not take the text in time.
async fn write(page: &mut Transport, text: &str) -> bool {
    let written = timeout(WRITE_TIMEOUT, page.write_all(text.as_bytes())).await;
    matches!(written, Ok(Ok(())))
}

/// Ends when the page closes the connection. What it sends is dropped.
async fn gone(page: &TcpStream) {
    while page.readable().await.is_ok() {
        let mut dropped = [0; 512];
        match page.try_read(&mut dropped) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The script in pages.
pub(crate) const SCRIPT: &str = include_str!("overlay/dev.js");
/// The path of the script.
pub(crate) const SCRIPT_PATH: &str = "/.wshd/dev.js";
/// The path of the stream of events.
pub(crate) const EVENTS_PATH: &str = "/.wshd/dev";

/// The stream ends with the connection. A page that has lost it tries again after half a second.
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
     Cache-Control: no-store\r\nConnection: close\r\n\r\nretry: 500\n";
/// Characters of one failure that a page shows. The terminal shows all.
const TEXT_CHARS_MAX: usize = 64 * 1024;
/// Time between two comments, which show that the page is still there.
const BEAT: Duration = Duration::from_secs(15);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
