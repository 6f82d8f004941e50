#![forbid(unsafe_code)]
//! Calls by JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>), one message each way for a call or a batch:
//!
//! ```text
//! {"jsonrpc": "2.0", "method": "add", "params": [19, 23], "id": 1}
//! {"id":1,"jsonrpc":"2.0","result":42}
//! ```
//!
//! The methods are `add`, with two numbers by position, and `greet`, with `name` by name. A batch has at most 100 calls.

#[cfg(test)]
mod tests;

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

/// A failure as the specification numbers it.
type Failure = (i32, &'static str);

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

/// The answer to a message. `None` if it holds only notifications.
fn answer(message: &[u8]) -> Option<Value> {
    match serde_json::from_slice(message) {
        Err(_) => Some(failed(&Value::Null, (-32700, "Parse error"))),
        // The answer to a call may be many times as long as the call.
        Ok(Value::Array(batch)) if batch.len() > BATCH_CALLS_MAX => Some(failed(
            &Value::Null,
            (-32000, "A batch has at most 100 calls"),
        )),
        Ok(Value::Array(batch)) if !batch.is_empty() => {
            let answers: Vec<Value> = batch.into_iter().filter_map(answer_one).collect();
            (!answers.is_empty()).then_some(Value::Array(answers))
        }
        Ok(one) => answer_one(one),
    }
}

/// The answer to one call. `None` for a notification: a call without an `id`.
fn answer_one(request: Value) -> Option<Value> {
    #[derive(Deserialize)]
    struct Call {
        jsonrpc: String,
        method: String,
        #[serde(default)]
        params: Value,
    }
    // `null` is an id, too, so it is looked for before serde takes it for nothing.
    let id = request.get("id").cloned();
    let outcome = match serde_json::from_value(request) {
        Ok(Call {
            jsonrpc,
            method,
            params,
        }) if jsonrpc == "2.0" => call(&method, params),
        _ => return Some(failed(&id.unwrap_or_default(), (-32600, "Invalid Request"))),
    };
    let id = id?;
    Some(match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result, "id": id}),
        Err(failure) => failed(&id, failure),
    })
}

fn failed(id: &Value, (code, message): Failure) -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id})
}

const BATCH_CALLS_MAX: usize = 100;

wsh::handler!(async serve, restarts);
