#![forbid(unsafe_code)]
//! Looks up the addresses of hosts: `localhost` is answered by `localhost: ::1, 127.0.0.1`. It does so on a tokio runtime, as
//! an HTTP client or a database driver would need one.
//!
//! The server polls the function below without tokio. So whatever needs tokio, timers too, is spawned on the runtime, and the
//! function awaits the answer only. The guide of the SDK, chapter *clients*, says more.

use std::time::Duration;

use tokio::{
    net::lookup_host,
    runtime::{Builder, Runtime},
    time::timeout,
};
use wsh::prelude::*;

/// The runtime is a field, never a static: it ends when the last session has left this version of the code.
struct Resolver(Runtime);

impl Shared for Resolver {
    fn new(_: Config) -> Result<Self> {
        let mut runtime = Builder::new_multi_thread();
        runtime
            .worker_threads(1)
            .thread_name("resolve")
            .enable_all();
        Ok(Resolver(runtime.build()?))
    }
}

async fn resolve(conn: &mut AsyncConn, Resolver(runtime): &Resolver) -> Result {
    while let Some(host) = conn.recv().await {
        let host = host.to_string();
        let task = async move {
            let answer = timeout(Duration::from_secs(5), addresses(&host)).await;
            match answer.map_err(Into::into).flatten() {
                Ok(addresses) => format!("{host}: {}", addresses.join(", ")),
                Err(error) => format!("{host}: {error}"),
            }
        };
        conn.send(runtime.spawn(task).await?).await?;
    }
    Ok(())
}

async fn addresses(host: &str) -> Result<Vec<String>> {
    let mut addresses = Vec::new();
    for address in lookup_host((host, 0)).await? {
        addresses.push(address.ip().to_string());
    }
    // A resolver lists an address once for each kind of socket.
    addresses.dedup();
    Ok(addresses)
}

wsh::handler!(async resolve, shared = Resolver, restarts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_on_the_runtime() {
        let server = wsh::test::serve(&WSH_HANDLER);
        let mut client = server.connect();

        client.send("localhost");

        // The runtime runs by the real clock.
        let answer = client.receive_within(Duration::from_secs(20)).unwrap();
        let answer = answer.to_string();
        assert!(
            answer.starts_with("localhost: ") && answer.contains("127.0.0.1"),
            "{answer}"
        );
    }
}
