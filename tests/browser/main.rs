//! The pages of handlers/www in a headless Chromium, against a real `wshd` with the real handlers.
//!
//! `cargo test -p browser`, with `apt-get install chromium chromium-driver` before it. To see what
//! the browser saw: `BROWSER_SCREENSHOTS=target/screenshots cargo test -p browser`.

mod artifacts;
mod browser;
mod chat;
mod server;

use std::time::{Duration, Instant};

use artifacts::page_file;
use browser::Browser;
use server::Server;

#[tokio::test]
async fn the_index_lists_the_handlers_and_talks_to_them() {
    let server = Server::start().await;
    let browser = Browser::start().await;

    browser.open(&server.page("localhost", "")).await;

    browser.sees("#handlers", "/slow").await;
    for (index, path) in ["/benchmark_helper", "/chat", "/clock", "/echo", "/slow"]
        .iter()
        .enumerate()
    {
        let card = format!("#handlers > :nth-child({})", index + 1);
        assert_eq!(browser.text(&format!("{card} .path")).await, *path);
        assert_eq!(
            browser.text(&format!("{card} .generation")).await,
            "generation 1"
        );
    }
    assert_eq!(browser.count("#handlers > *").await, 5);

    talk(&browser, ECHO, "hello").await;
    browser.sees(&format!("{ECHO} .received"), "hello").await;
    browser
        .sees(&format!("{ECHO} .sessions"), "1 session")
        .await;
    talk(&browser, SLOW, "600851475143").await;
    browser
        .sees(&format!("{SLOW} .received"), "71 × 839 × 1471 × 6857")
        .await;
    browser.click(&format!("{CLOCK} .connect")).await;
    browser
        .sees(&format!("{CLOCK} .received:nth-of-type(2)"), "Z")
        .await;
    browser.screenshot("index").await;

    browser.click(&format!("{ECHO} .connect")).await;
    browser
        .sees(&format!("{ECHO} .log"), "closed: code 1000, clean")
        .await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn run_websocket_shows_its_alerts_in_order() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser
        .open(&server.page("localhost", "tutorial.html"))
        .await;

    browser.click("#run").await;

    assert_eq!(
        browser.alert().await,
        "WebSocket is supported by your Browser!"
    );
    assert_eq!(browser.alert().await, "Message is sent...");
    assert_eq!(browser.alert().await, "Message is received...");
    assert_eq!(browser.alert().await, "Connection is closed...");
    browser.sees("#report", "received: Message to send").await;
    // The page that a reader saves names this server, and reports to no list of this page.
    let source = browser.text("#source").await;
    let socket = format!("new WebSocket(\"ws://localhost:{}/echo\")", server.port());
    assert!(source.contains(&socket), "{source}");
    assert!(!source.contains("report"), "{source}");
    browser.screenshot("tutorial").await;
}

#[tokio::test]
async fn the_console_shows_what_the_browser_sees() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser
        .open(&server.page("localhost", "console.html"))
        .await;

    browser.click("#connect").await;
    browser.sees("#ready-state", "1 (open)").await;
    browser.fill("#text", "over the wire").await;
    browser.click("#send").await;
    browser.sees("#log .received", "over the wire").await;
    browser
        .fill(
            "#file",
            page_file("icon.svg").to_str().expect("a path in UTF-8"),
        )
        .await;
    browser.click("#send-file").await;
    browser.sees("#log .received:last-child", "binary, ").await;
    browser
        .sees("#log .received:last-child", ": 3c 73 76 67 ")
        .await;
    browser.fill("#code", "4001").await;
    browser.fill("#reason", "enough").await;
    browser.click("#close").await;
    browser.sees("#log", "closed: code 4001").await;
    browser.sees("#ready-state", "3 (closed)").await;
    browser.screenshot("console").await;

    // Bytes that are typed in, and received as a Blob.
    browser.click("#connect").await;
    browser.sees("#ready-state", "1 (open)").await;
    browser.choose("#kind", "hex").await;
    browser.choose("#binary-type", "blob").await;
    browser.fill("#text", "48 69 ff").await;
    browser.click("#send").await;
    browser
        .sees("#log .received:last-child", "Blob of 3 bytes: 48 69 ff")
        .await;
    browser.sees("#counts", "1 (3 bytes), 1 (3 bytes)").await;
    browser.fill("#text", "4").await;
    browser.click("#send").await;
    browser.sees("#log .bad:last-child", "in pairs").await;
    browser.click("#close").await;
    browser.sees("#ready-state", "3 (closed)").await;

    // A path where no handler answers is a failure that says where to look.
    browser
        .fill(
            "#url",
            &server.page("localhost", "nobody").replace("http", "ws"),
        )
        .await;
    browser.click("#connect").await;
    browser
        .sees("#log .bad:last-child", "the server's log says why")
        .await;
}

