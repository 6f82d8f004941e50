//! The page of the chat, over saves of its handler and a panic.

use crate::browser::Browser;
use crate::page::Page;
use crate::pages::CHAT;
use crate::server::{ROOMS, Server};

pub(crate) fn two_chat_pages_see_each_other(browser: &Browser) {
    let server = Server::with_pages().config(ROOMS).start();
    let room = |name: &str| server.page(&format!("chat.html?room=tea&name={name}"));
    let ann = browser.open(&room("ann"));
    ann.sees("#people", "ann (you)");
    say(&ann, "is anybody here?");
    ann.sees("#log", "ann is anybody here?");

    let ben = browser.open(&room("ben"));
    ben.sees("#people", "ben (you)");
    let index = browser.open(&server.page(""));
    index.sees(CHAT, "1 topic · 2 members · ");
    index.sees(CHAT, " of history");
    index.sees("#engine", "Engine local · ");
    index.sees("#engine", " of 64.0\u{a0}MiB for histories · ");
    index.screenshot("index-kept");
    assert_eq!(ben.text("#people"), "ann\nben (you)");
    ben.sees("#log .earlier", "ann is anybody here?");
    say(&ben, "<img src=x onerror=alert(1)> hello ann");
    ben.sees("#log", "ben <img src=x onerror=alert(1)> hello ann");
    ben.screenshot("chat");

    ann.sees("#log", "ben joined");
    ann.sees("#log", "ben <img src=x onerror=alert(1)> hello ann");
    assert_eq!(ann.count("#log img"), 0, "what ben wrote is text");
    assert_eq!(ann.text("#people"), "ann (you)\nben");

    // A second member with an equal name is shown as another one, and a member who leaves is announced.
    let second = browser.open(&room("ann"));
    second.sees("#log", "you are ann-");
    second.click("#leave");
    second.sees("#log", "closed: code 1000");
    ann.sees("#log", " left");
    assert_eq!(ann.text("#people"), "ann (you)\nben");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn a_room_outlives_saves_of_its_handler_and_a_panic_and_shows_nothing_twice(
    browser: &Browser,
) {
    let server = Server::dev_chat();
    let room = |name: &str| server.page(&format!("chat.html?room=tea&name={name}"));
    let ann = browser.open(&room("ann"));
    ann.sees("#people", "ann (you)");
    let ben = browser.open(&room("ben"));
    ben.sees("#people", "ben (you)");

    say(&ben, "one");
    ben.sees("#log", "ben one");
    let fragile = r#""panic" => panic!("on purpose"), "" => {}"#;
    server.save_chat(|chat| changed(chat, r#""" => {}"#, fragile));
    server.is_live(1);
    say(&ben, "two");
    ben.sees("#log", "ben two");
    assert_eq!(ben.count("#log .earlier"), 0, "still one session");

    ben.go_to(&room("ben"));
    ben.sees("#people", "ben (you)");
    shows(&ben, &["ben one", "ben two"], "ann\nben (you)");

    say(&ben, "panic");
    ben.sees("#state", "coming back");
    ben.sees("#state", "in tea");
    ben.sees("#people", "ben (you)");
    shows(&ben, &["ben one", "ben two"], "ann\nben (you)");

    server.save_chat(|chat| format!("{chat}\n// Saved once more.\n"));
    server.is_live(2);
    say(&ben, "three");
    ben.sees("#log", "ben three");
    let said = ["ben one", "ben two", "ben three"];
    shows(&ben, &said, "ann\nben (you)");
    ben.screenshot("chat-outlives");
    ann.sees("#log", "ben three");
    shows(&ann, &said, "ann (you)\nben");
    assert_eq!(ann.count("#log .earlier"), 0, "one session throughout");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Sends a line in the chat.
fn say(page: &Page<'_>, text: &str) {
    page.fill("#text", text);
    page.click("#send");
}

/// Asserts what was said in the room that the page shows, and the members.
fn shows(page: &Page<'_>, said: &[&str], people: &str) {
    assert_eq!(page.texts("#log .words"), said);
    assert_eq!(page.text("#people"), people);
}

/// A source with one of its lines changed.
fn changed(source: &str, from: &str, to: &str) -> String {
    assert_eq!(source.matches(from).count(), 1, "`{from}` is there once");
    source.replace(from, to)
}
