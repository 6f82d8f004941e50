//! Every public item has an example, its own or that of its type, and names the feature that it needs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A public item of the SDK.
struct Item {
    place: String,
    /// The type that the item is a function of, or the item's own name.
    owner: String,
    /// The item's name, if it is a function of a type.
    function: Option<String>,
    docs: String,
    feature: Option<String>,
}

/// Modules whose items no handler names: the ABI, and what the macros need.
const APART: [&str; 11] = [
    "src/abi.rs",
    "src/asks/asker.rs",
    "src/asks/callback_probe.rs",
    "src/log.rs",
    "src/rules.rs",
    "src/rules/asks.rs",
    "src/styles/adapter.rs",
    "src/styles/asynchronous/state.rs",
    "src/styles/events/adapter.rs",
    "src/styles/functions/owned_request.rs",
    "src/styles/functions/signatures.rs",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the SDK's sources") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("UTF-8");
        if path.is_dir() && !["border", "abi", "guide"].contains(&name) {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs")
            && !APART.iter().any(|apart| path.ends_with(apart))
        {
            found.push(path);
        }
    }
}

/// The name that begins here.
fn name(text: &str) -> String {
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_');
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The type that an `impl` is for.
fn owner(line: &str) -> Option<String> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        rest = &rest[rest.find("> ")? + 1..];
    }
    let (_, subject) = rest.split_once(" for ").unwrap_or(("", rest));
    Some(name(subject.trim_start_matches(['&', ' '])))
}

/// The public items of a file, found line by line.
fn items(path: &Path) -> Vec<Item> {
    let text = fs::read_to_string(path).expect("a source");
    let all_need =
        (path.ends_with("json.rs") || path.ends_with("json/send.rs")).then(|| "serde".to_owned());
    let (mut docs, mut feature, mut of) = (String::new(), all_need.clone(), String::new());
    let (mut items, mut is_attribute, mut in_trait) = (Vec::new(), false, false);
    for (number, line) in text.lines().enumerate() {
        if let Some(found) = owner(line) {
            of = found;
        }
        let code = line.trim_start();
        if let Some(doc) = code.strip_prefix("///") {
            docs.push_str(doc);
            docs.push('\n');
            continue;
        }
        if let Some(named) = code.strip_prefix("#[cfg(feature = \"") {
            feature = Some(name(named));
        }
        is_attribute = (is_attribute || code.starts_with("#[")) && !code.ends_with(']');
        if is_attribute || code.starts_with("#[") || code == ")]" || code.starts_with("//") {
            continue;
        }
        let words = ["const ", "async "];
        let public = code.strip_prefix("pub ").map(|rest| {
            let rest = words
                .iter()
                .fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
            rest.split_once(' ').unwrap_or((rest, ""))
        });
        // A function of a trait is a callback, which an author writes.
        if in_trait && let Some(rest) = line.strip_prefix("    fn ") {
            items.push(Item {
                place: format!("{}:{}", path.display(), number + 1),
                owner: of.clone(),
                function: Some(format!("fn {}", name(rest))),
                docs: std::mem::take(&mut docs),
                feature: feature.clone(),
            });
        }
        if let Some(rest) = line.strip_prefix("pub trait ") {
            (of, in_trait) = (name(rest), !rest.ends_with("{}"));
        }
        in_trait &= line != "}";
        if let Some((kind @ ("fn" | "struct" | "enum" | "trait"), rest)) = public
            && !line.starts_with("    pub trait")
        {
            let is_method = kind == "fn" && line.starts_with(' ');
            let function = is_method.then(|| name(rest));
            items.push(Item {
                place: format!("{}:{}", path.display(), number + 1),
                owner: if is_method { of.clone() } else { name(rest) },
                function,
                docs: std::mem::take(&mut docs),
                feature: feature.clone(),
            });
        }
        docs.clear();
        feature.clone_from(&all_need);
    }
    items
}

#[test]
fn every_public_item_has_an_example_and_names_its_feature() {
    let (mut files, mut items) = (Vec::new(), Vec::new());
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    for file in &files {
        items.extend(self::items(file));
    }
    assert!(items.len() > 150, "only {} items were found", items.len());
    let (mut examples, mut all) = (BTreeMap::<&str, String>::new(), String::new());
    for item in items.iter().filter(|item| item.docs.contains("```")) {
        examples
            .entry(&item.owner)
            .or_default()
            .push_str(&item.docs);
        all.push_str(&item.docs);
    }

    let mut lacking = Vec::new();
    for item in &items {
        let is_shown = item.docs.contains("```")
            || item.function.as_ref().is_some_and(|function| {
                let of_type = examples.get(item.owner.as_str()).map_or("", String::as_str);
                all.contains(&format!(" {function}(")) && function.starts_with("fn ")
                    || of_type.contains(&format!(".{function}("))
                    || of_type.contains(&format!("::{function}("))
            });
        // Authors do not name these.
        let is_sealed = ["OwnedPayload", "Payload", "Target"].contains(&item.owner.as_str());
        if !is_shown && !is_sealed {
            lacking.push(format!("{} has no example", item.place));
        }
        if let Some(feature) = &item.feature
            && !item.docs.contains(&format!("feature `{feature}`"))
        {
            lacking.push(format!(
                "{} does not name its feature `{feature}`",
                item.place
            ));
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

/// Examples that export a handler cannot be merged into one program with others. A single one that is not marked makes
/// cargo build each of the hundred examples by itself.
#[test]
fn an_example_that_exports_a_handler_is_a_program_of_its_own() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut unmarked = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a source");
        // The words after the opening fence, inside an example.
        let mut fence: Option<String> = None;
        for (number, line) in text.lines().enumerate() {
            let doc = line.trim_start().trim_start_matches(['/', '!', ' ']);
            match (doc.strip_prefix("```"), &fence) {
                (Some(_), Some(_)) => fence = None,
                (Some(words), None) => fence = Some(words.to_owned()),
                (None, Some(words)) if doc.contains("handler!(") => {
                    let is_marked = ["standalone_crate", "compile_fail", "ignore", "text"];
                    if !is_marked.iter().any(|word| words.contains(word)) {
                        unmarked.push(format!("{}:{}", file.display(), number + 1));
                    }
                }
                _ => {}
            }
        }
    }
    assert!(
        unmarked.is_empty(),
        "write ```standalone_crate above:\n{}",
        unmarked.join("\n")
    );
}

#[test]
fn every_macro_has_an_example() {
    let sources = [
        include_str!("../src/log.rs"),
        include_str!("../src/handler_macro.rs"),
    ];
    let mut found = Vec::new();
    for source in sources {
        for (before, after) in source.match_indices("\nmacro_rules! ").map(|(at, it)| {
            let docs = source[..at].rsplit("\n\n").next().unwrap_or_default();
            (docs, name(&source[at + it.len()..]))
        }) {
            // Hidden macros are parts of the public ones.
            if !before.contains("#[doc(hidden)]") {
                assert!(before.contains("/// ```"), "`{after}!` has no example");
                found.push(after);
            }
        }
    }
    assert_eq!(
        found,
        [
            "error",
            "warn",
            "info",
            "debug",
            "trace",
            "handler",
            "descriptor"
        ]
    );
}
