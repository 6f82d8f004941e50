//! The examples of the specification, and calls that it leaves to the reader.

use serde_json::{Value, json};

use crate::WSH_HANDLER;

/// Sends a message and reads the answer, if there is one.
fn ask(message: &str) -> Option<Value> {
    let mut client = wsh::test::connect(&WSH_HANDLER);
    client.send(message);
    client.try_receive().map(|answer| answer.json().unwrap())
}

fn error(id: Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id})
}

#[test]
fn a_call_gets_its_result_under_its_id() {
    for (call, result) in [
        (
            r#""method": "add", "params": [19, 23], "id": 1"#,
            json!(42.0),
        ),
        (
            r#""method": "greet", "params": {"name": "ann"}, "id": "x""#,
            json!("hello ann"),
        ),
        (
            r#""method": "add", "params": [1, 2], "id": null"#,
            json!(3.0),
        ),
    ] {
        let message: Value =
            serde_json::from_str(&format!(r#"{{"jsonrpc": "2.0", {call}}}"#)).unwrap();
        let expected = json!({"jsonrpc": "2.0", "result": result, "id": message["id"]});
        assert_eq!(ask(&message.to_string()), Some(expected), "{call}");
    }
}

#[test]
fn a_call_that_fails_says_how() {
    for (call, answer) in [
        ("{", error(Value::Null, -32700, "Parse error")),
        ("1", error(Value::Null, -32600, "Invalid Request")),
        ("[]", error(Value::Null, -32600, "Invalid Request")),
        (
            r#"{"method": "add", "id": 7}"#,
            error(json!(7), -32600, "Invalid Request"),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "sub", "id": 1}"#,
            error(json!(1), -32601, "Method not found"),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "add", "params": [1], "id": 1}"#,
            error(json!(1), -32602, "Invalid params"),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "greet", "id": 1}"#,
            error(json!(1), -32602, "Invalid params"),
        ),
    ] {
        assert_eq!(ask(call), Some(answer), "{call}");
    }
}

#[test]
fn a_notification_gets_no_answer_and_a_batch_one_message() {
    let notification = r#"{"jsonrpc": "2.0", "method": "add", "params": [1, 2]}"#;
    let call = r#"{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": 5}"#;
    let result = json!({"jsonrpc": "2.0", "result": 3.0, "id": 5});

    assert_eq!(ask(notification), None);
    assert_eq!(ask(&format!("[{notification}, {notification}]")), None);
    assert_eq!(
        ask(&format!("[{call}, {notification}, 1, {call}]")),
        Some(json!([
            result.clone(),
            error(Value::Null, -32600, "Invalid Request"),
            result
        ]))
    );
}

#[test]
fn a_batch_of_any_length_gets_a_short_answer() {
    let batch = |calls: usize| format!("[{}]", vec!["1"; calls].join(","));
    let invalid = error(Value::Null, -32600, "Invalid Request");
    let too_long = error(Value::Null, -32000, "A batch has at most 100 calls");

    assert_eq!(ask(&batch(100)), Some(Value::Array(vec![invalid; 100])));
    assert_eq!(ask(&batch(101)), Some(too_long.clone()));
    assert_eq!(ask(&batch(500_000)), Some(too_long));
}
