//! A pointer and a length of a plugin that cannot be meant: the call is refused, and nothing is read.

use std::time::Duration;

use crate::harness::at_once;
use crate::harness::compile::unruly;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Starts a server of one handler that makes these calls on each message and sends their statuses.
#[track_caller]
fn answering(calls: &[(&str, &str)]) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    let statements: Vec<String> = calls
        .iter()
        .map(|(call, _)| format!("answer(conn, \"status\", (int64_t)({call}));"))
        .collect();
    let option = format!("-DIN_MESSAGE={}", statements.concat());
    site.add_bytes(&unruly(&[&option]), "lengths_wsh.so");
    let server = Server::start(&site);
    (site, server)
}

const INVALID: &str = "status=-6";
const TOO_BIG: &str = "status=-4";
const NONE: &str = "status=0";

#[test]
fn a_length_that_cannot_be_meant_is_refused_and_costs_no_session_anything() {
    let calls = [
        ("host->send(conn, WSH_BINARY, some, endless)", TOO_BIG),
        ("host->send(conn, WSH_TEXT, some, endless)", TOO_BIG),
        (
            "host->send(conn, WSH_BINARY | WSH_MORE, some, endless / 2 + 1)",
            TOO_BIG,
        ),
        ("host->send(conn, WSH_BINARY, some, four_gib)", TOO_BIG),
        ("host->send(conn, WSH_TEXT, some, four_gib)", TOO_BIG),
        ("host->send(conn, WSH_BINARY, NULL, 1)", INVALID),
        ("host->send(conn, WSH_BINARY, NULL, endless)", INVALID),
        ("host->reserve(conn, endless) != NULL", NONE),
        ("host->reserve(conn, four_gib) != NULL", NONE),
        ("host->reserve(conn, 16) == NULL", NONE),
        ("host->commit(conn, WSH_BINARY, endless)", INVALID),
        ("host->ping(conn, some, endless)", TOO_BIG),
        ("host->ping(conn, some, four_gib)", TOO_BIG),
        ("host->ping(conn, NULL, 4)", INVALID),
        ("host->close(conn, 1000, (WshStr){some, endless})", TOO_BIG),
        ("host->close(conn, 1000, (WshStr){some, four_gib})", TOO_BIG),
        ("host->close(conn, 1000, (WshStr){NULL, 4})", INVALID),
        ("host->subscribe(conn, (WshStr){some, endless}, 1)", TOO_BIG),
        (
            "host->subscribe(conn, (WshStr){some, four_gib}, 1)",
            TOO_BIG,
        ),
        ("host->subscribe(conn, (WshStr){NULL, 4}, 1)", INVALID),
        (
            "host->send_to(host->ctx, conn->id, WSH_BINARY, some, endless)",
            TOO_BIG,
        ),
        (
            "host->send_to(host->ctx, conn->id, WSH_BINARY, some, four_gib)",
            TOO_BIG,
        ),
        (
            "host->send_to(host->ctx, conn->id, WSH_BINARY, NULL, 4)",
            INVALID,
        ),
        (
            "host->close_to(host->ctx, conn->id, 1000, (WshStr){some, four_gib})",
            TOO_BIG,
        ),
        (
            "host->close_to(host->ctx, conn->id, 1000, (WshStr){NULL, 4})",
            INVALID,
        ),
        (
            "host->publish(host->ctx, wsh_str(\"t\"), WSH_BINARY, some, four_gib, 0)",
            TOO_BIG,
        ),
        (
            "host->publish(host->ctx, (WshStr){some, endless}, WSH_BINARY, some, 8, 0)",
            TOO_BIG,
        ),
        (
            "host->publish(host->ctx, (WshStr){NULL, 4}, WSH_BINARY, some, 8, 0)",
            INVALID,
        ),
    ];
    let (_site, server) = answering(&calls);
    let mut innocent = server.connect("/echo");
    let mut client = server.connect("/lengths");

    client.send("go");

    for (call, status) in calls {
        assert_eq!(client.text(), status, "{call}");
    }
    assert_eq!(client.text(), "go", "and the session goes on");
    assert_eq!(innocent.ask("still there?"), "still there?");
    let peak = server.proc_status("VmHWM");
    assert!(peak < 400_000, "{peak} KiB at most");
}

