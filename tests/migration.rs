//! Sessions move to new code with the socket open, and nobody at the far end can tell.

use crate::harness::client::Client;
use crate::harness::patch::{build, build_name};
use crate::harness::server::Server;
use crate::harness::site::Site;

/// The build that answers and how often the session moved, as `NUMBER BUILD MOVES` says it.
#[track_caller]
fn answered(client: &mut Client, number: u64) -> (String, u64) {
    let answer = client.ask(&number.to_string());
    let words: Vec<&str> = answer.split(' ').collect();
    let [echoed, build, moves] = words[..] else {
        panic!("no answer to {number}: {answer}");
    };
    assert_eq!(echoed, number.to_string());
    (build.to_owned(), moves.parse().expect("a number"))
}

#[test]
fn sessions_go_on_in_new_code_with_their_state() {
    for plugin in ["ledger_wsh", "async_ledger_wsh"] {
        let site = Site::empty();
        let name = plugin.trim_end_matches("_wsh");
        site.add_bytes(&build(plugin, 1), &format!("{plugin}.so"));
        let server = Server::start(&site);
        let mut client = server.connect(&format!("/{name}"));
        assert_eq!(answered(&mut client, 0), (build_name(1), 0));

        site.add_bytes(&build(plugin, 2), &format!("{plugin}.so"));
        server.line(&[
            "sessions moved",
            "generation=2",
            "moved=1 drained=0 refused=0",
        ]);

        assert_eq!(answered(&mut client, 1), (build_name(2), 1));
        server.line(&["generation retired", "generation=1"]);
        assert_eq!(client.close(1000), 1000);
    }
}
