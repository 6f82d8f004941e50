//! Everything that is not a handler: files below the document root.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use http::{Request, Response, StatusCode};
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

/// Answers one request, whose bytes so far are `received`, and closes.
pub(crate) async fn serve(socket: TcpStream, received: Vec<u8>, root: &Path) {
    let (reader, writer) = socket.into_split();
    let stream = tokio::io::join(Cursor::new(received).chain(reader), writer);
    let service = service_fn(|request: Request<Incoming>| async move {
        if is_plugin(request.uri().path()) {
            let mut response = Response::new(ServeFileSystemResponseBody::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
        ServeDir::new(root).oneshot(request).await
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

/// Handlers may lie below the document root, and compiled code is nobody's download.
fn is_plugin(path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    ["_wsh.so", "_wsh.dylib", "_wsh.dll"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

/// One file to one slow reader.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);
