//! A page of a public address, and a server on its reader's machine: what Chromium asks its reader, and what the server is asked
//! and answers (Local Network Access). Firefox does not ask by default.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::artifacts::repository;
use crate::browser::Browser;
use crate::program::Kind;
use crate::server::Server;

pub(crate) fn a_page_from_elsewhere_connects_once_its_reader_agrees_and_its_origin_may(
    browser: &Browser,
) {
    let site = PublicSite::start();
    let server = server_for(&site.origin);
    let page = browser.open(&site.page("blank.html"));

    if browser.kind == Kind::Chromium {
        // The headless browser has no reader whom it could ask.
        assert_eq!(page.run(TRY, json!(server.port())), json!(["close", "no"]));
        assert_eq!(
            server.count("path=/clock"),
            0,
            "the server was asked nothing"
        );
        browser.permit("loopback-network", &site.origin, "denied");
        assert_eq!(page.run(TRY, json!(server.port())), json!(["close", "no"]));
        assert_eq!(
            server.count("path=/clock"),
            0,
            "the server was asked nothing"
        );
        browser.permit("loopback-network", &site.origin, "granted");
    }
    assert_eq!(
        page.run(TRY, json!(server.port())),
        json!(["open", "alive\n"])
    );
    server.line(&["session closed", "path=/clock"]);

    // Of a server that does not name the page it gets nothing, whatever its reader says.
    let other = server_for("https://example.com");
    assert_eq!(page.run(TRY, json!(other.port())), json!(["close", "no"]));
    other.line(&["handshake refused", "path=/clock", "status=403"]);
}

pub(crate) fn the_console_says_that_the_browser_keeps_it_from_this_machine(browser: &Browser) {
    if browser.kind != Kind::Chromium {
        return;
    }
    let site = PublicSite::start();
    let server = server_for(&site.origin);
    let page = browser.open(&site.page("console.html"));
    let url = format!("ws://127.0.0.1:{}/clock", server.port());

    browser.permit("loopback-network", &site.origin, "denied");
    page.fill("#url", &url);
    page.click("#connect");
    page.sees(
        "#log .bad:last-child",
        "this browser keeps the page from this machine",
    );

    browser.permit("loopback-network", &site.origin, "granted");
    page.click("#connect");
    page.sees("#ready-state", "1 (open)");
}

fn server_for(origin: &str) -> Server {
    let config = format!("origins = [{origin:?}]\n");
    Server::of(&["clock_wsh"]).config(&config).start()
}

/// A server that says of its pages that they are of a public address, which Chromium believes.
struct PublicSite {
    origin: String,
}

impl PublicSite {
    /// Answers until the tests end.
    fn start() -> PublicSite {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it listens");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A browser opens connections in advance, which say nothing.
                std::thread::spawn(move || answer(stream));
            }
        });
        PublicSite {
            origin: format!("http://localhost:{}", address.port()),
        }
    }

    fn page(&self, name: &str) -> String {
        format!("{}/{name}", self.origin)
    }
}

/// Answers one request with a file of the pages.
fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let _head = lines.take_while(|line| !line.is_empty()).count();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let folders = ["tests/browser/www", "handlers/www"].map(|it| repository().join(it));
    let name = path.trim_start_matches('/');
    let file = folders.iter().map(|folder| folder.join(name));
    let found = file.filter_map(|file| std::fs::read(file).ok()).next();
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        _ => "text/html",
    };
    let status = if found.is_some() {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let body = found.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Content-Security-Policy: treat-as-public-address\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A browser may have gone.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

impl Browser {
    /// Says what the reader of pages of this origin answers when they ask for something.
    fn permit(&self, name: &str, origin: &str, state: &str) {
        let permission = json!({
            "descriptor": { "name": name },
            "state": state,
            "origin": origin,
            "userContext": self.user(),
        });
        let done = self.command("permissions.setPermission", permission);
        assert_eq!(done, Value::Object(serde_json::Map::new()));
    }
}

/// Whether a WebSocket opens, and what the page reads of the server's health.
const TRY: &str = "
    const heard = new Heard(`ws://127.0.0.1:${given}/clock`);
    while (!heard.kinds.includes('open') && !heard.kinds.includes('close')) {
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
    heard.socket.close();
    const health = fetch(`http://127.0.0.1:${given}/.wshd/health`);
    return [heard.kinds.find((kind) => kind !== 'error'), await health.then((it) => it.text(), () => 'no')];";
