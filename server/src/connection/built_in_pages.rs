//! The pages that are part of the program: what a server without a document root shows.
//!
//! They are the files of `handlers/www`. A path with a handler never leads to one of them.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::http::head::Head;
use crate::http::response::{NO_SNIFFING, ResponseHead};

/// A page, or a file that pages load.
#[derive(Debug)]
pub(super) struct BuiltInPage {
    /// The name below `/`.
    name: &'static str,
    bytes: &'static [u8],
}

/// The answer to a request for a page.
#[derive(Debug)]
pub(crate) struct PageAnswer {
    page: &'static BuiltInPage,
    /// What `wshd dev` adds at the end of a document.
    addition: Option<String>,
    etag: String,
    /// Whether the client has these bytes already.
    is_known: bool,
}

impl BuiltInPage {
    /// The page at `path`, which is percent-decoded and has no query.
    pub(super) fn at(path: &str) -> Option<&'static BuiltInPage> {
        let name = match path.strip_prefix('/')? {
            "" => INDEX,
            name => name,
        };
        PAGES.iter().find(|page| page.name == name)
    }

    /// The answer to the request with this head. A document gets `addition` at its end.
    pub(super) fn answer(&'static self, head: &Head, addition: Option<String>) -> PageAnswer {
        let addition = addition.filter(|_| self.kind() == "text/html");
        let etag = format!("\"{:016x}\"", xxh3_64(self.bytes));
        // Compared weakly (RFC 9110 §13.1.2). A document with an addition is never the known one.
        let is_same =
            |tag: &[u8]| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes();
        let is_known = addition.is_none() && head.elements("if-none-match").any(is_same);
        PageAnswer {
            page: self,
            addition,
            etag,
            is_known,
        }
    }

    fn kind(&self) -> &'static str {
        let kind = mime_guess::from_path(Path::new(self.name)).first_raw();
        kind.unwrap_or("application/octet-stream")
    }
}

impl PageAnswer {
    pub(super) fn status(&self) -> u16 {
        if self.is_known { 304 } else { 200 }
    }

    pub(super) fn content_type(&self) -> &'static str {
        self.page.kind()
    }

    /// Writes the header lines that pages have.
    pub(super) fn write_lines(&self, head: &mut ResponseHead) {
        // A cache asks each time, so a new version of the program never meets scripts of the old one.
        head.line("Cache-Control", "no-cache");
        if self.addition.is_none() {
            head.line("ETag", &self.etag);
        }
        head.line("Content-Security-Policy", CONTENT_POLICY);
        head.line(NO_SNIFFING.0, NO_SNIFFING.1);
        head.line("Referrer-Policy", "no-referrer");
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        let mut body = self.page.bytes.to_vec();
        body.extend_from_slice(self.addition.unwrap_or_default().as_bytes());
        body
    }
}

/// Pages of one file each, by their names in `handlers/www`.
macro_rules! pages {
    ($($name:literal)*) => {
        &[$(BuiltInPage {
            name: $name,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/packed/www/", $name)),
        },)*]
    };
}

const PAGES: &[BuiltInPage] = pages! {
    "index.html" "index.js"
    "console.html" "console.js"
    "chat.html" "chat.js"
    "benchmark.html" "benchmark.js" "benchmark_run.js"
    "tutorial.html" "tutorial.js"
    "first_handler.html" "first_handler.js"
    "wsh.js" "style.css" "icon.svg"
};
/// The page at `/`.
const INDEX: &str = "index.html";
/// Scripts and styles come from files of the server alone, and no other site can frame a page.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self' ws: wss:; worker-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    fn answer(path: &str, lines: &str, addition: Option<&str>) -> PageAnswer {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let head = Head::parse(text.into_bytes().into(), 10).expect("a head");
        let page = BuiltInPage::at(path).expect("a page");
        page.answer(&head, addition.map(str::to_owned))
    }

    #[test]
    fn every_file_of_the_pages_is_built_in() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../handlers/www");
        let files = std::fs::read_dir(directory).expect("the pages");
        let files = files.map(|entry| entry.expect("a page").file_name().into_string());
        let files: BTreeSet<String> = files.map(|name| name.expect("UTF-8")).collect();
        let built_in = PAGES.iter().map(|page| page.name.to_owned());
        assert_eq!(built_in.collect::<BTreeSet<_>>(), files);
    }

    #[test]
    fn a_page_lies_at_its_name_and_the_index_at_the_root_too() {
        for (path, found) in [
            ("/", Some("index.html")),
            ("/index.html", Some("index.html")),
            ("/style.css", Some("style.css")),
            ("/style.css/", None),
            ("//", None),
            ("", None),
            ("/../style.css", None),
            ("/Style.css", None),
        ] {
            assert_eq!(BuiltInPage::at(path).map(|page| page.name), found, "{path}");
        }
    }

    #[test]
    fn a_client_that_has_a_page_is_not_sent_it_again() {
        let etag = answer("/", "", None).etag;
        for (lines, addition, status) in [
            (String::new(), None, 200),
            (format!("If-None-Match: {etag}\r\n"), None, 304),
            (format!("If-None-Match: \"a\", W/{etag}\r\n"), None, 304),
            ("If-None-Match: *\r\n".to_owned(), None, 304),
            ("If-None-Match: \"a\"\r\n".to_owned(), None, 200),
            (format!("If-None-Match: {etag}\r\n"), Some("more"), 200),
        ] {
            let answer = answer("/", &lines, addition);
            assert_eq!(answer.status(), status, "{lines} {addition:?}");
        }
        assert_ne!(etag, answer("/style.css", "", None).etag);
    }

    #[test]
    fn documents_alone_get_what_wshd_dev_adds() {
        let body = |path| answer(path, "", Some("<script>")).into_body();
        assert!(body("/").ends_with(b"</html>\n<script>"));
        assert_eq!(body("/wsh.js"), BuiltInPage::at("/wsh.js").unwrap().bytes);
    }

    #[test]
    fn the_content_policy_forbids_nothing_that_a_page_has() {
        let mut pages = 0;
        for page in PAGES.iter().filter(|page| page.name.ends_with(".html")) {
            let text = std::str::from_utf8(page.bytes).expect("UTF-8");
            for inline in ["<style", " style=", "javascript:", "<script>", " onclick="] {
                assert!(!text.contains(inline), "{}: `{inline}`", page.name);
            }
            pages += 1;
        }
        assert!(pages >= 4, "{pages}");
    }
}
