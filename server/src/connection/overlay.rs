//! What `wshd dev` tells the open pages: which handlers could not be built, and why, and that they
//! are to be loaded again because a page's file was saved.
//!
//! A script that the server puts into its pages listens to one stream of events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). Only `wshd dev` has this.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// The newest news; what becomes of it on the way is nobody's loss.
#[derive(Debug)]
pub struct Overlay {
    news: watch::Sender<Told>,
}

/// What pages are told.
#[derive(Clone, Debug)]
struct Told {
    /// What does not build, in JSON.
    failures: String,
    /// Of all files that pages are made of; a page that came with another is not what is there now.
    pages: u64,
}

impl Overlay {
    /// One that has nothing to tell.
    pub(crate) fn new() -> Arc<Overlay> {
        let failures = document(&BTreeMap::new());
        let news = watch::Sender::new(Told { failures, pages: 0 });
        Arc::new(Overlay { news })
    }

    /// Shows these failures, by the handler's name, instead of all others.
    pub(crate) fn show(&self, failures: &BTreeMap<&str, &str>) {
        let document = document(failures);
        self.news.send_if_modified(|news| {
            let is_new = news.failures != document;
            news.failures = document;
            is_new
        });
    }

    /// Pages are made of these files now; those that are not load again.
    pub(crate) fn set_pages(&self, digest: u64) {
        self.news.send_if_modified(|news| {
            let is_new = news.pages != digest;
            news.pages = digest;
            is_new
        });
    }

    /// What a page gets at its end, to listen.
    pub(crate) fn tag(&self) -> String {
        let pages = self.news.borrow().pages;
        format!("<script src=\"{SCRIPT_PATH}\" data-pages=\"{pages:016x}\"></script>\n")
    }

    /// Streams to one page what it is told, until it goes away.
    pub(super) async fn stream(&self, page: &mut TcpStream) {
        let mut newest = self.news.subscribe();
        let mut text = STREAM_HEAD.to_owned();
        loop {
            let Told { failures, pages } = newest.borrow_and_update().clone();
            text.push_str(&format!(
                "event: pages\ndata: {pages:016x}\n\ndata: {failures}\n\n"
            ));
            if !write(page, &text).await {
                return;
            }
            text.clear();
            loop {
                tokio::select! {
                    changed = newest.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = gone(page) => return,
                    // Who has vanished without a word is found out by writing.
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

/// In JSON, which is one line whatever the texts are.
fn document(failures: &BTreeMap<&str, &str>) -> String {
    let failures = failures.iter();
    let failures = failures.map(|(name, text)| {
        let shown: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let rest = if shown == *text { "" } else { "\n…" };
        json!({ "name": name, "text": format!("{shown}{rest}") })
    });
    serde_json::Value::from(failures.collect::<Vec<_>>()).to_string()
}

/// Answers whether it was taken in time.
async fn write(page: &mut TcpStream, text: &str) -> bool {
    let written = timeout(WRITE_TIMEOUT, page.write_all(text.as_bytes())).await;
    matches!(written, Ok(Ok(())))
}

/// Waits for the end of what the page has to say, which is nothing.
async fn gone(page: &TcpStream) {
    let mut dropped = [0; 512];
    while page.readable().await.is_ok() {
        match page.try_read(&mut dropped) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// What pages run.
pub(crate) const SCRIPT: &str = include_str!("overlay/dev.js");
/// Where it is.
pub(crate) const SCRIPT_PATH: &str = "/.wshd/dev.js";
/// Where the stream of events is.
pub(crate) const EVENTS_PATH: &str = "/.wshd/dev";

/// The stream ends with the connection; a page that has lost it tries again soon.
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
     Cache-Control: no-store\r\nConnection: close\r\n\r\nretry: 500\n";
/// Nobody reads on after so many errors, and the terminal has them all.
const TEXT_CHARS_MAX: usize = 64 * 1024;
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(15);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
