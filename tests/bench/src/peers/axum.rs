//! axum: an echo and a chat, written as its examples are.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::Result;

pub(super) async fn serve(listener: TcpListener) -> Result<()> {
    let router = Router::new()
        .route(
            "/echo",
            any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)),
        )
        .route("/fan", any(open_fan))
        .with_state(broadcast::channel(1024).0);
    let listener = listener.tap_io(|socket| {
        // The reader notices a connection that is gone.
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

async fn open_fan(
    upgrade: WebSocketUpgrade,
    State(subscribers): State<broadcast::Sender<Message>>,
) -> Response {
    upgrade.on_upgrade(|socket| fan(socket, subscribers))
}

async fn fan(mut socket: WebSocket, subscribers: broadcast::Sender<Message>) {
    let mut published = subscribers.subscribe();
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    // This connection is subscribed, so the send cannot fail.
                    let _ = subscribers.send(message);
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            message = published.recv() => {
                let Ok(message) = message else { return };
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
}
