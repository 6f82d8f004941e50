#![forbid(unsafe_code)]
//! Tells all sessions the load of the machine, once a second: `0.52 0.58 0.59 3/817 20117`, as Linux writes it.
//!
//! One thread publishes to a topic, however many sessions there are. It begins when this code serves, and ends when newer
//! code does, which has a thread of its own.

use std::{fs, time::Duration};

use wsh::prelude::*;

struct Load;

impl Shared for Load {
    fn new(_: Config) -> Result<Self> {
        Ok(Load)
    }

    fn serving(&self, on: bool) -> Result {
        if on {
            wsh::spawn(|stop| {
                while !stop.wait(Duration::from_secs(1)) {
                    if let Err(error) = publish() {
                        wsh::warn!("the load is not known: {error}");
                    }
                }
            })?;
        }
        Ok(())
    }
}

fn publish() -> Result {
    let load = fs::read_to_string("/proc/loadavg")?;
    wsh::publish("load", load.trim_end())?;
    Ok(())
}

async fn listen(conn: &mut AsyncConn, _: &Load) -> Result {
    // Newer code finds the session subscribed. To subscribe again would change nothing.
    conn.subscribe("load")?;
    // What the client says is ignored. It ends the session by closing.
    while conn.recv().await.is_some() {}
    Ok(())
}

wsh::handler!(async listen, shared = Load, restarts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_hears_of_the_load_in_newer_code_too() {
        let server = wsh::test::serve(&WSH_HANDLER);
        let mut all = [(); 3].map(|()| server.connect());

        for _ in 0..2 {
            for client in &mut all {
                let load = client.receive_within(Duration::from_secs(20)).unwrap();
                assert_eq!(load.to_string().split(' ').count(), 5, "{load}");
            }
            server.reload(&WSH_HANDLER).unwrap();
        }
    }
}
