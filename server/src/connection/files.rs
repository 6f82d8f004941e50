//! Files below the document root, for requests that no handler answers.
//!
//! `lookup` finds the file by where it really lies, `precompressed` the form of it that the client takes, `conditions` what
//! the request wants of it, and `transfer` sends it. `directory_listing` is the page of a directory without one.

mod conditions;
mod directory_listing;
mod lookup;
mod precompressed;
mod transfer;

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tracing::debug;

use self::conditions::{Version, Wanted};
use self::lookup::LookupResult;
use self::precompressed::{AcceptedCodings, Form};
use self::transfer::{Body, TransferError};
use crate::connection::health::READ_METHODS;
use crate::connection::next_step::{Fallback, FileRequest};
use crate::connection::retry_after::retry_after;
use crate::connection::stopping::Stopping;
use crate::http::head::Head;
use crate::http::response::{NO_SNIFFING, ResponseHead, reason_phrase};
use crate::http::target;
use crate::process::regular_file;
use crate::sessions::permits::Permit;
use crate::transport::Transport;

/// How long the transfer of a file may make no progress.
#[derive(Clone, Debug)]
pub(super) struct TransferTimeouts {
    pub(super) outbound_ms: u64,
    /// From the stop of the server on. A session has as long for its Close frame.
    pub(super) close_ms: u64,
    pub(super) stopping: Stopping,
}

/// A response on its way to a peer: a file, or why there is none.
#[derive(Debug)]
pub(super) struct FileTransfer {
    /// The path that was asked for.
    path: String,
    response: FileResponse,
    timeouts: TransferTimeouts,
    /// Counts one more open file.
    _permit: Permit,
}

/// A file that could not be read to its end. Its peer has the head of the response, and a part of the file at most.
#[derive(Debug)]
pub(crate) struct UnreadFile {
    /// The path that was asked for.
    pub(super) path: String,
    /// Why it could not be read.
    pub(super) error: io::Error,
}

/// What is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Documents<'a> {
    /// The directory below which all of it lies.
    pub(super) root: &'a Path,
    /// Whether a directory without a page of its own shows the names in it.
    pub(super) lists_directories: bool,
    /// What a page gets at its end.
    pub(super) addition: Option<&'a str>,
    /// What caches are told of a file that is no page.
    pub(super) caching: Caching,
}

/// How long caches may give out a file without asking whether it has changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caching {
    /// 0 is not at all.
    pub(super) max_age_s: u64,
    /// Whether users have to say who they are, so that caches which many of them share must keep nothing.
    pub(super) is_private: bool,
}

/// Looks for the file that a request asks for; `None` where there is none. The permit is kept until the file is sent.
pub(super) async fn find(
    request: &FileRequest,
    documents: Documents<'_>,
    timeouts: TransferTimeouts,
    permit: Permit,
) -> Option<FileTransfer> {
    let response = timeouts.bound(respond(request, documents)).await;
    let response = response.unwrap_or_else(|error| Some(failed(error)))?;
    Some(FileTransfer {
        path: request.path.clone(),
        response,
        timeouts,
        _permit: permit,
    })
}

impl FileTransfer {
    /// Sends the response and ends the connection. The response to a HEAD request has no body.
    ///
    /// # Errors
    ///
    /// The file cannot be read to its end. The connection ends without the end of TLS, so that the peer can tell. A
    /// connection that is lost is no error.
    pub(super) async fn send(
        self,
        transport: Transport,
        is_head_request: bool,
    ) -> Result<(), UnreadFile> {
        let head = self.response.head();
        let body = match is_head_request {
            true => Body::Nothing,
            false => self.response.body,
        };
        match transfer::send(transport, head, body, self.timeouts).await {
            Ok(()) => Ok(()),
            Err(TransferError::File(error)) => {
                let path = self.path;
                Err(UnreadFile { path, error })
            }
            Err(TransferError::Connection(error)) => {
                debug!(%error, "file not sent");
                Ok(())
            }
        }
    }
}

