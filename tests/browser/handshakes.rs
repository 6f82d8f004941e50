//! The opening handshake: subprotocols, refusals, cookies, and TLS.

use serde_json::json;

use crate::artifacts::{compiled, repository};
use crate::browser::Browser;
use crate::pages::talk;
use crate::program::Kind;
use crate::server::Server;

pub(crate) fn a_subprotocol_is_chosen_of_those_that_a_page_offers(browser: &Browser) {
    let server = Server::of(&["echo_wsh", "subprotocol_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const seen = [];
        for (const [path, protocols] of given) {
            const heard = await new Heard(path, protocols).opened();
            seen.push(heard.socket.protocol);
            heard.socket.close(1000);
            await heard.closed();
        }
        return seen;";
    let offers = json!([
        ["/subprotocol", "greeting.v1"],
        ["/subprotocol", ["greeting.v1", "greeting.v2"]],
        ["/subprotocol", ["other", "greeting.v1"]],
        ["/echo", "echo"],
        ["/echo", []],
    ]);
    let chosen = json!(["greeting.v1", "greeting.v2", "greeting.v1", "echo", ""]);
    assert_eq!(page.run(script, offers), chosen);

    // Of those that a page offers none is spoken. One handler refuses that, and one goes on without; then the page decides.
    let script = "
        const seen = [];
        for (const path of ['/subprotocol', '/echo']) {
            const heard = new Heard(path, ['unknown', 'another']);
            while (heard.events.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
            seen.push([heard.kinds[0], heard.socket.protocol]);
            heard.socket.close();
        }
        return seen;";
    let without = match browser.kind {
        // As the WHATWG has it.
        Kind::Chromium => "error",
        Kind::Firefox => "open",
    };
    let seen = json!([["error", ""], [without, ""]]);
    assert_eq!(page.run(script, json!(null)), seen);
    server.line(&["handshake refused", "path=/subprotocol", "status=400"]);
    // A browser does not offer one twice, or one that is no token.
    let script = "
        return [['echo', 'echo'], ['with space'], ['']].map((protocols) => {
            try {
                return typeof new Heard('/echo', protocols);
            } catch (error) {
                return error.name;
            }
        });";
    assert_eq!(
        page.run(script, json!(null)),
        json!(["SyntaxError", "SyntaxError", "SyntaxError"])
    );
}

pub(crate) fn a_refusal_is_an_error_and_a_close_with_1006_whatever_its_status(browser: &Browser) {
    let plugins = ["abort_handshake_wsh", "clock_wsh", "origin_check_wsh"];
    let server = Server::of(&plugins).plugin("broken_wsh", b"no library");
    let server = server.start();
    let page = browser.open(&server.blank());

    let script = "
        const seen = [];
        for (const path of given) {
            const heard = new Heard(path);
            await heard.next('error');
            await heard.next('close');
            const { code, reason, wasClean } = heard.events[1];
            seen.push([code, reason, wasClean, heard.kinds.length]);
        }
        return seen;";
    let refused = json!([1006, "", false, 2]);
    let paths = json!(["/nobody", "/origin_check", "/broken", "/abort_handshake"]);
    assert_eq!(
        page.run(script, paths),
        json!([refused, refused, refused, refused])
    );
    server.line(&["handshake refused", "path=/nobody", "status=404"]);
    server.line(&["handshake refused", "path=/origin_check", "status=403"]);
    server.line(&["handshake refused", "path=/broken", "status=503"]);
    server.line(&[
        "handshake refused",
        "path=/abort_handshake",
        "the handler aborts",
    ]);

    // A page from elsewhere may not talk to a handler that leaves origins to the server.
    let file = repository().join("tests/browser/www/blank.html");
    let stranger = browser.open(&format!("file://{}", file.display()));
    let clock = format!("ws://localhost:{}/clock", server.port());
    assert_eq!(stranger.run(script, json!([clock])), json!([refused]));
    server.line(&["handshake refused", "path=/clock", "status=403"]);
}

pub(crate) fn cookies_of_a_handshake_are_sent_with_the_next_ones(browser: &Browser) {
    let server = Server::of(&["cookie_wsh"]);
    let server = server
        .plugin("says_cookie_wsh", &compiled("says_cookie"))
        .start();
    let page = browser.open(&server.blank());

    let script = "
        const seen = [];
        for (const order of ['', 'set', 'set_httponly', 'clear']) {
            const heard = await new Heard(`/cookie?${order}`).opened();
            await heard.closed();
            const told = await new Heard('/says_cookie').opened();
            const sent = await told.message();
            told.socket.close();
            seen.push([sent.split('; ').sort().join('; '), document.cookie]);
        }
        return seen;";
    let seen = json!([
        ["none", ""],
        ["foo=bar", "foo=bar"],
        // A script does not see what only the server is meant to.
        ["foo=bar; httpOnlyFoo=bar", "foo=bar"],
        ["none", ""],
    ]);
    assert_eq!(page.run(script, json!(null)), seen);
}

pub(crate) fn a_user_who_may_see_the_page_may_use_its_sockets(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]);
    let server = server.basic_auth("ann:secret").start();

    let page = browser.open(&server.page_at("ann:secret@localhost", "blank.html"));
    let script = "
        const heard = await new Heard('/echo').opened();
        heard.socket.send('may I?');
        const answer = await heard.message();
        heard.socket.close(1000);
        await heard.closed();
        return answer;";
    assert_eq!(page.run(script, json!(null)), "may I?");

    server.line(&["session closed", "path=/echo", "user=ann"]);
}

pub(crate) fn wss_and_the_pages_over_https_work_as_without_tls(browser: &Browser) {
    let server = Server::with_pages().tls().start();
    let page = browser.open(&server.page(""));
    page.sees("#handlers", "/echo");
    talk(&page, "#handlers > :nth-child(4)", "over TLS");
    page.sees("#handlers > :nth-child(4) .received", "over TLS");

    page.go_to(&server.page("console.html"));
    page.click("#connect");
    page.sees("#ready-state", "1 (open)");
    page.sees("#extensions", "permessage-deflate");
    page.sees(
        "#log",
        &format!("connecting to wss://localhost:{}/echo", server.port()),
    );

    // The record layer splits what is long.
    let script = "
        const socket = new WebSocket(`wss://${location.host}/benchmark_helper`);
        socket.binaryType = 'arraybuffer';
        await new Promise((resolve) => (socket.onopen = resolve));
        const next = () => new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(data)));
        const taken = next();
        socket.send('send 1');
        socket.send(new Uint8Array(given).fill(0x61));
        const answer = await taken;
        const sent = next();
        socket.send(`receive ${given}`);
        const { byteLength } = await sent;
        const closed = new Promise((resolve) => (socket.onclose = ({ wasClean }) => resolve(wasClean)));
        socket.close(1000);
        return [answer, byteLength, await closed];";
    let length = 5_000_000;
    let seen = json!([length.to_string(), length, true]);
    assert_eq!(page.run(script, json!(length)), seen);
    assert_eq!(browser.complaints(), [""; 0]);
}
