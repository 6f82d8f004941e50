//! The end of a WebSocket: close codes and reasons of either side, and ends without them.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::server::Server;

pub(crate) fn a_page_closes_with_every_code_and_reason_it_may_send(browser: &Browser) {
    let server = Server::of(&["close_wsh"]).start();
    let page = browser.open(&server.blank());
    let longest = format!("{}x", "é".repeat(61));
    assert_eq!(longest.len(), 123);

    // `close_wsh` answers with what it was told.
    let closes = json!([[1000, ""], [1000, "done"], [3000, "lunch"], [4999, longest]]);
    let script = "
        const seen = [];
        for (const [code, reason] of given) {
            const heard = await new Heard('/close').opened();
            heard.socket.close(code, reason);
            seen.push(await heard.closed());
        }
        return seen;";
    let seen: Vec<Value> = closes
        .as_array()
        .into_iter()
        .flatten()
        .map(|close| json!([close[0], close[1], true]))
        .collect();
    assert_eq!(page.run(script, closes), json!(seen));
    for code in ["1000", "3000", "4999"] {
        server.line(&["session closed", &format!("code={code} ")]);
    }

    // Without a code.
    let script = "
        const heard = await new Heard('/close').opened();
        heard.socket.close();
        return heard.closed();";
    assert_eq!(page.run(script, json!(null)), json!([1005, "", true]));
}

pub(crate) fn a_close_that_a_page_may_not_send_throws_and_leaves_the_session_open(
    browser: &Browser,
) {
    let server = Server::of(&["close_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const heard = await new Heard('/close').opened();
        const errors = [];
        for (const [code, reason] of given) {
            try {
                heard.socket.close(code, reason);
                errors.push('none');
            } catch (error) {
                errors.push(error.name);
            }
        }
        const state = heard.socket.readyState;
        heard.socket.send('1000 still here');
        return [...errors, state, await heard.closed()];";
    let closes = json!([
        [999, ""],
        [1001, ""],
        [1006, ""],
        [5000, ""],
        [1000, "x".repeat(124)]
    ]);
    let wrong = "InvalidAccessError";
    let close = json!([1000, "still here", true]);
    let seen = json!([wrong, wrong, wrong, wrong, "SyntaxError", 1, close]);
    assert_eq!(page.run(script, closes), seen);
}

pub(crate) fn a_page_hears_the_code_and_the_reason_of_the_handler(browser: &Browser) {
    let plugins = ["abort_wsh", "close_wsh", "internal_error_wsh"];
    let server = Server::of(&plugins).start();
    let page = browser.open(&server.blank());
    let longest = "r".repeat(123);

    let closes = [
        (1000, "bye"),
        (1001, ""),
        (1008, "not here"),
        (1011, "it failed"),
        (3000, "päth ☃"),
        (4999, longest.as_str()),
    ];
    let script = "
        const seen = [];
        for (const order of given) {
            const heard = await new Heard('/close').opened();
            heard.socket.send(order);
            seen.push([...(await heard.closed()), heard.kinds.join(' ')]);
        }
        return seen;";
    let orders: Vec<String> = closes
        .iter()
        .map(|(code, it)| format!("{code} {it}"))
        .collect();
    let seen = closes.map(|(code, reason)| json!([code, reason, true, "open close"]));
    assert_eq!(page.run(script, json!(orders)), json!(seen));

    // A code that no frame may carry is a failure of the handler, and so is an error.
    let script = "
        const heard = await new Heard('/close').opened();
        heard.socket.send('5000 x');
        const failed = await new Heard('/internal_error').opened();
        return [await heard.closed(), await failed.closed()];";
    let failure = json!([1011, "", true]);
    assert_eq!(page.run(script, json!(null)), json!([failure, failure]));

    // A connection that is dropped is closed without a code, which a page sees as 1006. If that comes with the 101, the page
    // may not have heard that it was open.
    let script = "
        const heard = new Heard('/abort');
        const { code, reason, wasClean } = await new Promise((resolve) => (heard.socket.onclose = resolve));
        return [code, reason, wasClean];";
    assert_eq!(page.run(script, json!(null)), json!([1006, "", false]));
    server.line(&["session closed", "path=/abort", "code=1006"]);
}

pub(crate) fn a_page_hears_that_the_server_stops(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());
    let script = "globalThis.heard = await new Heard('/echo').opened(); return true;";
    page.run(script, json!(null));

    server.stop();

    let close = page.run("return heard.closed();", json!(null));
    assert_eq!(close, json!([1001, "", true]));
}
