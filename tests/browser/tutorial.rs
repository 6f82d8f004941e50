//! The tutorial page: as the server shows it, and as a reader saves it and opens the file.

use std::fs;

use crate::browser::Browser;
use crate::page::Page;
use crate::server::Server;

pub(crate) fn run_websocket_shows_its_alerts_in_order(browser: &Browser) {
    let server = Server::with_pages().start();
    let page = browser.open(&server.page("tutorial.html"));

    page.click("#run");

    shows_its_alerts(&page);
    page.sees("#report", "received: Message to send");
    page.sees("#report", "closed, code 1005");
    // The page that a reader saves names this server, and reports to no list of this page.
    let source = page.text("#source");
    let socket = format!("new WebSocket(\"ws://localhost:{}/echo\")", server.port());
    assert!(source.contains(&socket), "{source}");
    assert!(!source.contains("report"), "{source}");
    page.screenshot("tutorial");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn the_saved_page_works_from_a_file_and_goodbye_ends_its_connection(browser: &Browser) {
    let server = Server::with_pages().start();
    let page = browser.open(&server.page("tutorial.html"));
    let source = page.text("#source");
    let file = server.directory().join("websocket.html");
    fs::write(&file, &source).expect("saving the page");

    page.go_to(&format!("file://{}", file.display()));
    page.click("a");

    shows_its_alerts(&page);
    server.line(&["session closed", "path=/echo", "code=1005"]);

    // The handler sends `Goodbye` back and closes then; the page does not.
    let goodbye = source
        .replace("Message to send", "Goodbye")
        .replace("ws.close();", "")
        .replace(
            "alert(\"Message is received",
            "alert(received + \" is received",
        )
        .replace(
            "alert(\"Connection is closed",
            "alert(event.code + event.reason + \" is closed",
        );
    fs::write(&file, goodbye).expect("saving the page");
    page.go_to(&format!("file://{}?again", file.display()));
    page.click("a");
    shows_alerts(&page, "Goodbye is received...", "1000 is closed...");
    server.line(&["session closed", "path=/echo", "code=1000"]);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Asserts that the four alerts of the tutorial come in their order.
pub(crate) fn shows_its_alerts(page: &Page<'_>) {
    shows_alerts(page, "Message is received...", "Connection is closed...");
}

fn shows_alerts(page: &Page<'_>, received: &str, closed: &str) {
    for said in [
        "WebSocket is supported by your Browser!",
        "Message is sent...",
        received,
        closed,
    ] {
        assert_eq!(page.alert(), said);
    }
}
