//! What pages show while their handlers and they themselves are written, under `wshd dev`.

use crate::browser::Browser;
use crate::eventually;
use crate::page::Page;
use crate::pages::talk;
use crate::server::Server;

pub(crate) fn a_page_shows_what_does_not_build_until_it_does_and_stays_connected(
    browser: &Browser,
) {
    let server = Server::dev();
    let page = browser.open(&server.page(""));
    page.sees("#handlers", "/cecho");
    talk(&page, CARD, "before");
    page.sees(&format!("{CARD} .received"), "before");
    assert_eq!(page.overlay(), "");

    server.save(|handler| format!("{handler}\n<b>no C</b>\n"));
    let html = shown_over(&page);
    assert!(html.contains("<h2>cecho_wsh does not build</h2>"), "{html}");
    assert!(html.contains("error: expected identifier"), "{html}");
    assert!(html.contains("&lt;b&gt;no C&lt;/b&gt;"), "{html}");
    assert!(
        !html.contains("<b>"),
        "what a compiler quotes is text: {html}"
    );
    page.screenshot("overlay");
    // Escape closes it, until there is news.
    page.press("\u{e00c}");
    assert_eq!(page.overlay(), "");
    server.save(|handler| format!("{handler}\nno C either\n"));
    let html = shown_over(&page);
    let place = "<button class=\"place\" title=\"copy\">./cecho.c:";
    assert!(
        html.contains("no C either") && html.contains(place),
        "{html}"
    );

    server.save(|handler| handler.replace("\"1.0\"", "\"1.1\""));
    let gone = || page.overlay().is_empty().then_some(());
    eventually("nothing over the page", gone);
    page.sees(&format!("{CARD} .log"), "generation 2 answers from now on");
    page.fill(&format!("{CARD} .message"), "after");
    page.click(&format!("{CARD} .send"));
    page.sees(&format!("{CARD} .received:last-child"), "after");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn a_saved_page_is_loaded_again_and_a_saved_handler_loads_no_page(browser: &Browser) {
    let server = Server::dev();
    let page = browser.open(&server.page(""));
    talk(&page, CARD, "before");
    page.sees(&format!("{CARD} .received"), "before");

    server.save(|handler| handler.replace("\"1.0\"", "\"1.1\""));
    page.sees(&format!("{CARD} .log"), "generation 2 answers from now on");
    // The open page still shows what was said before.
    page.sees(&format!("{CARD} .received"), "before");

    for change in ["first", "second"] {
        let news = format!("<p id=\"{change}\">{change} news</p>\n");
        server.save_page("index.html", |before| format!("{before}{news}"));
        page.sees(&format!("#{change}"), &format!("{change} news"));
    }
    page.sees("#handlers", "/cecho");
    assert_eq!(page.count(&format!("{CARD} .received")), 0);
    server.save_page("index.js", |before| {
        format!("{before}\ndocument.body.append('from the script');\n")
    });
    page.sees("body", "from the script");
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn over_tls_a_page_shows_what_does_not_build_too(browser: &Browser) {
    let server = Server::dev_tls();
    let page = browser.open(&server.page(""));
    talk(&page, CARD, "over TLS");
    page.sees(&format!("{CARD} .received"), "over TLS");

    server.save(|handler| format!("{handler}\nno C\n"));

    let html = shown_over(&page);
    assert!(html.contains("<h2>cecho_wsh does not build</h2>"), "{html}");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Waits until `wshd dev` shows something over the page, and returns its HTML.
fn shown_over(page: &Page<'_>) -> String {
    let shown = || Some(page.overlay()).filter(|html| !html.is_empty());
    eventually("the error over the page", shown)
}

/// The only handler.
const CARD: &str = "#handlers > :nth-child(1)";
