//! config/REFERENCE.md is the table of settings, for people who look something up.
//!
//! `WSHD_BLESS=1 cargo test -p wshd --lib config` writes it anew; read the difference before you keep it.

use std::fmt::Write as _;

use super::table::{Row, Section, own_rows, rows};
use super::*;
use crate::config::environment::variable;
use crate::config::flags::program::program;

#[test]
fn the_reference_is_the_table_of_settings() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/REFERENCE.md");
    let page = page();
    if std::env::var_os("WSHD_BLESS").is_some() {
        fs::write(&file, &page).expect("writing");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        page == written,
        "config/REFERENCE.md is not what the table says; `WSHD_BLESS=1 cargo test -p wshd --lib config` writes it"
    );
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let rows = rows();
    let keys = |wanted: Section| {
        rows.iter()
            .filter(move |row| row.section == wanted && row.applies.is_some())
    };
    page += "\n## At the top of the file\n\n";
    settings(&mut page, keys(Section::Top));
    page += "\n## At the top of the file, or in a handler's table\n\n";
    settings(&mut page, keys(Section::TopOrHandler));
    page += "\n## In a handler's table `[handler.NAME]` only\n\n";
    settings(&mut page, own_rows().iter());
    page += "\n## Under `[admin]`\n\n";
    settings(&mut page, keys(Section::Admin));
    page += "\n## Under `[engine]`\n\n";
    settings(&mut page, keys(Section::Engine));
    page += "\n## Under `[tls]`\n\n";
    settings(&mut page, keys(Section::Tls));
    page += "\n## Flags without a key of their name\n\n";
    page += "| Flag | Variable | Value | Default | What it does |\n|---|---|---|---|---|\n";
    for row in rows.iter().filter(|row| row.applies.is_none()) {
        let default = row.default.as_deref().unwrap_or("none");
        let variable = variable(row.name);
        let _ = writeln!(
            page,
            "| {} | `{variable}` | {} | {default} | {} |",
            flag(row),
            row.kind,
            row.about
        );
    }
    page += "\n## Flags without a variable\n\n";
    page += "| Flag | Of | What it does |\n|---|---|---|\n";
    flags_without_a_variable(&mut page);
    page += OTHER_VARIABLES;
    page += "\n## Under `[limits]`, of the server as a whole\n\n";
    limits(&mut page, keys(Section::Limits));
    page += "\n## Under `[limits]`, or in a handler's table\n\n";
    limits(&mut page, keys(Section::LimitsOrHandler));
    page += ROUTES;
    page += AUTH;
    page += PATHS;
    page += TOPICS;
    page
}

/// The flags of the program and of its commands that decide no setting.
fn flags_without_a_variable(page: &mut String) {
    let mut program = program();
    program.build();
    let settings: Vec<_> = settings::flags().iter().map(|flag| flag.name).collect();
    let own = |command: &clap::Command, of: &str| {
        // A command that reads no configuration may have a flag of its own with the name of a setting.
        let is_configured = command
            .get_arguments()
            .any(|flag| flag.get_id() == "config");
        let flags = command.get_arguments().filter(|flag| {
            let id = flag.get_id().as_str();
            let is_setting = is_configured && settings.contains(&id);
            flag.get_long().is_some() && !is_setting && !["help", "version"].contains(&id)
        });
        let line = |flag: &clap::Arg| {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            format!("| `{flag}` | {of} | {help} |\n")
        };
        flags.map(line).collect::<String>()
    };
    *page += &own(&program, "`wshd`");
    for command in program.get_subcommands() {
        // `check` and `dev` take the flags of `wshd` too.
        let rows = own(command, &format!("`wshd {}`", command.get_name()));
        let rows = rows
            .lines()
            .filter(|row| !row.contains("--stop-with-stdin"));
        *page += &rows.map(|row| format!("{row}\n")).collect::<String>();
    }
}

fn settings<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    *page += "| Key | Value | Default | Flag, variable | Applies | What it does |\n|---|---|---|---|---|---|\n";
    for row in rows {
        let default = match &row.default {
            Some(default) => format!("`{default}`"),
            None if row.name == "hosts" => HOSTS_DEFAULT.to_owned(),
            None => "none".to_owned(),
        };
        let flag = match row.is_flag {
            true => format!("{}, `{}`", flag(row), variable(row.name)),
            false => String::new(),
        };
        let applies = row.applies.expect("it is a key").words();
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {flag} | {applies} | {} |",
            row.name, row.kind, row.about
        );
    }
}

fn limits<'a>(page: &mut String, rows: impl Iterator<Item = &'a Row>) {
    *page +=
        "| Key | Default | Unit | Range | Applies | What it limits |\n|---|---:|---|---|---|---|\n";
    for row in rows {
        let range = row.range.as_ref().expect("it is a limit");
        let default = row.default.as_deref().unwrap_or_default();
        let applies = row.applies.expect("it is a key").words();
        let _ = writeln!(
            page,
            "| `{}` | {default} | {} | {} to {} | {applies} | {} |",
            row.name,
            row.unit,
            range.start(),
            range.end(),
            row.about
        );
    }
}

