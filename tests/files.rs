//! Which files below the document root are served, and which parts of them.

mod downloads;
mod forms;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use crate::harness::eventually;
use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;

/// Starts a server of the site's `www`.
fn serve(site: &Site) -> Server {
    let www = site.root().join("www");
    Server::builder(site).arg("-d").arg(www).start()
}

/// Returns the whole response to a request.
fn ask(server: &Server, method: &str, path: &str, lines: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    server.exchange(request.as_bytes())
}

/// Returns the value of a header line of a response.
fn line<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value)
}

#[test]
fn what_is_private_is_served_under_no_spelling() {
    let site = Site::with(&["features_wsh"]);
    site.write("secret.txt", "secret");
    for (file, text) in [
        ("www/index.html", "the index"),
        ("www/.env", "secret"),
        ("www/.git/config", "secret"),
        ("www/.well-known/security.txt", "well known"),
    ] {
        site.write(file, text);
    }
    let at = |name: &str| site.root().join("www").join(name);
    std::fs::copy(site.handlers().join("features_wsh.so"), at("x_wsh.so")).expect("copying");
    symlink(site.root().join("secret.txt"), at("out.txt")).expect("a link");
    symlink(at("index.html"), at("in.html")).expect("a link");
    symlink(at(".env"), at("env.txt")).expect("a link");
    symlink("/dev/zero", at("zero")).expect("a link");
    let made = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(made.expect("mkfifo, of coreutils, runs").success());
    let server = serve(&site);

    for path in [
        "/x_wsh.so",
        "/x_wsh.so%2f",
        "/x_wsh.so/.",
        "/x_wsh.so/",
        "/%78_wsh%2eso",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/out.txt",
        "/env.txt",
        "/zero",
        "/fifo",
    ] {
        let answer = ask(&server, "GET", path, "");
        assert_eq!(status_of(&answer), 404, "{path}: {answer}");
    }
    assert!(ask(&server, "GET", "/in.html", "").ends_with("the index"));
    assert!(ask(&server, "GET", "/.well-known/security.txt", "").ends_with("well known"));
}

