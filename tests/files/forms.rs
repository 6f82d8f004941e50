//! Compressed forms of files, what caches are told, and the page for what is not there.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::{ask, line, serve};
use crate::harness::server::status_of;
use crate::harness::site::Site;

/// A site with a script and its compressed forms, which are no older.
fn site() -> Site {
    let site = Site::empty();
    for (file, text) in [
        ("www/app.js", "the script itself"),
        ("www/app.js.br", "brotli"),
        ("www/app.js.gz", "gzipped!"),
        ("www/other.js", "another script"),
        ("www/index.html", "the index"),
    ] {
        site.write(file, text);
    }
    site
}

#[test]
fn a_client_gets_the_compressed_form_that_it_takes() {
    let site = site();
    let server = serve(&site);
    let get = |path: &str, takes: &str| {
        ask(
            &server,
            "GET",
            path,
            &format!("Accept-Encoding: {takes}\r\n"),
        )
    };

    for (takes, body, coding) in [
        ("gzip, deflate, br, zstd", "brotli", Some("br")),
        ("gzip", "gzipped!", Some("gzip")),
        ("zstd", "the script itself", None),
        ("br;q=0, gzip;q=0", "the script itself", None),
    ] {
        let answer = get("/app.js", takes);
        assert!(
            answer.ends_with(&format!("\r\n\r\n{body}")),
            "{takes}: {answer}"
        );
        assert_eq!(line(&answer, "content-encoding"), coding, "{takes}");
        assert_eq!(line(&answer, "content-type"), Some("text/javascript"));
        assert_eq!(line(&answer, "vary"), Some("Accept-Encoding"), "{takes}");
    }
    // Where there is no other form, caches need not tell clients apart.
    assert_eq!(line(&get("/other.js", "br"), "vary"), None);
    // A compressed form that is asked for by its own name is a file like another.
    let own = get("/app.js.gz", "gzip");
    assert_eq!(line(&own, "content-encoding"), None);
    assert!(own.ends_with("gzipped!"));
}

#[test]
fn each_form_of_a_file_is_a_version_of_its_own() {
    let site = site();
    let server = serve(&site);
    let plain = ask(&server, "GET", "/app.js", "");
    let packed = ask(&server, "GET", "/app.js", "Accept-Encoding: br\r\n");
    let [plain, packed] = [&plain, &packed].map(|it| line(it, "etag").expect("a tag"));
    assert_ne!(plain, packed);

    let known = |tag: &str| {
        let lines = format!("Accept-Encoding: br\r\nIf-None-Match: {tag}\r\n");
        status_of(&ask(&server, "GET", "/app.js", &lines))
    };
    assert_eq!([known(packed), known(plain)], [304, 200]);
    let part = ask(
        &server,
        "GET",
        "/app.js",
        "Accept-Encoding: br\r\nRange: bytes=0-1\r\n",
    );
    assert_eq!(
        (status_of(&part), line(&part, "content-range")),
        (206, Some("bytes 0-1/6"))
    );
    assert!(part.ends_with("\r\n\r\nbr"), "{part}");
}

#[test]
fn a_compressed_form_of_an_earlier_version_is_not_used() {
    let site = site();
    let server = serve(&site);
    let later = SystemTime::now() + Duration::from_secs(60);
    let script = File::options()
        .append(true)
        .open(site.root().join("www/app.js"))
        .expect("the script");
    script.set_modified(later).expect("its time");

    let answer = ask(&server, "GET", "/app.js", "Accept-Encoding: br, gzip\r\n");

    assert!(answer.ends_with("the script itself"), "{answer}");
    assert_eq!(line(&answer, "content-encoding"), None);
}

#[test]
fn a_compressed_form_that_lies_outside_the_root_is_not_used() {
    let site = Site::empty();
    site.write("www/app.js", "the script itself");
    site.write("outside.br", "secret");
    std::os::unix::fs::symlink(
        site.root().join("outside.br"),
        site.root().join("www/app.js.br"),
    )
    .expect("a link");
    let server = serve(&site);

    let answer = ask(&server, "GET", "/app.js", "Accept-Encoding: br\r\n");

    assert!(answer.ends_with("the script itself"), "{answer}");
}

#[test]
fn caches_ask_each_time_unless_the_configuration_lets_them_keep_what_is_no_page() {
    let site = site();
    let server = serve(&site);
    for path in ["/app.js", "/"] {
        assert_eq!(
            line(&ask(&server, "GET", path, ""), "cache-control"),
            Some("no-cache"),
            "{path}"
        );
    }

    site.write(
        "config.toml",
        "files_max_age_s = 86400\nbasic_auth_credential = \"ann:tea\"\n",
    );
    let server = serve(&site);
    // Of ann, who says her password.
    let get = |path: &str| {
        ask(
            &server,
            "GET",
            path,
            "Authorization: Basic YW5uOnRlYQ==\r\n",
        )
    };
    assert_eq!(
        line(&get("/app.js"), "cache-control"),
        Some("private, max-age=86400")
    );
    assert_eq!(line(&get("/"), "cache-control"), Some("private, no-cache"));
}

#[test]
fn the_page_for_what_is_not_there_is_that_of_the_document_root() {
    let site = Site::with(&["features_wsh"]);
    site.write("www/404.html", "<p>gone fishing</p>");
    let server = serve(&site);

    let answer = ask(&server, "GET", "/nothing/here", "");
    assert_eq!(status_of(&answer), 404);
    assert_eq!(line(&answer, "content-type"), Some("text/html"));
    assert!(answer.ends_with("<p>gone fishing</p>"), "{answer}");
    assert!(ask(&server, "HEAD", "/nothing", "").ends_with("\r\n\r\n"));

    // What asks for a WebSocket is told in a line.
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = ask(&server, "GET", "/nothing", upgrade);
    assert_eq!(status_of(&answer), 404);
    assert!(!answer.contains("fishing"), "{answer}");
}
