//! The page of a directory that has none of its own: the names of what may be asked for there, as links.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{percent_decode, percent_encode};

use super::lookup::{below, is_public};
use crate::http::target::ESCAPED;
use crate::plugin::inspect::changes_the_line;

/// What a directory shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DirectoryListing {
    /// Names in their order; those of directories have a slash at the end.
    names: Vec<OsString>,
    /// Whether the directory has more entries than were read.
    is_cut: bool,
}

impl DirectoryListing {
    /// Reads `directory`, a real path below `root`. What a request would not get is left out.
    pub(super) fn read(root: &Path, directory: &Path) -> io::Result<DirectoryListing> {
        let (mut names, mut is_cut) = (Vec::new(), false);
        for (number, entry) in fs::read_dir(directory)?.enumerate() {
            if number == ENTRIES_MAX {
                is_cut = true;
                break;
            }
            let entry = entry?;
            let mut name = entry.file_name();
            if !is_public(&name) {
                continue;
            }
            let Some(kind) = served_kind(root, &entry) else {
                continue;
            };
            if !(kind.is_dir() || kind.is_file()) {
                continue;
            }
            if kind.is_dir() {
                name.push("/");
            }
            names.push(name);
        }
        names.sort_unstable();
        Ok(DirectoryListing { names, is_cut })
    }

    /// The page, in HTML. `path` is that of the request line.
    pub(super) fn page(&self, path: &str) -> String {
        let title = text(OsStr::from_bytes(
            &percent_decode(path.as_bytes()).collect::<Vec<u8>>(),
        ));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
        );
        if !path.trim_matches('/').is_empty() {
            page += "<li><a href=\"../\">../</a></li>\n";
        }
        for name in &self.names {
            let name = name.as_bytes();
            let (name, slash) = match name.strip_suffix(b"/") {
                Some(name) => (name, "/"),
                None => (name, ""),
            };
            // Nothing of a name is left that could be a scheme or a host.
            let link = percent_encode(name, ESCAPED);
            let shown = text(OsStr::from_bytes(name));
            page += &format!("<li><a href=\"{link}{slash}\">{shown}{slash}</a></li>\n");
        }
        page += if self.is_cut {
            "</ul>\n<p>There are more.</p>\n"
        } else {
            "</ul>\n"
        };
        page
    }
}

/// What an entry of a real directory is, or what its link leads to. `None` where that is nowhere, or outside.
fn served_kind(root: &Path, entry: &fs::DirEntry) -> Option<fs::FileType> {
    let kind = entry.file_type().ok()?;
    if !kind.is_symlink() {
        return Some(kind);
    }
    let real = below(root, &entry.path()).ok()??;
    Some(fs::symlink_metadata(&real).ok()?.file_type())
}

/// A name as text of HTML, as one line that reads in one direction.
fn text(name: &OsStr) -> String {
    let mut text = String::new();
    for character in name.to_string_lossy().chars() {
        match character {
            '&' => text += "&amp;",
            '<' => text += "&lt;",
            '>' => text += "&gt;",
            '"' => text += "&quot;",
            character if changes_the_line(character) => text.push(char::REPLACEMENT_CHARACTER),
            character => text.push(character),
        }
    }
    text
}

/// Of a directory no more entries are read.
const ENTRIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_listing_has_what_may_be_asked_for_and_nothing_else() {
        let site = tempfile::tempdir().unwrap();
        let root = site.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("www/sub")).unwrap();
        fs::write(root.join("secret"), "").unwrap();
        let www = root.join("www");
        for name in ["b.txt", "a b.txt", ".env", "x_wsh.so", "x_wsh.so~"] {
            fs::write(www.join(name), "").unwrap();
        }
        symlink("b.txt", www.join("in.txt")).unwrap();
        symlink("../secret", www.join("out.txt")).unwrap();
        symlink(".env", www.join("env.txt")).unwrap();
        symlink("nowhere", www.join("gone.txt")).unwrap();
        symlink("/dev/zero", www.join("zero")).unwrap();

        let listing = DirectoryListing::read(&www, &www).unwrap();

        let names: Vec<_> = listing
            .names
            .iter()
            .map(|it| it.to_string_lossy())
            .collect();
        assert_eq!(names, ["a b.txt", "b.txt", "in.txt", "sub/"]);
        assert!(!listing.is_cut);
    }

    #[test]
    fn a_name_is_a_link_and_text_and_never_markup() {
        let names = ["<b>&\".txt", "a:b", "//evil.example", "new\nline", "sub/"];
        let listing = DirectoryListing {
            names: names.map(OsString::from).to_vec(),
            is_cut: true,
        };

        let page = listing.page("/%3Ci%3E/x/");

        for line in [
            "<title>/&lt;i&gt;/x/</title>",
            "<li><a href=\"../\">../</a></li>",
            "<li><a href=\"%3Cb%3E%26%22.txt\">&lt;b&gt;&amp;&quot;.txt</a></li>",
            "<li><a href=\"a%3Ab\">a:b</a></li>",
            "<li><a href=\"%2F%2Fevil.example\">//evil.example</a></li>",
            "<li><a href=\"new%0Aline\">new\u{fffd}line</a></li>",
            "<li><a href=\"sub/\">sub/</a></li>",
            "<p>There are more.</p>",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
        assert!(!listing.page("/").contains("../"));
    }
}
