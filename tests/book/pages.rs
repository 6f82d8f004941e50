//! The papers of the repository, as their readers see them: what is included stands in its place.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::harness::repository::root;

/// A page in Markdown.
pub(super) struct Page {
    /// From the root of the repository.
    pub(super) path: PathBuf,
    text: String,
}

/// A block of code.
pub(super) struct Block {
    /// The page and the line, for a fault.
    pub(super) place: String,
    /// The word behind the fence, such as `toml`, and what follows a comma there.
    pub(super) language: String,
    pub(super) mark: Option<String>,
    pub(super) text: String,
}

/// The pages of the book, without its table of contents.
pub(super) fn of_the_book() -> Vec<Page> {
    let pages = below("docs/src").into_iter();
    let pages: Vec<Page> = pages
        .filter(|page| !page.path.ends_with("SUMMARY.md"))
        .collect();
    assert!(pages.len() > 8, "{} pages", pages.len());
    pages
}

/// The pages of the book, and the other papers for operators and authors.
pub(super) fn for_users() -> Vec<Page> {
    let others = [
        "README.md",
        "SECURITY.md",
        "config/packages/README.md",
        "handlers/README.md",
    ];
    let others = others.map(|path| Page::read(path.into()));
    of_the_book().into_iter().chain(others).collect()
}

/// Every page below a folder that people read as it is.
pub(super) fn below(folder: &str) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let is_left_out = LEFT_OUT.iter().any(|it| path.ends_with(it));
            if entry.file_type().expect("a type").is_dir() {
                folders.extend((!is_left_out).then_some(path));
            } else if path.extension().is_some_and(|it| it == "md") {
                pages.push(Page::read(path));
            }
        }
    }
    pages
}

/// What is built, what becomes pages of rustdoc, and what `wshd new` fills in.
const LEFT_OUT: [&str; 5] = [
    ".git",
    "target",
    "node_modules",
    "plugin-api/src/guide",
    "server/src/new/templates",
];

impl Page {
    fn read(path: PathBuf) -> Page {
        let path = without_dots(&path);
        let text = fs::read_to_string(root().join(&path)).expect("a page");
        let folder = path.parent().expect("a page lies in a folder");
        let is_of_the_book = path.starts_with("docs/src");
        let text = text.lines().map(|line| match is_of_the_book {
            true => included(line, folder) + "\n",
            false => line.to_owned() + "\n",
        });
        Page {
            text: text.collect(),
            path,
        }
    }

    /// Where links lead that name no scheme: the file from the root of the repository, if the link names one, and the anchor.
    pub(super) fn links(&self) -> Vec<(String, Option<PathBuf>, Option<String>)> {
        let targets = parser(&self.text).filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url.to_string())
            }
            _ => None,
        });
        let folder = self.path.parent().expect("a page lies in a folder");
        let local = targets.filter(|it| !it.contains("://") && !it.starts_with("mailto:"));
        local
            .map(|link| {
                let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
                let file = (!file.is_empty()).then(|| without_dots(&folder.join(file)));
                let anchor = (!anchor.is_empty()).then(|| anchor.to_owned());
                (link, file, anchor)
            })
            .collect()
    }

    /// What a link can name behind `#`: each heading, by the rule that mdBook and forges have in common.
    pub(super) fn anchors(&self) -> HashSet<String> {
        let mut anchors = HashSet::new();
        let mut heading: Option<String> = None;
        for event in parser(&self.text) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let id = id(&heading.take().unwrap_or_default());
                    let numbered = (1..).map(|number| format!("{id}-{number}"));
                    let free = std::iter::once(id.clone()).chain(numbered);
                    let _ = free.map(|it| anchors.insert(it)).find(|is_new| *is_new);
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let ids = html.split("id=\"").skip(1);
                    anchors.extend(ids.filter_map(|it| Some(it.split_once('"')?.0.to_owned())));
                }
                _ => (),
            }
        }
        anchors
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut is_inside = false;
        for (event, range) in parser(&self.text).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match kind {
                        CodeBlockKind::Fenced(info) => info.to_string(),
                        CodeBlockKind::Indented => "indented".into(),
                    };
                    let (language, mark) = match info.split_once(',') {
                        Some((language, mark)) => (language, Some(mark.to_owned())),
                        None => (&*info, None),
                    };
                    let line = self.text[..range.start].matches('\n').count() + 1;
                    blocks.push(Block {
                        place: format!("{}:{line}", self.path.display()),
                        language: language.to_owned(),
                        mark,
                        text: String::new(),
                    });
                    is_inside = true;
                }
                Event::Text(text) if is_inside => {
                    let block = blocks.last_mut().expect("one has begun");
                    block.text.push_str(&text);
                }
                Event::End(TagEnd::CodeBlock) => is_inside = false,
                _ => (),
            }
        }
        blocks
    }

    /// What stands in backticks in the prose.
    pub(super) fn quoted(&self) -> BTreeSet<String> {
        let events = parser(&self.text);
        events
            .filter_map(|event| match event {
                Event::Code(text) => Some(text.to_string()),
                _ => None,
            })
            .collect()
    }
}

fn parser(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES)
}

/// A line, or what it includes by mdBook's `{{#include FILE}}` or `{{#include FILE:ANCHOR}}`.
#[track_caller]
fn included(line: &str, folder: &Path) -> String {
    let Some(wanted) = line.strip_prefix("{{#include ") else {
        assert!(!line.contains("{{#"), "an include fills its line: {line}");
        return line.to_owned();
    };
    let wanted = wanted.trim_end_matches("}}");
    let (file, anchor) = match wanted.split_once(':') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (wanted, None),
    };
    let text = fs::read_to_string(root().join(folder).join(file));
    let text = text.unwrap_or_else(|error| panic!("{line}: {error}"));
    let Some(anchor) = anchor else {
        return text.trim_end().to_owned();
    };
    let (from, to) = (
        format!("ANCHOR: {anchor}\n"),
        format!("ANCHOR_END: {anchor}\n"),
    );
    let (_, behind) = text
        .split_once(&from)
        .unwrap_or_else(|| panic!("{line}: no {from}"));
    let (between, _) = behind
        .split_once(&to)
        .unwrap_or_else(|| panic!("{line}: no {to}"));
    let lines = between.lines().filter(|line| !line.contains("ANCHOR"));
    lines.collect::<Vec<&str>>().join("\n")
}

/// A path without `.` and `..`, whether or not it exists.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                assert!(plain.pop(), "{} leaves the repository", path.display())
            }
            Component::CurDir => (),
            part => plain.push(part),
        }
    }
    plain
}

/// The anchor of a heading.
fn id(heading: &str) -> String {
    let characters = heading.trim().chars().flat_map(char::to_lowercase);
    characters
        .filter_map(|it| match it {
            it if it.is_whitespace() => Some('-'),
            it if it.is_alphanumeric() || it == '-' || it == '_' => Some(it),
            _ => None,
        })
        .collect()
}