fn flag(row: &Row) -> String {
    let long = row.name.replace('_', "-");
    match row.short {
        Some(short) => format!("`-{short}`, `--{long}`"),
        None => format!("`--{long}`"),
    }
}

const INTRODUCTION: &str = "\
# Every key, flag and variable

This page is made from the table in `server/src/config/settings/`, and a test holds it to that table.
`config/config.toml` explains each key; `wshd --help` explains each flag.

Priority, highest first: flag, variable, file, default. Where a key takes a list, the file has an array
like `[\"a\", \"b\"]`, and its flag and its variable have commas like `a,b`.

The column *Applies* says when a change of the file applies: *at once* to everything from then on, *next
connection* and *next session* to those that begin from then on, *next load* to handlers that are loaded
from then on, *at once, to the next version* when the next version of a handler takes over, *restart* when
the server is started again.
";

/// The default of `hosts`, which no value of the key stands for.
const HOSTS_DEFAULT: &str =
    "addresses and local names where all of `listen` is loopback, else `\"any\"`";

const OTHER_VARIABLES: &str = "
## Variables without a flag

| Variable | Read by | What it does |
|---|---|---|
| `CARGO` | `wshd dev` | The cargo to run |
| `CC`, `CXX` | `wshd dev` | The compilers of C and C++ |
| `CPPFLAGS`, `CFLAGS`, `CXXFLAGS`, `LDFLAGS`, `LDLIBS` | `wshd dev` | More arguments for these compilers |
| `TMPDIR` | `wshd`, `wshd dev` | Temporary directories are made there, instead of in `/tmp` |
| `XDG_CACHE_HOME`, `HOME` | `wshd` | A place for private copies of handlers where `/var/tmp` is none: the first, or `~/.cache` |
| `XDG_STATE_HOME`, `HOME` | `wshd dev --tls` | Where its certificate for localhost is kept: in `wshd` below the first, or below `~/.local/state` |
| `XDG_RUNTIME_DIR` | `wshd`, `wshd status` and its like | Where the admin socket is made and looked for, in `wshd` below it |
| `NO_COLOR` | `wshd` | If it is set, the log has no colours |
| `WSHD` | tests of handlers | The `wshd` that a test starts |
";

const ROUTES: &str = "
## Under `[routes]`

Each key is a path that clients ask for, such as `/`, `/rooms/{room}` or `/files/{*path}`. Its value is the
path of the handler that answers there, such as `\"/chat\"`. Applies *at once*.
";

const AUTH: &str = "
## Under `[auth]`

Each key is a path, such as `/chat`, or `/chat/*` for it and all below it. Its value says who may have what lies there:
`\"open\"`, `\"required\"`, or a list of users and tokens such as `[\"ann\", \"bob\"]`. The longest that matches
counts, and without one a path is `required` if there are users or tokens. Applies *next connection*.
";

const PATHS: &str = "
## Under `[paths]`

Each table `[paths.\"PATH\"]` has an `allow` and a `deny`, lists of addresses like those at the top of the file, for what
lies at a path, such as `/staff`, or `/staff/*` for it and all below it. The longest that matches counts, and those at the
top of the file and in a handler's table hold besides. Applies *next connection*.
";

const TOPICS: &str = "
## Under `[topics]`

Each table `[topics.\"PATTERN\"]` decides over the topics that its pattern matches. Of a topic, only the table
with the longest matching pattern counts. Applies *at once*, to what is published next.

| Pattern | Topics |
|---|---|
| `chat/lobby` | The topic `lobby` of the handler `chat` |
| `chat/*`, `chat/room-*` | All topics of the handler `chat`, those that begin with `room-` |
| `rooms/chat//lobby` | The topic `lobby` of the handler `rooms/chat`; `//` ends the name of a handler in a folder |
| `./*` | All topics of the handler at the path `/` |
| `/news`, `/public/*` | Topics of the server's own, which all handlers share |

| Key | Value | Default | What it does |
|---|---|---|---|
| `history` | `false`, or a table with `count`, `age_s`, `bytes`, at least one of them | `false` | Keep what was published, within these bounds. A session that joins gets at most 1 MiB of it, and no more than fits into its `outbound_bytes_max` |
| `presence` | `true`, `false` | `true` | Let sessions enter the topic, and show its members |
| `handlers` | a list of handlers | all | Who may use these topics; only for patterns that begin with `/` |

| Key of `history` | Unit | Range | What it bounds |
|---|---|---|---|
| `count` | messages | 1 to 10000000 | How many are kept |
| `age_s` | s | 1 to 315360000 | The age of the oldest |
| `bytes` | bytes | 1 to `history_bytes_max` | The memory of all of them, some 70 to 90 bytes for each besides its own |
";