#[test]
fn a_part_of_a_file_is_what_rfc_9110_says() {
    let site = Site::empty();
    site.write("www/ten", "0123456789");
    site.write("www/empty", "");
    let server = serve(&site);
    let whole = ask(&server, "GET", "/ten", "");
    let etag = line(&whole, "etag").expect("an entity tag");
    let modified = line(&whole, "last-modified").expect("a date");
    assert!(line(&whole, "date").is_some());

    let part = |lines: &str| {
        let answer = ask(&server, "GET", "/ten", lines);
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert_eq!(
            line(&answer, "content-length"),
            Some(&*body.len().to_string())
        );
        (status_of(&answer), body.to_owned())
    };
    let text = |status: u16, body: &str| (status, body.to_owned());
    assert_eq!(part("Range: bytes=2-4\r\n"), text(206, "234"));
    assert_eq!(part("Range: bytes=-3\r\n"), text(206, "789"));
    let current = format!("Range: bytes=2-4\r\nIf-Range: {etag}\r\n");
    assert_eq!(part(&current), text(206, "234"));
    let current = format!("Range: bytes=2-4\r\nIf-Range: {modified}\r\n");
    assert_eq!(part(&current), text(206, "234"));
    for lines in [
        "Range: bytes=2-4\r\nIf-Range: \"stale\"\r\n",
        "Range: bytes=2-4\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "Range: lines=2-4\r\n",
        "Range: bytes=0-1,4-5\r\n",
    ] {
        assert_eq!(part(lines), text(200, "0123456789"), "{lines}");
    }
    let answer = ask(&server, "GET", "/ten", "Range: bytes=10-\r\n");
    assert_eq!(status_of(&answer), 416);
    assert_eq!(line(&answer, "content-range"), Some("bytes */10"));
    let answer = ask(&server, "GET", "/empty", "Range: bytes=0-\r\n");
    assert_eq!(status_of(&answer), 416);
    assert_eq!(line(&answer, "content-range"), Some("bytes */0"));

    let not_modified = format!("If-None-Match: {etag}\r\n");
    let answer = ask(&server, "GET", "/ten", &not_modified);
    assert_eq!(status_of(&answer), 304);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = ask(&server, "HEAD", "/ten", "");
    assert_eq!(line(&answer, "content-length"), Some("10"));
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    for (method, status) in [
        ("POST", 405),
        ("DELETE", 405),
        ("get", 405),
        ("OPTIONS", 200),
    ] {
        let answer = ask(&server, method, "/ten", "");
        assert_eq!(status_of(&answer), status, "{method}");
        assert_eq!(line(&answer, "allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(status_of(&ask(&server, "OPTIONS", "/eleven", "")), 404);
}

#[test]
fn a_directory_leads_to_itself_and_to_no_other_host() {
    let site = Site::empty();
    site.write("www/sub/index.html", "of sub");
    let server = serve(&site);

    for path in ["/sub?x=1", "//sub?x=1", "///sub?x=1"] {
        let answer = ask(&server, "GET", path, "");
        assert_eq!(status_of(&answer), 301, "{path}");
        assert_eq!(line(&answer, "location"), Some("/sub/?x=1"), "{path}");
    }
    assert!(ask(&server, "GET", "//sub/", "").ends_with("of sub"));
    assert_eq!(
        status_of(&ask(&server, "GET", "//evil.example/%2e%2e", "")),
        404
    );
}

#[test]
fn a_directory_without_an_index_shows_no_names() {
    let site = Site::with(&["features_wsh"]);
    site.write("www/papers/private-draft.txt", "a draft");
    site.write("www/old/index.htm", "not looked for");
    let server = serve(&site);

    for path in ["/papers/", "/old/"] {
        let answer = ask(&server, "GET", path, "");
        assert_eq!(status_of(&answer), 404, "{answer}");
        assert!(!answer.contains("draft"), "{answer}");
    }
    assert!(ask(&server, "GET", "/papers/private-draft.txt", "").ends_with("a draft"));
}

#[test]
fn a_directory_is_listed_where_the_configuration_says_so() {
    let site = Site::with(&["features_wsh"]);
    site.write("config.toml", "directory_listings = true\n");
    for name in ["b & c.txt", "a.txt", ".hidden", "sub/index.html"] {
        site.write(&format!("www/papers/{name}"), "text");
    }
    let server = serve(&site);

    let answer = ask(&server, "GET", "/papers/?x=1", "");
    assert_eq!(status_of(&answer), 200);
    assert_eq!(
        line(&answer, "content-type"),
        Some("text/html; charset=utf-8")
    );
    let links = "<ul>\n<li><a href=\"../\">../</a></li>\n<li><a href=\"a.txt\">a.txt</a></li>\n\
                 <li><a href=\"b%20%26%20c.txt\">b &amp; c.txt</a></li>\n<li><a href=\"sub/\">sub/</a></li>\n</ul>\n";
    assert!(answer.ends_with(links), "{answer}");
    assert!(ask(&server, "HEAD", "/papers/", "").ends_with("\r\n\r\n"));
    assert_eq!(status_of(&ask(&server, "GET", "/papers", "")), 301);
    assert!(ask(&server, "GET", "/papers/sub/", "").ends_with("text"));
    assert_eq!(status_of(&ask(&server, "GET", "/nothing/", "")), 404);
}

#[test]
fn a_file_is_read_by_get_and_head_only_and_by_one_request_a_connection() {
    let site = Site::with(&["features_wsh"]);
    site.write("www/page.txt", "a page");
    let server = serve(&site);

    for method in ["POST", "PUT", "DELETE"] {
        let answer = ask(&server, method, "/page.txt", "");
        assert_eq!(status_of(&answer), 405, "{method}: {answer}");
        let allowed = line(&answer, "allow");
        assert_eq!(allowed, Some("GET, HEAD, OPTIONS"), "{method}");
    }
    assert_eq!(status_of(&ask(&server, "GET", "/page.txt/", "")), 404);
    let request = "GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    let answer = server.exchange(request.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(line(&answer, "connection"), Some("close"));
}

#[test]
fn a_client_that_closes_its_side_gets_its_file_whole() {
    let site = Site::empty();
    let text = "x".repeat(8 * 1024 * 1024);
    site.write("www/large", &text);
    let server = serve(&site);

    let mut stream = server.raw();
    write!(stream, "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    stream.shutdown(Shutdown::Write).expect("half of it closes");
    // A slow client gets its file as well.
    std::thread::sleep(Duration::from_millis(100));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");

    assert!(
        answer.ends_with(&format!("\r\n\r\n{text}")),
        "{}",
        answer.len()
    );
}

#[test]
fn a_document_root_that_is_not_there_is_said_at_start_by_check_and_on_reload() {
    let site = Site::with(&["echo_wsh"]);
    let gone = site.root().join("gone");
    let parts = [
        "cannot serve pages from `",
        "gone`: No such file or directory (os error 2)",
    ];
    let mut server = Server::builder(&site).arg("-d").arg(&gone).spawn();
    server.line(&parts);
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(1));

    let mut check = Server::builder(&site)
        .arg("-d")
        .arg(&gone)
        .arg("check")
        .spawn();
    check.line(&parts);
    assert_eq!(check.wait(Duration::from_secs(20)).code(), Some(1));

    site.write("www/index.html", "the index");
    site.write("config.toml", "document_root = \"www\"\n");
    let server = Server::start(&site);
    site.write("config.toml", "document_root = \"gone\"\n");
    server.line(&["no page is served until it is there", parts[0], parts[1]]);
    // The line comes before the change.
    eventually("the root is gone", || {
        status_of(&ask(&server, "GET", "/", "")) == 404
    });
    site.write("gone/index.html", "another index");
    eventually("the root is there again", || {
        ask(&server, "GET", "/", "").ends_with("another index")
    });
}

#[test]
fn a_server_without_a_document_root_shows_its_own_pages_unless_it_is_told_not_to() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    server.line(&["pages", "http://localhost:"]);

    let index = ask(&server, "GET", "/?a=b", "");
    assert_eq!(status_of(&index), 200, "{index}");
    assert!(index.ends_with("</html>\n"), "{index}");
    assert_eq!(line(&index, "Content-Type"), Some("text/html"));
    let policy = line(&index, "Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(line(&index, "Cache-Control"), Some("no-cache"));
    let known = format!(
        "If-None-Match: {}\r\n",
        line(&index, "ETag").expect("a tag")
    );
    let again = ask(&server, "GET", "/", &known);
    assert_eq!(
        (status_of(&again), line(&again, "Content-Length")),
        (304, None)
    );
    let head = ask(&server, "HEAD", "/style.css", "");
    assert_eq!(
        (status_of(&head), line(&head, "Content-Type")),
        (200, Some("text/css"))
    );
    assert!(head.ends_with("\r\n\r\n"), "{head}");

    // A page takes nothing from handlers, and an upgrade is never answered with one.
    assert_eq!(status_of(&ask(&server, "POST", "/", "")), 405);
    assert_eq!(status_of(&ask(&server, "GET", "/echo", "")), 426);
    assert_eq!(status_of(&ask(&server, "GET", "/other.html", "")), 404);
    assert_eq!(server.handshake_status("/"), 404);
    site.write("config.toml", "[routes]\n\"/\" = \"/echo\"\n");
    eventually("the handler answers at `/`", || {
        server.handshake_status("/") == 101
    });
    assert_eq!(status_of(&ask(&server, "GET", "/", "")), 426);
    assert_eq!(status_of(&ask(&server, "GET", "/index.html", "")), 200);

    site.write("config.toml", "pages = false\n");
    eventually("the pages are off", || {
        status_of(&ask(&server, "GET", "/index.html", "")) == 404
    });
}
