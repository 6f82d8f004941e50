//! Everything that is not a handler: files below the document root.

mod conditions;
mod lookup;
mod transfer;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpStream;
use tracing::debug;

use self::conditions::{Version, Wanted};
use self::lookup::Found;
use self::transfer::Body;
use crate::connection::stopping::Stopping;
use crate::http::head::Head;
use crate::http::target;
use crate::process::regular_file;
use crate::sessions::permits::Permit;

/// How long an answer may make no progress.
#[derive(Clone, Debug)]
pub(crate) struct TransferTimeouts {
    pub(crate) outbound_ms: u64,
    /// From the stop of the server on: as long as a session has for its Close frame.
    pub(crate) close_ms: u64,
    pub(crate) stopping: Stopping,
}

/// Looks below `root` for the file that a request asks for; `None` where there is none. A page gets
/// `addition` at its end. The permit is kept until the file is sent.
pub(super) async fn find(
    head: &Head,
    root: &Path,
    addition: Option<&str>,
    timeouts: TransferTimeouts,
    permit: Permit,
) -> Option<FileTransfer> {
    // A disk may take its time for a file, or for ever.
    let response = timeouts.bound(respond(head, root, addition)).await;
    let response = response.unwrap_or_else(|error| Some(failed(error)))?;
    Some(FileTransfer {
        response,
        timeouts,
        _permit: permit,
    })
}

impl FileTransfer {
    /// Sends it and ends the connection. The answer to a HEAD request has no body.
    pub(super) async fn send(self, socket: TcpStream, is_head_request: bool) {
        let head = self.response.head();
        let body = match is_head_request {
            true => Body::Nothing,
            false => self.response.body,
        };
        if let Err(error) = transfer::send(socket, head, body, self.timeouts).await {
            debug!(%error, "file not sent");
        }
    }
}

