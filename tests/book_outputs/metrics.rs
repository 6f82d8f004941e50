//! The families of metrics, outcomes, alerts and questions to Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::page;
use super::transcripts::blocks;
use super::words::{between, first_cells, literals};
use crate::harness::repository::{read, root};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::Tls;

#[test]
fn every_outcome_of_a_handshake_and_every_family_of_metrics_is_in_the_book() {
    let file = "docs/src/operate/metrics.md";
    let page = read(file);
    let replies = read("server/src/connection/reply.rs");
    let outcomes = between(&replies, "pub(crate) fn outcome", "\n    }\n");
    let mut outcomes: BTreeSet<String> = literals(outcomes, "=> \"");
    let log = read("server/src/connection/refusal_log.rs");
    outcomes.append(&mut literals(&log, "handshakes.count(\""));
    outcomes.insert("accepted".to_owned());
    assert!(outcomes.len() > 20, "{outcomes:?}");
    assert_eq!(first_cells(&page, "outcome"), outcomes);

    let table = families();
    if std::env::var_os("WSHD_BLESS").is_some() {
        let (before, rest) = page.split_once(BEGIN).expect("the table's place");
        let (_, after) = rest.split_once(END).expect("the table's end");
        let blessed = format!("{before}{BEGIN}{table}{END}{after}");
        fs::write(root().join(file), blessed).expect("writing");
        return;
    }
    let shown = between(&page, BEGIN, END);
    assert_eq!(
        shown, table,
        "`WSHD_BLESS=1 cargo test -p wshd --test integration book_outputs` writes it"
    );
}

const BEGIN: &str = "<!-- families: written by a test -->\n";
const END: &str = "<!-- end -->";

/// Each family of the page of metrics: its name, type and labels, and what it says of itself.
fn families() -> String {
    let site = Site::with(&["echo_wsh"]);
    let _tls = Tls::new(&site);
    site.write(
        "config.toml",
        "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:0\"]\n\
         [tls]\ncertificates = [{ certificate = \"server.pem\", key = \"server.key\" }]\n\
         [limits]\nmessage_bytes_max = 10\n",
    );
    let server = Server::bare(&site).start();
    let mut client = server.connect("/echo");
    client.send("longer than ten bytes");
    assert_eq!(client.close_code(), 1009);
    server.line(&["session closed"]);
    let text = metrics(&server);

    let mut table = String::from("| family | type | labels | what it says |\n|---|---|---|---|\n");
    for help in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = help.split_once(' ').expect("a name and a sentence");
        let kind = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))
            .expect("a type");
        let labels = text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = rest.strip_prefix("_bucket").unwrap_or(rest);
            let (labels, _) = rest.strip_prefix('{')?.split_once('}')?;
            let names = labels.split(',').filter_map(|it| it.split('=').next());
            Some(
                names
                    .map(|it| format!("`{it}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        });
        let labels = labels.unwrap_or_default();
        table += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
    }
    table
}

#[track_caller]
fn check_rules(file: &Path) {
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(file)
        .output()
        .expect("promtool, of Debian's prometheus, runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

/// The page of metrics.
fn metrics(server: &Server) -> String {
    let answer = server.exchange(b"GET /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    body.to_owned()
}

#[test]
fn the_alerts_of_the_book_are_rules_of_prometheus_over_families_that_exist() {
    let rules = root().join("config/alerts.yml");
    check_rules(&rules);
    // Its questions are rules, too, once they have a name.
    let page = page("operate/metrics.md");
    let questions = blocks(&page, "promql");
    assert_eq!(questions.len(), 3);
    let named = questions.iter().enumerate().map(|(number, question)| {
        format!("      - record: question:{number}\n        expr: '{question}'\n")
    });
    let site = Site::empty();
    let text = format!(
        "groups:\n  - name: questions\n    rules:\n{}",
        named.collect::<String>()
    );
    check_rules(&site.write("questions.yml", &text));

    let table = families();
    let rules = fs::read_to_string(rules).expect("the rules") + &page;
    let is_of_a_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let names: BTreeSet<&str> = rules
        .split(|it| !is_of_a_name(it))
        .filter(|word| word.starts_with("wshd_") || word.starts_with("process_"))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let family = name.trim_end_matches("_bucket");
        assert!(
            table.contains(&format!("| `{family}` |")),
            "there is no `{name}`"
        );
    }
}
