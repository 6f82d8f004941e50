//! A handler that is replaced under an open page.

use serde_json::json;

use crate::artifacts::artifacts;
use crate::browser::Browser;
use crate::server::Server;

pub(crate) fn newer_code_answers_an_open_page_over_the_socket_that_it_has(browser: &Browser) {
    let server = Server::of(&["versioned_wsh"]).start();
    let page = browser.open(&server.blank());
    let script = "
        globalThis.heard = await new Heard('/versioned').opened();
        heard.socket.send('which?');
        return heard.message();";
    assert_eq!(page.run(script, json!(null)), "version-0001");

    for version in ["version-0002", "version-0003"] {
        server.put_plugin("versioned_wsh", &with_version(version));
        let script = "
            // The server says when the session has moved by what answers.
            for (;;) {
                heard.socket.send('which?');
                const version = await heard.message();
                if (version === given) return [version, heard.socket.readyState];
            }";
        assert_eq!(page.run(script, json!(version)), json!([version, 1]));
    }

    let script = "
        const kinds = new Set(heard.kinds);
        heard.socket.close(1000);
        return [...kinds, ...(await heard.closed())];";
    let seen = json!(["open", "message", 1000, "", true]);
    assert_eq!(page.run(script, json!(null)), seen);
    server.line(&["session closed", "path=/versioned", "generation=3"]);
    assert_eq!(server.count("session closed"), 1);
}

/// The library of `versioned_wsh` with another version in it.
fn with_version(version: &str) -> Vec<u8> {
    let mut library =
        std::fs::read(artifacts().plugin("versioned_wsh")).expect("reading a library");
    let original = b"version-0001";
    assert_eq!(version.len(), original.len());
    let mut found = 0;
    for start in 0..=library.len() - original.len() {
        let place = &mut library[start..start + original.len()];
        if place == original {
            place.copy_from_slice(version.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "the library holds its version");
    library
}
