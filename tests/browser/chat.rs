//! The page of the chat, over saves of its handler and a panic.

use crate::CHAT;
use crate::browser::Browser;
use crate::server::{ROOMS, Server};

#[tokio::test]
async fn two_chat_pages_see_each_other() {
    let server = Server::with_config(ROOMS).await;
    let browser = Browser::start().await;
    browser
        .open(&server.page("localhost", "chat.html?room=tea&name=ann"))
        .await;
    browser.sees("#people", "ann (you)").await;
    say(&browser, "is anybody here?").await;
    browser.sees("#log", "ann is anybody here?").await;

    let ann = browser
        .open_beside(&server.page("localhost", "chat.html?room=tea&name=ben"))
        .await;
    browser.sees("#people", "ben (you)").await;
    let index = server.page("localhost", "");
    let ben = browser.open_beside(&index).await;
    browser.sees(CHAT, "1 topic · 2 members · ").await;
    browser.sees(CHAT, " of history").await;
    browser.sees("#engine", "Engine local · ").await;
    browser
        .sees("#engine", " of 64.0 MiB for histories · ")
        .await;
    browser.screenshot("index-kept").await;
    browser.switch_to(ben).await;
    assert_eq!(browser.text("#people").await, "ann\nben (you)");
    browser.sees("#log .earlier", "ann is anybody here?").await;
    say(&browser, "<img src=x onerror=alert(1)> hello ann").await;
    browser
        .sees("#log", "ben <img src=x onerror=alert(1)> hello ann")
        .await;
    browser.screenshot("chat").await;

    browser.switch_to(ann.clone()).await;
    browser.sees("#log", "ben joined").await;
    browser
        .sees("#log", "ben <img src=x onerror=alert(1)> hello ann")
        .await;
    assert_eq!(browser.count("#log img").await, 0, "what ben wrote is text");
    assert_eq!(browser.text("#people").await, "ann (you)\nben");

    // A second member with an equal name is shown as another one, and a member who leaves is announced.
    browser
        .open_beside(&server.page("localhost", "chat.html?room=tea&name=ann"))
        .await;
    browser.sees("#log", "you are ann-").await;
    browser.click("#leave").await;
    browser.sees("#log", "closed: code 1000").await;
    browser.switch_to(ann).await;
    browser.sees("#log", " left").await;
    assert_eq!(browser.text("#people").await, "ann (you)\nben");
    assert_eq!(browser.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_room_outlives_saves_of_its_handler_and_a_panic_and_shows_nothing_twice() {
    let server = Server::dev_chat().await;
    let browser = Browser::start().await;
    let page = |name: &str| server.page("localhost", &format!("chat.html?room=tea&name={name}"));
    browser.open(&page("ann")).await;
    browser.sees("#people", "ann (you)").await;
    let ann = browser.open_beside(&page("ben")).await;
    browser.sees("#people", "ben (you)").await;
    let ben = browser.window().await;

    say(&browser, "one").await;
    browser.sees("#log", "ben one").await;
    let fragile = r#""panic" => panic!("on purpose"), "" => {}"#;
    server.save_chat(|chat| changed(chat, r#""" => {}"#, fragile));
    server.is_live(1).await;
    say(&browser, "two").await;
    browser.sees("#log", "ben two").await;
    assert_eq!(browser.count("#log .earlier").await, 0, "still one session");

    browser.open(&page("ben")).await;
    browser.sees("#people", "ben (you)").await;
    shows(&browser, &["ben one", "ben two"], "ann\nben (you)").await;

    say(&browser, "panic").await;
    browser.sees("#state", "coming back").await;
    browser.sees("#state", "in tea").await;
    browser.sees("#people", "ben (you)").await;
    shows(&browser, &["ben one", "ben two"], "ann\nben (you)").await;

    server.save_chat(|chat| format!("{chat}\n// Saved once more.\n"));
    server.is_live(2).await;
    say(&browser, "three").await;
    browser.sees("#log", "ben three").await;
    let said = ["ben one", "ben two", "ben three"];
    shows(&browser, &said, "ann\nben (you)").await;
    browser.screenshot("chat-outlives").await;
    browser.switch_to(ann).await;
    browser.sees("#log", "ben three").await;
    shows(&browser, &said, "ann (you)\nben").await;
    assert_eq!(
        browser.count("#log .earlier").await,
        0,
        "one session throughout"
    );
    browser.switch_to(ben).await;
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// Sends a line in the chat.
async fn say(browser: &Browser, text: &str) {
    browser.fill("#text", text).await;
    browser.click("#send").await;
}

/// Asserts what was said in the room that the page shows, and the members.
async fn shows(browser: &Browser, said: &[&str], people: &str) {
    assert_eq!(browser.texts("#log .words").await, said);
    assert_eq!(browser.text("#people").await, people);
}

/// A source with one of its lines changed.
fn changed(source: &str, from: &str, to: &str) -> String {
    assert_eq!(source.matches(from).count(), 1, "`{from}` is there once");
    source.replace(from, to)
}
