//! What `wshd dev` tells an open page.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::{BUILT, write_c};
use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;

/// The stream of events that an open page reads.
pub(super) struct Page(BufReader<TcpStream>);

impl Page {
    pub(super) fn open(server: &Server) -> Page {
        let mut stream = server.raw();
        stream
            .set_read_timeout(Some(BUILT))
            .expect("a timeout of its own");
        stream
            .write_all(b"GET /.wshd/dev HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("sending a request");
        Page(BufReader::new(stream))
    }

    /// Returns the next event about what does not build, as JSON.
    #[track_caller]
    pub(super) fn news(&mut self) -> String {
        self.event("message")
    }

    /// Returns the data of the next event of this kind.
    #[track_caller]
    pub(super) fn event(&mut self, wanted: &str) -> String {
        let mut kind = "message".to_owned();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line in time");
            assert_ne!(line, "", "the stream goes on");
            if let Some(named) = line.strip_prefix("event: ") {
                named.trim_end().clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ")
                && std::mem::replace(&mut kind, "message".to_owned()) == wanted
            {
                return data.trim_end().to_owned();
            }
        }
    }
}

fn get(server: &Server, path: &str) -> String {
    server.exchange(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

#[test]
fn a_handlers_own_page_wins_over_pages_of_a_file_that_was_found_and_no_others() {
    let site = Site::empty();
    site.write("mine/www/index.html", "tea\n");
    site.write("around/index.html", "around\n");
    let config = site.write("config.toml", "document_root = \"around\"\n");
    write_c(&site, "mine/tea.c", str::to_owned);
    let shown = |flags: &[&str], named: &str| {
        let server = Server::bare(&site).args(["dev", "mine", "-p", "0"]);
        let server = server.args(flags).env("WSHD_CONFIG", named).start();
        let page = get(&server, "/index.html");
        let (_, page) = page.split_once("\r\n\r\n").expect("a head");
        // After an edit, the file is read again as what it was.
        site.write(
            "config.toml",
            "document_root = \"around\"\nlog_level = \"debug\"\n",
        );
        server.line(&["configuration applied"]);
        site.write("config.toml", "document_root = \"around\"\n");
        let again = get(&server, "/index.html");
        assert!(again.ends_with(page), "{again}");
        page.lines().next().unwrap_or_default().to_owned()
    };

    assert_eq!(shown(&[], ""), "tea");
    assert_eq!(shown(&["--config", "config.toml"], ""), "around");
    assert_eq!(shown(&[], &config.to_string_lossy()), "around");
    assert_eq!(shown(&["-d", "around"], ""), "around");
}

#[test]
fn a_handler_without_pages_is_shown_by_those_of_the_program_which_listen_to_the_compiler() {
    let site = Site::empty();
    write_c(&site, "mine/tea.c", str::to_owned);

    let dev = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();

    dev.line(&["pages    http://localhost:"]);
    let page = get(&dev, "/");
    assert!(page.contains("<title>Handlers · wshd</title>"), "{page}");
    assert!(
        page.contains("</html>\n<script src=\"/.wshd/dev.js\""),
        "{page}"
    );
    assert!(page.ends_with("</script>\n"), "{page}");
}

#[test]
fn pages_listen_to_the_compiler_in_dev_and_nowhere_else() {
    let site = Site::empty();
    let page = "<!doctype html>\n<title>tea</title>\n";
    site.write("mine/www/index.html", page);
    site.write("mine/www/tea.js", "let tea;\n");
    write_c(&site, "mine/tea.c", str::to_owned);

    let dev = Server::bare(&site).args(["dev", "mine", "-p", "0"]).start();
    for path in ["/", "/index.html"] {
        let answer = get(&dev, path);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let pages = Page::open(&dev).event("pages");
        let script = format!("<script src=\"/.wshd/dev.js\" data-pages=\"{pages}\"></script>\n");
        assert_eq!(body, format!("{page}{script}"));
        let head = head.to_ascii_lowercase();
        let length = format!("content-length: {}", page.len() + script.len());
        assert!(head.contains(&length), "{head}");
        assert!(head.contains("cache-control: no-cache"), "{head}");
        assert!(!head.contains("last-modified"), "{head}");
    }
    // A browser may have an older copy of the page, and may ask for a part only.
    let again = dev.exchange(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-3\r\n\
          If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n\r\n",
    );
    assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
    assert!(get(&dev, "/tea.js").ends_with("\r\n\r\nlet tea;\n"));
    assert!(get(&dev, "/.wshd/dev.js").contains("EventSource"));
    assert_eq!(status_of(&get(&dev, "/.wshd/other")), 404);
    // A page of another site whose name leads here learns nothing of what the compiler says.
    for path in ["/", "/.wshd/dev", "/.wshd/dev.js", "/.wshd/handlers.json"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(status_of(&dev.exchange(request.as_bytes())), 421, "{path}");
    }
    // The pages change, and change back.
    let mut open = Page::open(&dev);
    let before = open.event("pages");
    site.write("mine/www/tea.js", "let milk;\n");
    let after = open.event("pages");
    assert_ne!(after, before);
    assert!(get(&dev, "/").contains(&format!("data-pages=\"{after}\"")));
    site.write("mine/www/tea.js", "let tea;\n");
    assert_eq!(open.event("pages"), before);
    drop(dev);

    let server = Server::builder(&site).args(["-d", "mine/www"]).start();
    assert!(get(&server, "/").ends_with(page));
    for path in ["/.wshd/dev", "/.wshd/dev.js"] {
        assert_eq!(status_of(&get(&server, path)), 404, "{path}");
    }
}
