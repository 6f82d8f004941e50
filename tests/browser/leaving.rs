//! A page that goes away: the server hears it, other pages do not, and the page works when it comes back.

use serde_json::json;

use crate::browser::Browser;
use crate::program::Kind;
use crate::server::Server;

pub(crate) fn a_window_that_closes_says_1001_and_the_other_stays_connected(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let script = "
        globalThis.heard = await new Heard(given).opened();
        heard.socket.send('here');
        return heard.message();";
    let [first, second] = ["/echo?first", "/echo?second"].map(|path| {
        let page = browser.open(&server.blank());
        assert_eq!(page.run(script, json!(path)), "here");
        page
    });

    first.close();

    server.line(&["session closed", "code=1001"]);
    let still = "heard.socket.send('still'); return heard.message();";
    assert_eq!(second.run(still, json!(null)), "still");
    assert_eq!(server.count("session closed"), 1);
}

pub(crate) fn a_reader_who_leaves_the_chat_is_no_member_and_is_one_again_after_coming_back(
    browser: &Browser,
) {
    let server = Server::with_pages().start();
    let chat = |name: &str| server.page(&format!("chat.html?room=tea&name={name}"));
    let ben = browser.open(&chat("ben"));
    ben.sees("#people", "ben (you)");
    let page = browser.open(&chat("ann"));
    page.sees("#people", "ann (you)");

    page.go_to(&server.page("console.html"));
    ben.sees("#log", "ann left");
    let code = match browser.kind {
        // The page is kept for a while and has to close itself.
        Kind::Chromium => "code=1005",
        Kind::Firefox => "code=1001",
    };
    server.line(&["session closed", "path=/chat", code]);

    page.go_back();
    page.sees("#state", "in tea");
    page.sees("#people", "ann (you)");
    page.fill("#text", "back again");
    page.click("#send");
    ben.sees("#log", "ann back again");
    assert_eq!(browser.complaints(), [""; 0]);
}
