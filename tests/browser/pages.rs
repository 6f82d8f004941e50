//! The pages of handlers/www: the index, the console, the benchmark, the first handler, and what all of them have.

use std::fs;

use serde_json::json;

use crate::artifacts::{artifacts, page_file};
use crate::browser::Browser;
use crate::page::Page;
use crate::server::{Server, TALKED_TO};
use crate::tutorial::shows_its_alerts;

pub(crate) fn the_index_lists_the_handlers_and_talks_to_them(browser: &Browser) {
    let server = Server::with_pages().start();

    let page = browser.open(&server.page(""));

    page.sees("#handlers", "/slow");
    for (index, path) in ["/benchmark_helper", "/chat", "/clock", "/echo", "/slow"]
        .iter()
        .enumerate()
    {
        let card = format!("#handlers > :nth-child({})", index + 1);
        assert_eq!(page.text(&format!("{card} .path")), *path);
        assert_eq!(page.text(&format!("{card} .generation")), "generation 1");
    }
    assert_eq!(page.count("#handlers > *"), TALKED_TO.len());

    talk(&page, ECHO, "hello");
    page.sees(&format!("{ECHO} .received"), "hello");
    page.sees(&format!("{ECHO} .sessions"), "1\u{a0}session");
    talk(&page, SLOW, "600851475143");
    page.sees(&format!("{SLOW} .received"), "71 × 839 × 1471 × 6857");
    page.click(&format!("{CLOCK} .connect"));
    page.sees(&format!("{CLOCK} .received:nth-of-type(2)"), "Z");
    page.screenshot("index");

    page.click(&format!("{ECHO} .connect"));
    page.sees(&format!("{ECHO} .log"), "closed: code 1000, clean");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn the_index_and_the_console_reach_a_handler_whatever_its_name(browser: &Browser) {
    let echo = fs::read(artifacts().plugin("echo_wsh")).expect("a plugin");
    let server = Server::with_pages()
        .plugin("a?b#c 50%25\u{e9}\u{202e}_wsh", &echo)
        .start();

    let page = browser.open(&server.page(""));

    let card = "#handlers > :nth-child(1)";
    page.sees(&format!("{card} .path"), "/a?b#c 50%25\u{e9}%E2%80%AE");
    talk(&page, card, "hello");
    page.sees(&format!("{card} .received"), "hello");
    page.click(&format!("{card} .console"));
    page.click("#connect");
    page.sees("#ready-state", "1 (open)");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn the_index_says_why_a_handler_was_refused(browser: &Browser) {
    let server = Server::with_pages()
        .plugin("broken_wsh", b"no library")
        .start();

    let page = browser.open(&server.page(""));

    page.sees("#summary", "1 handler refused.");
    let card = "#handlers > :nth-child(2)";
    assert_eq!(page.text(&format!("{card} .path")), "/broken");
    page.sees(&format!("{card} .state"), "refused");
    page.sees(&format!("{card} .refusal"), "cannot load `broken_wsh.so`: ");
    page.screenshot("index-refused");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn the_console_shows_what_the_browser_sees(browser: &Browser) {
    let server = Server::with_pages().start();
    let page = browser.open(&server.page("console.html"));

    page.click("#connect");
    page.sees("#ready-state", "1 (open)");
    page.sees("#extensions", "permessage-deflate");
    page.fill("#text", "over the wire");
    page.click("#send");
    page.sees("#log .received", "over the wire");
    page.choose_file("#file", &page_file("icon.svg"));
    page.click("#send-file");
    page.sees("#log .received:last-child", "binary, ");
    page.sees("#log .received:last-child", ": 3c 73 76 67 ");
    page.fill("#code", "4001");
    page.fill("#reason", "enough");
    page.click("#close");
    page.sees("#log", "closed: code 4001");
    page.sees("#ready-state", "3 (closed)");
    page.screenshot("console");

    // Bytes that are typed in, and received as a Blob, with a subprotocol.
    page.fill("#protocols", "other, echo");
    page.click("#connect");
    page.sees("#ready-state", "1 (open)");
    assert_eq!(page.text("#protocol"), "echo");
    page.choose("#kind", "hex");
    page.choose("#binary-type", "blob");
    page.fill("#text", "48 69 ff");
    page.click("#send");
    page.sees("#log .received:last-child", "Blob of 3 bytes: 48 69 ff");
    page.sees("#counts", "1 (3 bytes), 1 (3 bytes)");
    page.fill("#text", "4");
    page.click("#send");
    page.sees("#log .bad:last-child", "in pairs");
    page.click("#close");
    page.sees("#ready-state", "3 (closed)");
    assert_eq!(browser.complaints(), [""; 0]);

    // A path where no handler answers is a failure that says where to look.
    page.fill("#url", &server.page("nobody").replace("http", "ws"));
    page.click("#connect");
    page.sees("#log .bad:last-child", "the server's log says why");
}

pub(crate) fn the_benchmark_passes_messages_both_ways_in_the_window_and_in_a_worker(
    browser: &Browser,
) {
    let server = Server::with_pages().start();
    let page = browser.open(&server.page("benchmark.html"));
    for (field, value) in [
        ("#longest", "50000"),
        ("#bytes", "100000"),
        ("#sockets", "3"),
    ] {
        page.fill(field, value);
    }

    page.click("#start");
    page.sees("#status", "Done.");
    page.choose("#place", "worker");
    page.click("#start");
    page.sees("#legend", "receive, worker, 3 sockets");
    page.sees("#status", "Done.");
    page.screenshot("benchmark");

    let series = [
        "send, window, 3 sockets",
        "receive, window, 3 sockets",
        "send, worker, 3 sockets",
        "receive, worker, 3 sockets",
    ];
    assert_eq!(page.texts("#legend li"), series);
    // 10,240, 20,480 and 40,960 bytes each.
    assert_eq!(page.count("#results tr"), 12);
    assert_eq!(page.count("#plot circle"), 12);
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn the_benchmark_passes_its_longest_messages(browser: &Browser) {
    let server = Server::with_pages().start();
    let page = browser.open(&server.page("benchmark.html"));
    for field in ["#shortest", "#longest", "#bytes"] {
        page.fill(field, "102400000");
    }

    page.click("#start");
    page.sees("#legend", "receive, window, 1 socket");
    page.sees("#status", "Done.");

    // One message each way, after one that is not measured.
    assert_eq!(page.count("#results tr"), 2);
    let [bytes_in, _] = server.bytes_in_and_out("/benchmark_helper");
    assert!(bytes_in > 2 * 102_400_000, "{bytes_in} bytes in");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn the_pages_of_the_program_talk_to_its_handlers(browser: &Browser) {
    let server = Server::without_document_root().start();

    let page = browser.open(&server.page(""));
    page.sees("#handlers", "/echo");
    page.go_to(&server.page("first_handler.html"));
    page.fill("#name", "my_echo");
    page.sees("#make", "wshd new my_echo");
    page.sees("#code", "wsh::handler!(MyEcho);");
    page.choose("#style", "async");
    page.sees("#make", "wshd new my_echo --style async");
    page.fill("#name", "echo");
    page.click("#connect");
    page.sees("#state[data-state=open]", "connected");
    page.click("#send");
    page.sees("#log .received", "world");
    page.screenshot("first-handler");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn no_page_of_the_program_breaks_its_content_policy(browser: &Browser) {
    let server = Server::without_document_root().start();
    for (name, element, shown) in [
        ("", "#handlers", "/echo"),
        ("console.html", "#ready-state", "no socket"),
        ("benchmark.html", "#plot", ""),
        ("chat.html?name=ann", "#people", "ann (you)"),
        ("tutorial.html", "#source", "new WebSocket"),
        ("first_handler.html", "#code", "wsh::handler!"),
    ] {
        let page = browser.open(&server.page(name));
        page.sees(element, shown);
        assert_eq!(browser.complaints(), [""; 0], "{name}");
        page.close();
    }

    // What the policy forbids is noticed, and does not happen.
    let page = browser.open(&server.page(""));
    let script = "
        const script = document.createElement('script');
        script.textContent = 'globalThis.hasRun = true';
        const image = new Image();
        image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
        document.body.append(script, image);
        await new Promise((resolve) => (image.onerror = resolve));
        return globalThis.hasRun ?? false;";
    assert_eq!(page.run(script, json!(null)), false);
    let complaints = browser.complaints().join("\n");
    for part in ["script-src-elem forbids inline", "img-src forbids data"] {
        assert!(complaints.contains(part), "`{part}` in {complaints}");
    }
}

pub(crate) fn a_page_from_a_file_is_refused_until_its_origin_or_its_handler_allows_it(
    browser: &Browser,
) {
    let file = |server: &Server, name| {
        format!(
            "file://{}?server=localhost:{}",
            page_file(name).display(),
            server.port()
        )
    };

    let server = Server::with_pages().start();
    // `echo_wsh` judges origins itself.
    let page = browser.open(&file(&server, "tutorial.html"));
    page.sees(".notice", "This page was opened from a file");
    page.click("#run");
    shows_its_alerts(&page);
    // `chat_wsh` leaves origins to the server.
    page.go_to(&file(&server, "chat.html"));
    page.click("#join");
    let line = server.line(&["origin refused"]);
    page.screenshot("from-a-file");
    let setting = line
        .split("to allow it: ")
        .nth(1)
        .and_then(|it| it.split(" above the first table of /").next());
    let setting = setting.unwrap_or_else(|| panic!("no setting in `{line}`"));
    assert_eq!(setting, r#"origins = ["same-host", "null"]"#);

    let server = Server::with_pages().config(setting).start();
    page.go_to(&file(&server, "chat.html"));
    page.click("#join");
    page.sees("#people", "guest (you)");

    // The server's own pages are still accepted.
    page.go_to(&server.page("chat.html?name=ann"));
    page.sees("#people", "ann (you)");
}

pub(crate) fn the_pages_work_under_every_name_of_this_machine(browser: &Browser) {
    let server = Server::with_pages().start();

    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let page = browser.open(&server.page_at(host, ""));
        page.sees("#handlers", "/echo");
        talk(&page, ECHO, host);
        page.sees(&format!("{ECHO} .received"), host);
    }
}

/// Connects a card of the index and sends a message.
pub(crate) fn talk(page: &Page<'_>, card: &str, message: &str) {
    page.click(&format!("{card} .connect"));
    page.sees(&format!("{card} .state[data-state=open]"), "connected");
    page.fill(&format!("{card} .message"), message);
    page.click(&format!("{card} .send"));
}

// The cards stand in the order of their paths.
pub(crate) const CHAT: &str = "#handlers > :nth-child(2)";
const CLOCK: &str = "#handlers > :nth-child(3)";
const ECHO: &str = "#handlers > :nth-child(4)";
const SLOW: &str = "#handlers > :nth-child(5)";
