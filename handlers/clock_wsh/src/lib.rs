#![forbid(unsafe_code)]
//! Sends the time in UTC (RFC 3339) with each new second, and in answer to every message.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wsh::prelude::*;

async fn clock(conn: &mut AsyncConn) -> Result {
    loop {
        let now = SystemTime::now();
        conn.send(humantime::format_rfc3339_seconds(now).to_string())
            .await?;

        let into_the_second = now.duration_since(UNIX_EPOCH)?.subsec_nanos();
        let rest = Duration::from_nanos(1_000_000_000 - u64::from(into_the_second));
        // Not `sleep`, which would not receive the peer's messages.
        if let Ok(None) = conn.recv_timeout(rest).await {
            return Ok(());
        }
    }
}

// A newer generation may begin again: a session remembers nothing between two seconds.
wsh::handler!(async clock, restarts);
