//! yawc over hyper, as its documentation shows, with permessage-deflate for a client that offers it.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use yawc::frame::OpCode;
use yawc::{Options, UpgradeFut, WebSocket};

use crate::Result;

pub(super) async fn serve(socket: TcpStream) -> Result<()> {
    http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service_fn(open))
        .with_upgrades()
        .await?;
    Ok(())
}

async fn open(mut request: Request<Incoming>) -> yawc::Result<Response<Empty<Bytes>>> {
    let options = Options::default()
        .with_balanced_compression()
        // Its default of 1 MiB excludes a message of just that.
        .with_limits(2 << 20, 4 << 20);
    let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(echo(upgraded));
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> yawc::Result<()> {
    let mut socket = upgraded.await?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}
