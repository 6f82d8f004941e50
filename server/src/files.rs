//! Everything that is not a handler: files below the document root.

use std::io::{self, Cursor};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tower::ServiceExt;
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody;
use tracing::debug;

/// Answers one request, whose bytes so far are `received`, and closes. A page gets `addition` at its
/// end; where no file lies, `absent` is the answer.
pub(crate) async fn serve(
    socket: TcpStream,
    received: Vec<u8>,
    root: &Path,
    addition: Option<&str>,
    absent: &(dyn Fn() -> Response<Full<Bytes>> + Sync),
) {
    let (reader, writer) = socket.into_split();
    let stream = tokio::io::join(Cursor::new(received).chain(reader), writer);
    let service = service_fn(|request: Request<Incoming>| async move {
        if is_plugin(request.uri().path()) {
            return Ok(absent().map(Either::Right));
        }
        let response = match addition {
            Some(addition) => with_addition(request, root, addition).await?,
            None => file(request, root).await.map(Either::Left),
        };
        Ok::<_, io::Error>(match response.status() {
            StatusCode::NOT_FOUND => absent().map(Either::Right),
            _ => response,
        })
    });
    let connection = http1::Builder::new()
        // One request a connection: what follows could be an upgrade, and that road begins at accept.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(RESPONSE_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "http connection failed"),
        Err(_) => debug!("http response took too long"),
    }
}

async fn file(request: Request<Incoming>, root: &Path) -> Response<ServeFileSystemResponseBody> {
    let answer = ServeDir::new(root).oneshot(request).await;
    answer.unwrap_or_else(|never| match never {})
}

/// The answer for somebody who changes files and looks at them: with the addition to a page, and
/// asked for anew each time.
async fn with_addition(
    mut request: Request<Incoming>,
    root: &Path,
    addition: &str,
) -> io::Result<Response<Either<ServeFileSystemResponseBody, Full<Bytes>>>> {
    let is_whole = request.method() == Method::GET && may_be_page(request.uri().path());
    if is_whole {
        // Half a page, or the one that the browser has, would be without it.
        for name in [
            header::RANGE,
            header::IF_MODIFIED_SINCE,
            header::IF_NONE_MATCH,
        ] {
            request.headers_mut().remove(name);
        }
    }
    let mut response = file(request, root).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let is_page = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_whole || !is_page || response.status() != StatusCode::OK {
        return Ok(response.map(Either::Left));
    }
    let (mut head, body) = response.into_parts();
    let mut page = body.collect().await?.to_bytes().to_vec();
    // A parser takes a script behind everything else for the body's last.
    page.extend_from_slice(addition.as_bytes());
    head.headers
        .insert(header::CONTENT_LENGTH, page.len().into());
    for name in [header::LAST_MODIFIED, header::ETAG, header::ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Either::Right(Full::from(page))))
}

/// Whether there may be a page at this path; a directory has its index.
fn may_be_page(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.is_empty() || name.ends_with(".html") || name.ends_with(".htm")
}

/// Handlers may lie below the document root, and compiled code is nobody's download.
fn is_plugin(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    ["_wsh.so", "_wsh.dylib", "_wsh.dll"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

/// One file to one slow reader.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);
