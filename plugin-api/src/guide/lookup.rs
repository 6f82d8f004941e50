use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use wsh::prelude::*;

/// The value that all sessions share: the address of the other server, and the runtime that asks it.
struct Upstream {
    address: String,
    runtime: Runtime,
}

impl Shared for Upstream {
    fn new(config: Config) -> Result<Self> {
        Ok(Upstream {
            address: config.get("upstream")?,
            runtime: Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("lookup")
                .enable_io()
                .enable_time()
                .build()?,
        })
    }
}

/// Gets the page at a path of the other server.
async fn get(address: String, path: String) -> Result<String> {
    let mut stream = TcpStream::connect(&address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    Ok(body.to_owned())
}

async fn lookup(conn: &mut AsyncConn, upstream: &Upstream) -> Result {
    while let Some(path) = conn.recv().await {
        // The server polls this function without tokio. Code that needs tokio, also a timer, is created and runs in the
        // runtime. Only the answer is awaited here.
        let question = get(upstream.address.clone(), path.to_string());
        let task = async { timeout(Duration::from_secs(10), question).await? };
        let answer = upstream.runtime.spawn(task).await?;
        let answer = answer.unwrap_or_else(|error| format!("no answer: {error}"));
        conn.send(answer).await?;
    }
    Ok(())
}

wsh::handler!(async lookup, shared = Upstream, restarts);
