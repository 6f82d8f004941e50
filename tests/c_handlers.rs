//! A handler in C: compiled with `cc`, dropped into the directory, served like any other.

use std::path::Path;
use std::process::Command;

use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn a_handler_in_c_is_served_whatever_it_was_optimised_to() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let site = Site::empty();
    for level in ["-O0", "-O3"] {
        let library = site.root().join("built.so");
        let compiled = Command::new("cc")
            .args([
                "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", level, "-I",
            ])
            .arg(repository.join("plugin-api/include"))
            .arg("-o")
            .arg(&library)
            .arg(repository.join("handlers/c/cecho.c"))
            .status();
        let compiled =
            compiled.expect("there is no C compiler: install one, `apt-get install gcc libc6-dev`");
        assert!(compiled.success(), "cc compiles the handler");
        let bytes = std::fs::read(&library).expect("the library");
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