#[tokio::test]
async fn the_benchmark_passes_messages_both_ways_in_the_window_and_in_a_worker() {
    let server = Server::start().await;
    let browser = Browser::start().await;
    browser
        .open(&server.page("localhost", "benchmark.html"))
        .await;
    for (field, value) in [
        ("#longest", "50000"),
        ("#bytes", "100000"),
        ("#sockets", "3"),
    ] {
        browser.fill(field, value).await;
    }

    browser.click("#start").await;
    browser.sees("#status", "Done.").await;
    browser.choose("#place", "worker").await;
    browser.click("#start").await;
    browser.sees("#legend", "receive, worker, 3 sockets").await;
    browser.sees("#status", "Done.").await;
    browser.screenshot("benchmark").await;

    let series = [
        "send, window, 3 sockets",
        "receive, window, 3 sockets",
        "send, worker, 3 sockets",
        "receive, worker, 3 sockets",
    ];
    assert_eq!(browser.texts("#legend li").await, series);
    // 10,240, 20,480 and 40,960 bytes each.
    assert_eq!(browser.count("#results tr").await, 12);
    assert_eq!(browser.count("#plot circle").await, 12);
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn the_pages_of_the_program_talk_to_its_handlers() {
    let server = Server::without_document_root().await;
    let browser = Browser::start().await;

    browser.open(&server.page("localhost", "")).await;
    browser.sees("#handlers", "/echo").await;
    browser
        .open(&server.page("localhost", "first_handler.html"))
        .await;
    browser.fill("#name", "my_echo").await;
    browser.sees("#make", "wshd new my_echo").await;
    browser.sees("#code", "wsh::handler!(MyEcho);").await;
    browser.choose("#style", "async").await;
    browser
        .sees("#make", "wshd new my_echo --style async")
        .await;
    browser.fill("#name", "echo").await;
    browser.click("#connect").await;
    browser.sees("#state", "connected").await;
    browser.click("#send").await;
    browser.sees("#log .received", "world").await;
    browser.screenshot("first-handler").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_page_from_a_file_is_refused_until_its_origin_or_its_handler_allows_it() {
    let browser = Browser::start().await;
    let page = |server: &Server, name| {
        format!(
            "file://{}?server=localhost:{}",
            page_file(name).display(),
            server.port()
        )
    };

    let server = Server::start().await;
    // `echo_wsh` judges origins itself.
    browser.open(&page(&server, "tutorial.html")).await;
    browser
        .sees(".notice", "This page was opened from a file")
        .await;
    browser.click("#run").await;
    for said in [
        "WebSocket is supported by your Browser!",
        "Message is sent...",
        "Message is received...",
        "Connection is closed...",
    ] {
        assert_eq!(browser.alert().await, said);
    }
    // `chat_wsh` leaves origins to the server.
    browser.open(&page(&server, "chat.html")).await;
    browser.click("#join").await;
    let line = server.line(&["origin refused"]).await;
    browser.screenshot("from-a-file").await;
    let setting = line
        .split("to allow it: ")
        .nth(1)
        .and_then(|it| it.split(" above the first table of /").next());
    let setting = setting.unwrap_or_else(|| panic!("no setting in `{line}`"));
    assert_eq!(setting, r#"origins = ["same-host", "null"]"#);

    let server = Server::with_config(setting).await;
    browser.open(&page(&server, "chat.html")).await;
    browser.click("#join").await;
    browser.sees("#people", "guest (you)").await;

    // The server's own pages are still accepted.
    browser
        .open(&server.page("localhost", "chat.html?name=ann"))
        .await;
    browser.sees("#people", "ann (you)").await;
}

#[tokio::test]
async fn the_pages_work_under_every_name_of_this_machine() {
    let server = Server::start().await;
    let browser = Browser::start().await;

    for host in ["localhost", "127.0.0.1", "[::1]"] {
        browser.open(&server.page(host, "")).await;
        browser.sees("#handlers", "/echo").await;
        talk(&browser, ECHO, host).await;
        browser.sees(&format!("{ECHO} .received"), host).await;
    }
}

#[tokio::test]
async fn a_page_shows_what_does_not_build_until_it_does_and_stays_connected() {
    let server = Server::dev().await;
    let browser = Browser::start().await;
    browser.open(&server.page("localhost", "")).await;
    browser.sees("#handlers", "/cecho").await;
    let card = "#handlers > :nth-child(1)";
    talk(&browser, card, "before").await;
    browser.sees(&format!("{card} .received"), "before").await;
    assert_eq!(browser.overlay().await, "");

    server.save(|handler| format!("{handler}\n<b>no C</b>\n"));
    let shown = async || Some(browser.overlay().await).filter(|html| !html.is_empty());
    let html = eventually("the error over the page", shown).await;
    assert!(html.contains("<h2>cecho_wsh does not build</h2>"), "{html}");
    assert!(html.contains("error: expected identifier"), "{html}");
    assert!(html.contains("&lt;b&gt;no C&lt;/b&gt;"), "{html}");
    assert!(
        !html.contains("<b>"),
        "what a compiler quotes is text: {html}"
    );
    browser.screenshot("overlay").await;
    // Escape closes it, until there is news.
    browser.press("\u{e00c}").await;
    assert_eq!(browser.overlay().await, "");
    server.save(|handler| format!("{handler}\nno C either\n"));
    let html = eventually("the next error over the page", shown).await;
    let place = "<button class=\"place\" title=\"copy\">./cecho.c:";
    assert!(
        html.contains("no C either") && html.contains(place),
        "{html}"
    );

    server.save(|handler| handler.replace("\"1.0\"", "\"1.1\""));
    let gone = async || browser.overlay().await.is_empty().then_some(());
    eventually("nothing over the page", gone).await;
    browser
        .sees(&format!("{card} .log"), "generation 2 answers from now on")
        .await;
    browser.fill(&format!("{card} .message"), "after").await;
    browser.click(&format!("{card} .send")).await;
    browser
        .sees(&format!("{card} .received:last-child"), "after")
        .await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_saved_page_is_loaded_again_and_a_saved_handler_loads_no_page() {
    let server = Server::dev().await;
    let browser = Browser::start().await;
    browser.open(&server.page("localhost", "")).await;
    let card = "#handlers > :nth-child(1)";
    talk(&browser, card, "before").await;
    browser.sees(&format!("{card} .received"), "before").await;

    server.save(|handler| handler.replace("\"1.0\"", "\"1.1\""));
    browser
        .sees(&format!("{card} .log"), "generation 2 answers from now on")
        .await;
    // The open page still shows what was said before.
    browser.sees(&format!("{card} .received"), "before").await;

    for (page, change) in [("index.html", "first"), ("index.html", "second")] {
        let news = format!("<p id=\"{change}\">{change} news</p>\n");
        server.save_page(page, |before| format!("{before}{news}"));
        browser
            .sees(&format!("#{change}"), &format!("{change} news"))
            .await;
    }
    browser.sees("#handlers", "/cecho").await;
    assert_eq!(browser.count(&format!("{card} .received")).await, 0);
    server.save_page("index.js", |before| {
        format!("{before}\ndocument.body.append('from the script');\n")
    });
    browser.sees("body", "from the script").await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// Connects a card of the index and sends a message.
async fn talk(browser: &Browser, card: &str, message: &str) {
    browser.click(&format!("{card} .connect")).await;
    browser.sees(&format!("{card} .state"), "connected").await;
    browser.fill(&format!("{card} .message"), message).await;
    browser.click(&format!("{card} .send")).await;
}

/// Waits until `find` finds something, and fails with `what` if it does not in twenty seconds.
async fn eventually<T>(what: &str, find: impl AsyncFnMut() -> Option<T>) -> T {
    within(Duration::from_secs(20), what, find).await
}

/// Waits until `find` finds something, and fails with `what` if it does not within `limit`.
async fn within<T>(limit: Duration, what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(began.elapsed() < limit, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// The cards stand in the order of their paths.
const CHAT: &str = "#handlers > :nth-child(2)";
const CLOCK: &str = "#handlers > :nth-child(3)";
const ECHO: &str = "#handlers > :nth-child(4)";
const SLOW: &str = "#handlers > :nth-child(5)";
