//! The handler `tests/fixtures/c/script.c` on a running server: a client says which calls it makes.

use tungstenite::Message;

use super::client::Client;
use super::compile::compile;
use super::server::Server;
use super::site::Site;

/// A server with the handler that `options` make.
pub(crate) fn start(options: &[&str], config: &str) -> (Site, Server) {
    let site = Site::empty();
    install(&site, options);
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Puts the handler that `options` make in the place of the one that is there.
pub(crate) fn install(site: &Site, options: &[&str]) {
    let library = compile("tests/fixtures/c/script.c", options);
    site.add_bytes(&library, "script_wsh.so");
}

/// Like [`install`], and waits until the server serves it. `version` is the number of the generation.
#[track_caller]
pub(crate) fn replace(site: &Site, server: &Server, options: &[&str], version: u32) {
    install(site, options);
    let generation = format!("generation={version}");
    server.line(&["handler loaded", "handler=\"script\"", &generation]);
}

/// A session. `query` has the scripts of its callbacks.
#[track_caller]
pub(crate) fn open(server: &Server, query: &str) -> Client {
    server.connect(&format!("/script?{}", query.replace(' ', "+")))
}

/// Runs a script. Returns what came until it was done.
#[track_caller]
pub(crate) fn run(client: &mut Client, script: &str) -> Vec<String> {
    client.send(script);
    let mut came = Vec::new();
    loop {
        match client.text() {
            text if text == "done" => return came,
            text => came.push(text),
        }
    }
}

/// Runs a script that asks one thing. Returns the answer, which comes after the script.
#[track_caller]
pub(crate) fn ask(client: &mut Client, script: &str) -> String {
    assert_eq!(run(client, script), [""; 0], "{script}");
    client.text()
}

/// The next message, or none if the session is over.
pub(crate) fn next(client: &mut Client) -> Option<String> {
    loop {
        match client.try_read() {
            Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
