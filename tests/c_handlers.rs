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
