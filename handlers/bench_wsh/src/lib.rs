#![forbid(unsafe_code)]
//! Sends one message many times. The text `0.1 20 hello` asks for 20 times `hello`, with a pause of 0.1 seconds after each.
//! After the last one it closes with 1000. A client that asks in another way gets a Close with 1011.

use std::time::Duration;

use wsh::prelude::*;

async fn bench(conn: &mut AsyncConn) -> Result {
    let Some(request) = conn.recv().await else {
        return Ok(()); // the client has closed
    };
    let words: Vec<&str> = request.as_text().unwrap_or_default().split(' ').collect();
    let [seconds, count, text] = words[..] else {
        return Err("the first message is `SECONDS COUNT MESSAGE`".into());
    };
    let pause = Duration::try_from_secs_f64(seconds.parse()?)?;
    for _ in 0..count.parse::<u64>()? {
        // Waits while the client does not read, and ends the function when it has gone.
        conn.send(text).await?;
        conn.sleep(pause).await;
    }
    Ok(())
}

wsh::handler!(async bench, origin = any);
