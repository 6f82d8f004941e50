//! The code blocks of a page, and the commands with their outputs in those of the language `console`.

/// A command that a page shows, and what the page says that it prints.
pub(super) struct Entry<'a> {
    pub(super) command: &'a str,
    pub(super) output: String,
}

/// The code blocks of a page in this language.
pub(super) fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("\n```{language}\n");
    let parts = page.split(&fence).skip(1);
    let block = |part: &'a str| part.split("\n```").next().unwrap_or_default();
    parts.map(block).collect()
}

/// The commands of a page, in their order.
pub(super) fn entries(page: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in blocks(page, "console").iter().flat_map(|it| it.lines()) {
        match (line.strip_prefix("$ "), entries.last_mut()) {
            (Some(command), _) => entries.push(Entry {
                command,
                output: String::new(),
            }),
            (None, Some(last)) => {
                last.output += line;
                last.output.push('\n');
            }
            (None, None) => panic!("`{line}` is printed by no command"),
        }
    }
    entries
}
