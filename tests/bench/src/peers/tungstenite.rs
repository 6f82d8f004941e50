//! tokio-tungstenite, twice: as its documentation writes it, and with its costs known.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, accept_hdr_async};

use crate::Result;
use crate::peers::tungstenite::fan::Fan;

type Served = futures_util::future::BoxFuture<'static, Result<()>>;

/// Echoes with the library's defaults. Every echo is sent by itself.
pub(super) fn stock() -> impl Fn(TcpStream) -> Served {
    let fan = Fan::default();
    move |socket| {
        let fan = fan.clone();
        async move {
            let mut is_fan = false;
            // The library gives the whole response as the error of a refusal.
            #[allow(clippy::result_large_err)]
            let look = |request: &Request, response: Response| {
                is_fan = request.uri().path() == "/fan";
                Ok(response)
            };
            let mut socket = accept_hdr_async(socket, look).await?;
            if is_fan {
                return fan.join(socket).await;
            }
            while let Some(message) = socket.next().await {
                let message = message?;
                if message.is_text() || message.is_binary() {
                    socket.send(message).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// Echoes with a read buffer of 4 KiB instead of 128 KiB, and one flush for all that was there to read.
pub(super) fn batched() -> impl Fn(TcpStream) -> Served {
    |socket| {
        async move {
            let config = WebSocketConfig::default().read_buffer_size(4096);
            let mut socket = accept_async_with_config(socket, Some(config)).await?;
            while let Some(message) = socket.next().await {
                feed(&mut socket, message?).await?;
                while let Some(next) = socket.next().now_or_never() {
                    let Some(message) = next else { return Ok(()) };
                    feed(&mut socket, message?).await?;
                }
                socket.flush().await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn feed(socket: &mut WebSocketStream<TcpStream>, message: Message) -> Result<()> {
    if message.is_text() || message.is_binary() {
        socket.feed(message).await?;
    }
    Ok(())
}

mod fan {
    use super::*;

    /// All connections on `/fan`, by tokio's broadcast channel.
    #[derive(Clone)]
    pub(super) struct Fan(broadcast::Sender<Message>);

    impl Default for Fan {
        fn default() -> Fan {
            Fan(broadcast::channel(1024).0)
        }
    }

    impl Fan {
        pub(super) async fn join(self, mut socket: WebSocketStream<TcpStream>) -> Result<()> {
            let mut published = self.0.subscribe();
            loop {
                tokio::select! {
                    message = socket.next() => match message {
                        Some(Ok(message)) if message.is_text() || message.is_binary() => {
                            self.0.send(message)?;
                        }
                        Some(Ok(_)) => {}
                        _ => return Ok(()),
                    },
                    message = published.recv() => socket.send(message?).await?,
                }
            }
        }
    }
}
