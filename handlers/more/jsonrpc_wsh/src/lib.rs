#![forbid(unsafe_code)]
//! Calls by JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>), one message each way for a call or a batch:
//!
//! ```text
//! {"jsonrpc": "2.0", "method": "add", "params": [19, 23], "id": 1}
//! {"id":1,"jsonrpc":"2.0","result":42}
//! ```
//!
//! The methods are `add`, with two numbers by position, and `greet`, with `name` by name. A batch has at most 100 calls.

mod rpc;
#[cfg(test)]
mod tests;

use rpc::{Failure, answer};
use serde::Deserialize;
use serde_json::{Value, json};
use wsh::prelude::*;

async fn serve(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        if let Some(answer) = answer(message.as_bytes()) {
            conn.send_json(&answer).await?;
        }
    }
    Ok(())
}

/// Carries a method out.
fn call(method: &str, params: Value) -> Result<Value, Failure> {
    #[derive(Deserialize)]
    struct Greet {
        name: String,
    }
    let invalid = |_| (-32602, "Invalid params");
    match method {
        "add" => {
            let (one, other): (f64, f64) = serde_json::from_value(params).map_err(invalid)?;
            Ok(json!(one + other))
        }
        "greet" => {
            let Greet { name } = serde_json::from_value(params).map_err(invalid)?;
            Ok(json!(format!("hello {name}")))
        }
        _ => Err((-32601, "Method not found")),
    }
}

wsh::handler!(async serve, restarts);
