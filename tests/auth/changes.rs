//! Files of users and tokens that change while the server runs.

use data_encoding::BASE64;

use super::{ALL, OF_TEA, basic, site, upgrade_status};
use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::server::Server;

#[test]
fn a_changed_file_applies_and_a_broken_one_leaves_the_old_users() {
    let site = site(ALL);
    let server = Server::builder(&site).start();
    let mut open = Client::connect(
        server.port(),
        "/echo",
        &[(
            "Authorization",
            &format!("Basic {}", BASE64.encode(b"ann:tea")),
        )],
    );
    let status = |pair: &str| upgrade_status(&server, "/echo", &basic(pair));
    assert_eq!(status("ann:tea"), 101);
    assert_eq!(status("cai:tea"), 401);

    site.write("users", &format!("bob:{OF_TEA}\ncai:{OF_TEA}\n"));
    eventually("cai may enter", || status("cai:tea") == 101);
    // What was remembered of ann does not hold any more, and its open session stays.
    assert_eq!(status("ann:tea"), 401);
    assert_eq!(open.ask("still there"), "still there");

    let refused = [
        "ERROR",
        "configuration refused, the old one keeps serving",
        "users:2:1: user `dan` has",
    ];
    site.write("users", "# none\ndan:geheim\n");
    server.line(&refused);
    assert_eq!(status("cai:tea"), 101);
    std::fs::remove_file(site.root().join("users")).expect("it was there");
    server.line(&["ERROR", "configuration refused", "cannot read", "/users`"]);
    assert_eq!(status("cai:tea"), 101);
    site.write("users", &format!("dan:{OF_TEA}\n"));
    eventually("dan may enter", || status("dan:tea") == 101);
    assert_eq!(status("cai:tea"), 401);

    site.write("tokens", "");
    eventually("the token is gone", || {
        upgrade_status(&server, "/echo", "Authorization: Bearer test\r\n") == 401
    });
    assert!(!server.log().contains("geheim"), "{}", server.log());
}

#[test]
fn a_file_that_a_new_configuration_names_is_taken_as_soon_as_it_is_right() {
    let site = site("handlers_dir = \"handlers\"\n");
    let server = Server::builder(&site).start();
    assert_eq!(server.handshake_status("/echo"), 101);

    site.write("users", "ann:geheim\n");
    site.write(
        "config.toml",
        "handlers_dir = \"handlers\"\nusers_file = \"users\"\n",
    );
    server.line(&["ERROR", "configuration refused, the old one keeps serving"]);
    assert_eq!(server.handshake_status("/echo"), 101);

    site.write("users", &format!("ann:{OF_TEA}\n"));
    eventually("users are asked for", || {
        server.handshake_status("/echo") == 401
    });
}

#[test]
fn a_broken_file_holds_back_no_change_of_another() {
    let site = site(ALL);
    let server = Server::builder(&site).start();
    let status = |lines: &str| upgrade_status(&server, "/echo", lines);
    let token = "Authorization: Bearer test\r\n";
    let until = |what: &str, lines: &str, expected: u16| {
        eventually(what, || status(lines) == expected);
    };
    let broken = |file: &str| format!("file={}", site.root().join(file).display());
    assert_eq!(status(token), 101);

    // The users are broken, and a token is taken out.
    site.write("users", "ann\n");
    server.line(&[
        "ERROR",
        "configuration refused",
        &broken("users"),
        "users:1:1",
    ]);
    site.write("tokens", "");
    until("the token is gone", token, 401);
    assert_eq!(status(&basic("bob:tea")), 101);
    // A rule is added.
    site.write(
        "config.toml",
        &format!("{ALL}[auth]\n\"/echo\" = [\"ann\"]\n"),
    );
    until("bob may not enter here", &basic("bob:tea"), 403);
    assert_eq!(status(&basic("ann:tea")), 101);

    // The configuration is broken as well, and a user is taken out.
    site.write("config.toml", &format!("{ALL}nonsense = 1\n"));
    server.line(&[
        "ERROR",
        "configuration refused",
        &broken("config.toml"),
        "nonsense",
    ]);
    site.write("users", &format!("bob:{OF_TEA}\n"));
    until("ann is gone", &basic("ann:tea"), 401);
    server.line(&["the configuration can be read again"]);
    server.signal("HUP");
    server.says(&["ERROR", "configuration refused", "nonsense"], 2);
    assert_eq!(status(&basic("ann:tea")), 401);
    // A configuration that names a file which was never right is broken too.
    site.write("config.toml", &ALL.replace("\"users\"", "\"gone\""));
    server.line(&[
        "ERROR",
        "configuration refused",
        &broken("config.toml"),
        "/gone`",
    ]);
    site.write("users", &format!("bob:{OF_TEA}\ncai:{OF_TEA}\n"));
    until("cai may not enter here", &basic("cai:tea"), 403);

    // All is right again.
    site.write("config.toml", ALL);
    until("cai may enter", &basic("cai:tea"), 101);
    let lines = server.count_lines(&["configuration refused", "users:1:1"]);
    assert_eq!(lines, 1, "each broken file has one line");
}