impl TransferTimeouts {
    /// What `work` answers, which has its time however long that is, until the server stops.
    async fn bound<T>(&self, work: impl Future<Output = T>) -> io::Result<T> {
        let limit = Duration::from_millis(self.close_ms);
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = async {
                self.stopping.begun().await;
                tokio::time::sleep(limit).await;
            } => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A file, or what there is to say of it, on its way to a peer.
#[derive(Debug)]
pub(super) struct FileTransfer {
    response: FileResponse,
    timeouts: TransferTimeouts,
    /// For one more open file.
    _permit: Permit,
}

/// A response before it is sent.
#[derive(Debug)]
struct FileResponse {
    status: u16,
    lines: Vec<(&'static str, String)>,
    body: Body,
}

/// The response to a request for a file; `None` where there is no file.
async fn respond(head: &Head, root: &Path, addition: Option<&str>) -> Option<FileResponse> {
    if !matches!(head.method(), b"GET" | b"HEAD") {
        return Some(FileResponse::of(405).with("Allow", "GET, HEAD"));
    }
    let (path, query) = target::raw_path(head.target())?;
    let (root, path) = (root.to_owned(), path.to_owned());
    let found = transfer::on_thread(move || lookup::find(&root, &path));
    match found.await.unwrap_or_else(Found::Unknown) {
        Found::Nothing => None,
        Found::Directory(path) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            Some(FileResponse::of(301).with("Location", format!("{path}{query}")))
        }
        Found::File(file, path) => Some(
            with_file(head, file, path, addition)
                .await
                .unwrap_or_else(failed),
        ),
        Found::Unknown(error) => Some(failed(error)),
    }
}

/// A file that is there could not be had.
fn failed(error: io::Error) -> FileResponse {
    debug!(%error, "file not read");
    let is_short = [libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    let is_short = is_short
        .iter()
        .any(|code| error.raw_os_error() == Some(*code));
    if is_short {
        return FileResponse::of(503).with("Retry-After", "5");
    }
    FileResponse::of(500)
}

async fn with_file(
    head: &Head,
    file: File,
    path: PathBuf,
    addition: Option<&str>,
) -> io::Result<FileResponse> {
    let metadata = file.metadata()?;
    let kind = mime_guess::from_path(&path)
        .first_raw()
        .unwrap_or("application/octet-stream");
    let is_page = kind == "text/html" && metadata.len() <= PAGE_BYTES_MAX;
    if let Some(addition) = addition.filter(|_| is_page) {
        // Whole and always anew: half a page, or the one that the browser has, is without it.
        let read = move || regular_file::read_opened(file, &metadata, PAGE_BYTES_MAX);
        let mut page = transfer::on_thread(read).await??.bytes;
        // A parser takes a script behind everything else for the body's last.
        page.extend_from_slice(addition.as_bytes());
        return Ok(FileResponse::of(200)
            .with("Content-Type", kind)
            .with("Cache-Control", "no-cache")
            .with_bytes(page));
    }
    let version = Version::new(metadata.len(), metadata.modified().unwrap_or(UNIX_EPOCH));
    let mut answer = of_version(&version, version.wanted(head), kind, file);
    answer = answer
        .with("Last-Modified", httpdate::fmt_http_date(version.modified))
        .with("ETag", version.etag)
        .with("Accept-Ranges", "bytes");
    if addition.is_some() {
        answer = answer.with("Cache-Control", "no-cache");
    }
    Ok(answer)
}

fn of_version(version: &Version, wanted: Wanted, kind: &str, file: File) -> FileResponse {
    let length = version.length;
    match wanted {
        Wanted::Whole => FileResponse::of(200)
            .with("Content-Type", kind)
            .with_file(file, 0..length),
        Wanted::Part(part) => {
            let (first, last) = (part.start, part.end - 1);
            FileResponse::of(206)
                .with("Content-Type", kind)
                .with("Content-Range", format!("bytes {first}-{last}/{length}"))
                .with_file(file, part)
        }
        Wanted::NoSuchPart => {
            FileResponse::of(416).with("Content-Range", format!("bytes */{length}"))
        }
        Wanted::Nothing => FileResponse {
            status: 304,
            lines: Vec::new(),
            body: Body::Nothing,
        },
        Wanted::OtherVersion => FileResponse::of(412),
    }
}

impl FileResponse {
    /// One that says in a line of text what its status means.
    fn of(status: u16) -> FileResponse {
        let reason = http::StatusCode::from_u16(status).ok();
        let reason = reason.and_then(|status| status.canonical_reason());
        let text = format!("{}\n", reason.unwrap_or("refused").to_ascii_lowercase());
        FileResponse {
            status,
            lines: Vec::new(),
            body: Body::Bytes(text.into_bytes()),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> FileResponse {
        self.lines.push((name, value.into()));
        self
    }

    fn with_bytes(mut self, bytes: Vec<u8>) -> FileResponse {
        self.body = Body::Bytes(bytes);
        self
    }

    fn with_file(mut self, file: File, part: std::ops::Range<u64>) -> FileResponse {
        self.body = Body::File(file, part);
        self
    }

    fn head(&self) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status).ok();
        let reason = reason.and_then(|status| status.canonical_reason());
        let status = format!("{} {}", self.status, reason.unwrap_or("Refused"));
        let mut head = format!("HTTP/1.1 {status}\r\n");
        let mut line = |name: &str, value: &str| head += &format!("{name}: {value}\r\n");
        line("Date", &httpdate::fmt_http_date(SystemTime::now()));
        let length = match &self.body {
            Body::Nothing => None,
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::File(_, part) => Some(part.end - part.start),
        };
        if let Some(length) = length {
            line("Content-Length", &length.to_string());
        }
        if !self.lines.iter().any(|(name, _)| *name == "Content-Type") && length.is_some() {
            line("Content-Type", "text/plain; charset=utf-8");
        }
        for (name, value) in &self.lines {
            line(name, value);
        }
        // One request a connection: what follows could be an upgrade, and that road begins at accept.
        line("Connection", "close");
        head += "\r\n";
        head.into_bytes()
    }
}

/// A page that is larger gets no addition.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;
