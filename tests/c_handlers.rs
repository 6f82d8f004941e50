//! A handler in C: compiled with `cc`, dropped into the directory, served like any other.

use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn a_handler_in_c_is_served_whatever_it_was_optimised_to() {
    let site = Site::empty();
    for level in ["-O0", "-O3"] {
        let bytes = compile("handlers/c/cecho.c", &[level]);
        site.add_bytes(&bytes, &format!("c{}_wsh.so", &level[1..]));
    }
    let server = Server::start(&site);

    for path in ["/cO0", "/cO3"] {
        let mut client = server.connect(path);
        assert_eq!(client.ask("hello from C"), "hello from C");
        client.send(tungstenite::Message::Binary(vec![0, 255, 7].into()));
        assert_eq!(client.receive().into_data().as_ref(), [0, 255, 7]);
        assert_eq!(client.ask("Goodbye"), "Goodbye");
        assert_eq!(client.close_code(), 1000);
    }
}

#[test]
fn the_server_answers_wrong_calls_as_the_stand_in_of_c_tests_does() {
    let site = Site::empty();
    site.write("config.toml", "[handler.stand_in]\nconfig = { a = 1 }\n");
    // The tests of plugin-api drive it by wsh_test.h.
    let bytes = compile("plugin-api/tests/c/stand_in.c", &["-std=c99"]);
    site.add_bytes(&bytes, "stand_in_wsh.so");
    let server = Server::start(&site);

    // A session whose call had another status closes, and stderr has a line.
    let mut client = server.connect("/stand_in");
    client.send("rules");
    assert_eq!(client.ask("hi"), "hi!", "{}", server.log());
    for (told, code) in [
        ("close", 4000),
        ("close twice", 4000),
        ("done", 1000),
        ("fail", 1011),
        ("pending", 1011),
        ("abort", 1006),
    ] {
        let mut client = server.connect("/stand_in");
        client.send(told);
        assert_eq!(client.close_code(), code, "{told}");
    }
}
