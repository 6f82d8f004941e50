//! WebSockets of workers.

use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;

pub(crate) fn a_worker_sends_receives_and_ends_with_its_socket(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        globalThis.worker = new Worker('worker.js');
        return new Promise((resolve, reject) => {
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = ({ message }) => reject(new Error(message));
        });";
    let seen = json!({ "text": "from a worker", "bytes": [1, 2, 3], "kinds": ["open", "message", "message"] });
    assert_eq!(page.run(script, json!(null)), seen);

    page.run("worker.terminate();", json!(null));
    server.line(&["session closed", "path=/echo", "code=1001"]);
    assert_eq!(browser.complaints(), [""; 0]);
}

pub(crate) fn two_pages_share_the_socket_of_a_shared_worker(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let script = "
        globalThis.worker = new SharedWorker('shared_worker.js');
        globalThis.said = [];
        worker.port.onmessage = ({ data }) => said.push(data);
        worker.port.postMessage(given);";
    let said = "
        while (said.length < given) await new Promise((resolve) => setTimeout(resolve, 5));
        return said;";
    let first = browser.open(&server.blank());
    first.run(script, json!("one"));
    assert_eq!(first.run(said, json!(1)), json!(["one"]));

    let second = browser.open(&server.blank());
    second.run(script, json!("two"));

    assert_eq!(first.run(said, json!(2)), json!(["one", "two"]));
    assert_eq!(second.run(said, json!(1)), json!(["two"]));
    let sessions = "
        const handlers = await (await fetch('/.wshd/handlers.json')).json();
        return handlers.map(({ sessions }) => sessions);";
    assert_eq!(first.run(sessions, json!(null)), json!([1]));
    first.close();
    second.close();
    server.line(&["session closed", "path=/echo"]);
}