#[test]
fn what_a_refusal_or_a_log_line_is_given_is_read_within_bounds() {
    let site = Site::with(&["echo_wsh"]);
    let says = |text: &str| {
        format!("host->log(host->ctx, 0, WSH_LOG_INFO, (WshStr){{0}}, {text}, NULL, 0);")
    };
    let option = [
        "-DIN_MESSAGE=".to_owned(),
        says("(WshStr){some, endless}"),
        says("(WshStr){NULL, 9}"),
        "static uint8_t much[1 << 20]; memset(much, 'm', sizeof much);".to_owned(),
        says("(WshStr){much, sizeof much}"),
        "WshPair pair = {{some, endless}, {NULL, 7}};".to_owned(),
        "host->log(host->ctx, 0, WSH_LOG_INFO, (WshStr){some, endless}, (WshStr){(const uint8_t *)\"pairs\", 5}, &pair, 1);"
            .to_owned(),
        "host->log(host->ctx, 0, WSH_LOG_INFO, (WshStr){0}, (WshStr){(const uint8_t *)\"many\", 4}, &pair, endless / 8);"
            .to_owned(),
        "host->log(host->ctx, 0, WSH_LOG_INFO, (WshStr){0}, (WshStr){(const uint8_t *)\"none\", 4}, NULL, 3);"
            .to_owned(),
        "host->fail(host->ctx, (WshStr){some, endless}); host->fail(host->ctx, (WshStr){much, sizeof much});"
            .to_owned(),
    ]
    .concat();
    site.add_bytes(&unruly(&[&option]), "lengths_wsh.so");
    let server = Server::start(&site);

    let mut client = server.connect("/lengths");

    assert_eq!(client.ask("go"), "go");
    for start in ["pairs", "many", "none"] {
        server.line(&[
            "handler=\"lengths\"",
            start,
            "(not readable: a length or a pointer that cannot be meant)",
        ]);
    }
    let cut = server.line(&["handler=\"lengths\"", "mmmm… (cut)"]);
    assert!(cut.len() < 17 * 1024, "{} bytes", cut.len());
}

#[test]
fn a_rejection_of_four_gibibytes_is_none() {
    let site = Site::empty();
    let option = "-DIN_HANDSHAKE=\
        answered = host->response_reject(response, 403, (WshStr){some, four_gib}) == WSH_TOO_BIG\
            && host->response_reject(response, 403, (WshStr){NULL, 4}) == WSH_INVALID\
            && host->response_header(response, (WshStr){some, four_gib}, wsh_str(\"t\")) == WSH_TOO_BIG\
            && host->response_header(response, (WshStr){(const uint8_t *)\"x\", 1}, (WshStr){NULL, 1}) == WSH_INVALID\
            && host->response_protocol(response, (WshStr){some, endless}) == WSH_INVALID";
    site.add_bytes(&unruly(&[option]), "lengths_wsh.so");
    let server = Server::start(&site);

    assert_eq!(server.connect("/lengths").ask("hello"), "hello");
}

#[test]
fn a_snapshot_that_never_returns_or_is_late_keeps_its_own_session_only() {
    let snapshots = [
        // The snapshot never returns.
        ("if (stays) hang();", "callback=\"snapshot\""),
        // The snapshot writes until the sink refuses, because the state is too large.
        (
            "if (stays) while (sink->write(sink->ctx, (const uint8_t *)\"x\", 1) == WSH_OK) {}",
            "its state is larger than",
        ),
        (
            "if (stays) sink->write(sink->ctx, some, four_gib)",
            "its state is larger than",
        ),
        (
            "if (stays) { usleep(1200000); }",
            "its `snapshot` took more than 1s",
        ),
    ];
    at_once(snapshots, |(how, says)| {
        let site = Site::empty();
        let library = |number: &str| {
            let options = [
                "-DMIGRATES".to_owned(),
                format!("-DNUMBER={number}"),
                format!("-DIN_SNAPSHOT={how}"),
                "-DIN_MESSAGE=if (data[0] == 's') stays = 1; answer(conn, \"number\", NUMBER)"
                    .to_owned(),
            ];
            unruly(&options.each_ref().map(|it| &**it))
        };
        site.add_bytes(&library("1"), "late_wsh.so");
        let server = Server::start(&site);
        let mut calm = server.connect("/late");
        assert_eq!(calm.ask("calm"), "number=1");
        // The handler has one flag for all its sessions, so the calm one has to be gone before it is set.
        drop(calm);
        let mut stays = server.connect("/late");
        assert_eq!(stays.ask("stay"), "number=1");
        assert_eq!(stays.text(), "stay");

        site.add_bytes(&library("2"), "late_wsh.so");

        server.line_within(Duration::from_secs(20), &[says]);
        assert_eq!(server.connect("/late").ask("new"), "number=2", "{how}");
        let mut innocent = server.connect("/late");
        assert_eq!(innocent.ask("new"), "number=2", "{how}");
    });
}
