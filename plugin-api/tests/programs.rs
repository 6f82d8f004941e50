//! The whole handlers of the guide are short. Cargo compiles and runs them as doc examples.

/// The title of each program, and its lines without those of its hidden test.
fn programs() -> Vec<(&'static str, Vec<&'static str>)> {
    let guide = include_str!("../src/guide/programs.md");
    let mut programs: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut is_code = false;
    for line in guide.lines() {
        // Hidden lines of a program begin with `#`, like its title.
        let title = line.strip_prefix("# ");
        match (line, title, programs.last_mut()) {
            ("```" | "```standalone_crate", ..) => is_code = !is_code,
            (_, Some(title), _) if !is_code => programs.push((title, Vec::new())),
            (line, None, Some((_, lines))) if is_code && line != "#" => lines.push(line),
            _ => {}
        }
    }
    programs
}

#[test]
fn each_of_the_six_programs_has_25_lines_at_most_and_is_tested() {
    let programs = programs();

    let titles: Vec<&str> = programs.iter().map(|(title, _)| *title).collect();
    assert_eq!(
        titles,
        [
            "Echo",
            "Room",
            "Authentication by a cookie",
            "Ticker",
            "Question and answer",
            "Upload with progress",
        ]
    );
    for (title, lines) in programs {
        assert!(lines.len() <= 25, "`{title}` has {} lines", lines.len());
        assert!(
            lines.iter().all(|line| line.len() <= 100),
            "a line of `{title}` is too long to be read"
        );
        let last = lines.last().expect("a line");
        assert!(
            last.starts_with("wsh::handler!("),
            "`{title}` ends with {last}"
        );
    }
    let tests = include_str!("../src/guide/programs.md")
        .matches("# fn main() {\n")
        .count();
    assert_eq!(tests, 6);
}
