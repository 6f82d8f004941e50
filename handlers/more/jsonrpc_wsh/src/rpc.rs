//! What stands around a method: calls, batches, answers and failures, as the specification has them.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::call;

/// A failure as the specification numbers it.
pub(crate) type Failure = (i32, &'static str);

/// The answer to a message. `None` if it holds only notifications.
pub(crate) fn answer(message: &[u8]) -> Option<Value> {
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
