//! The servers that wshd is compared with: an echo server over each library, written as its own documentation writes it, on
//! the cheapest runtime for one core.

mod axum;
mod fastwebsockets;
mod tokio_websockets;
mod tungstenite;
pub(crate) mod tungstenite_tls;
mod yawc;

use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// A library to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// tokio-tungstenite with its defaults, one `send` a message.
    Tungstenite,
    /// tokio-tungstenite with a read buffer of 4 KiB, flushed when nothing more is there to read.
    #[value(name = "tungstenite-4k")]
    Tungstenite4k,
    Fastwebsockets,
    TokioWebsockets,
    Yawc,
    Axum,
}

impl Peer {
    /// Serves until the process ends.
    pub(crate) fn serve(self, port: u16) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", port)).await?;
            match self {
                Peer::Tungstenite => accept(listener, tungstenite::stock()).await,
                Peer::Tungstenite4k => accept(listener, tungstenite::batched()).await,
                Peer::Fastwebsockets => accept(listener, fastwebsockets::serve).await,
                Peer::TokioWebsockets => accept(listener, tokio_websockets::serve).await,
                Peer::Yawc => accept(listener, yawc::serve).await,
                Peer::Axum => axum::serve(listener).await,
            }
        })
    }
}

/// Gives each connection a task. An error ends its own connection only.
async fn accept<Served>(listener: TcpListener, serve: impl Fn(TcpStream) -> Served) -> Result<()>
where
    Served: Future<Output = Result<()>> + Send + 'static,
{
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(serve(socket));
    }
}