impl TransferTimeouts {
    /// The result of `work`, which waits for a disk and may take any time until the server stops. Then
    /// it has `close_ms`.
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

/// A response before it is sent.
#[derive(Debug)]
struct FileResponse {
    status: u16,
    lines: Vec<(&'static str, String)>,
    body: Body,
}

/// The response to a request for a file; `None` where there is no file.
async fn respond(request: &FileRequest, documents: Documents<'_>) -> Option<FileResponse> {
    let head = &request.head;
    let is_for_options = head.method() == b"OPTIONS";
    if !is_for_options && !matches!(head.method(), b"GET" | b"HEAD") {
        return Some(FileResponse::of(405).with("Allow", READ_METHODS.join(", ")));
    }
    let (path, query) = target::raw_path(head.target())?;
    let (root, lists_directories) = (documents.root.to_owned(), documents.lists_directories);
    let asked = path.to_owned();
    let found = transfer::on_thread(move || lookup::find(&root, &asked, lists_directories));
    match found.await.unwrap_or_else(LookupResult::Unknown) {
        LookupResult::Nothing if request.fallback == Fallback::NotFound && !is_for_options => {
            not_found_page(documents).await
        }
        LookupResult::Nothing => None,
        LookupResult::Directory(_) | LookupResult::Listing(_) | LookupResult::File { .. }
            if is_for_options =>
        {
            let answer = FileResponse::of(200).with("Allow", READ_METHODS.join(", "));
            Some(answer.with_bytes(Vec::new()))
        }
        LookupResult::Directory(path) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            Some(FileResponse::of(301).with("Location", format!("{path}{query}")))
        }
        LookupResult::Listing(listing) => Some(
            FileResponse::of(200)
                .with("Content-Type", "text/html; charset=utf-8")
                .with("Content-Security-Policy", "default-src 'none'")
                .with("Cache-Control", "no-cache")
                .with_bytes(listing.page(path).into_bytes()),
        ),
        LookupResult::File {
            file,
            metadata,
            path,
            root,
        } => Some(
            with_file(head, (file, metadata), path, root, documents)
                .await
                .unwrap_or_else(failed),
        ),
        LookupResult::Unknown(error) => Some(failed(error)),
    }
}

/// The response where a file is there and cannot be read.
fn failed(error: io::Error) -> FileResponse {
    debug!(%error, "file not read");
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    if error
        .raw_os_error()
        .is_some_and(|code| lacks.contains(&code))
    {
        return FileResponse::of(503).with("Retry-After", retry_after(Duration::ZERO).to_string());
    }
    FileResponse::of(500)
}

/// The response where no file is there and the document root has a page that says so; `None` without one.
async fn not_found_page(documents: Documents<'_>) -> Option<FileResponse> {
    let root = documents.root.to_owned();
    let found = transfer::on_thread(move || lookup::find(&root, NOT_FOUND_PAGE, false)).await;
    let LookupResult::File { file, metadata, .. } = found.ok()? else {
        return None;
    };
    let read = move || regular_file::read_opened(file, &metadata, PAGE_BYTES_MAX);
    let mut page = transfer::on_thread(read).await.ok()?.ok()?.bytes;
    page.extend_from_slice(documents.addition.unwrap_or_default().as_bytes());
    Some(
        FileResponse::of(404)
            .with("Content-Type", "text/html")
            .with("Cache-Control", "no-cache")
            .with_bytes(page),
    )
}

/// The response where a file is there. `root` is the real path of the document root.
async fn with_file(
    head: &Head,
    (file, metadata): (File, Metadata),
    path: PathBuf,
    root: PathBuf,
    documents: Documents<'_>,
) -> io::Result<FileResponse> {
    let kind = mime_guess::from_path(&path)
        .first_raw()
        .unwrap_or("application/octet-stream");
    let is_page = kind == "text/html";
    let addition = documents
        .addition
        .filter(|_| is_page && metadata.len() <= PAGE_BYTES_MAX);
    if let Some(addition) = addition {
        // Always whole and never from a cache: a part of the page would lack the addition.
        let read = move || regular_file::read_opened(file, &metadata, PAGE_BYTES_MAX);
        let mut page = transfer::on_thread(read).await??.bytes;
        // A parser takes a script behind the end of the document for the last of its body.
        page.extend_from_slice(addition.as_bytes());
        return Ok(FileResponse::of(200)
            .with("Content-Type", kind)
            .with("Cache-Control", "no-cache")
            .with_bytes(page));
    }
    let accepted = AcceptedCodings::of(head);
    let choose = move || precompressed::choose(&root, &path, file, metadata, accepted);
    let Form {
        file,
        metadata,
        coding,
        varies,
    } = transfer::on_thread(choose).await??;
    let version = Version::new(
        metadata.len(),
        metadata.modified().unwrap_or(UNIX_EPOCH),
        coding,
    );
    let mut answer = of_version(&version, version.wanted(head), kind, file);
    if let Some(coding) = coding.filter(|_| matches!(answer.status, 200 | 206)) {
        answer = answer.with("Content-Encoding", coding.name());
    }
    if varies {
        answer = answer.with("Vary", "Accept-Encoding");
    }
    // `wshd dev` builds what its pages load.
    let caching = documents
        .caching
        .for_file(is_page || documents.addition.is_some());
    Ok(answer
        .with("Last-Modified", httpdate::fmt_http_date(version.modified))
        .with("ETag", version.etag)
        .with("Accept-Ranges", "bytes")
        .with("Cache-Control", caching.directives()))
}

/// The response to a request that wants this of a version of a file.
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

impl Caching {
    /// What holds for this file: a page is asked for again each time, so that it never loads files of another version.
    fn for_file(self, is_page: bool) -> Caching {
        Caching {
            max_age_s: if is_page { 0 } else { self.max_age_s },
            ..self
        }
    }

    /// The value of `Cache-Control` (RFC 9111 §5.2.2).
    fn directives(self) -> String {
        let scope = if self.is_private { "private, " } else { "" };
        match self.max_age_s {
            0 => format!("{scope}no-cache"),
            seconds => format!("{scope}max-age={seconds}"),
        }
    }
}

impl FileResponse {
    /// A response whose body is its reason phrase as a line of text.
    fn of(status: u16) -> FileResponse {
        let reason = reason_phrase(status).unwrap_or("refused");
        FileResponse {
            status,
            lines: Vec::new(),
            body: Body::Bytes(format!("{}\n", reason.to_ascii_lowercase()).into_bytes()),
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
        let mut head = ResponseHead::new(self.status);
        head.date();
        let length = match &self.body {
            Body::Nothing => None,
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::File(_, part) => Some(part.end - part.start),
        };
        if let Some(length) = length {
            head.number("Content-Length", length);
            if !self.lines.iter().any(|(name, _)| *name == "Content-Type") {
                head.line("Content-Type", "text/plain; charset=utf-8");
            }
        }
        for (name, value) in &self.lines {
            head.line(name, value);
        }
        if self.status >= 400 {
            head.line(NO_SNIFFING.0, NO_SNIFFING.1);
        }
        // One request a connection: the next one could ask for an upgrade, which only the first may.
        head.line("Connection", "close");
        head.into_bytes()
    }
}

/// The page of the document root that says that nothing is there.
const NOT_FOUND_PAGE: &str = "/404.html";
/// A larger page gets no addition.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;
