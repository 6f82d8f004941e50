//! tokio-websockets, written as its example `echo_server` is.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_websockets::{Limits, ServerBuilder};

use crate::Result;

pub(super) async fn serve(socket: TcpStream) -> Result<()> {
    let (_, mut socket) = ServerBuilder::new()
        .limits(Limits::unlimited())
        .accept(socket)
        .await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
