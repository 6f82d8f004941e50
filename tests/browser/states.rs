//! What a script sees of one WebSocket: its states, what is buffered, and its events.

use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;

pub(crate) fn ready_state_goes_through_its_four_values(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const heard = new Heard('/echo');
        const states = [heard.socket.readyState];
        await heard.opened();
        states.push(heard.socket.readyState);
        heard.socket.close(1000);
        states.push(heard.socket.readyState);
        await heard.closed();
        states.push(heard.socket.readyState);
        return states;";
    assert_eq!(page.run(script, json!(null)), json!([0, 1, 2, 3]));

    let script = "
        const heard = new Heard('/nobody');
        const states = [heard.socket.readyState];
        await heard.next('error');
        states.push(heard.socket.readyState);
        await heard.closed();
        states.push(heard.socket.readyState);
        return states;";
    assert_eq!(page.run(script, json!(null)), json!([0, 3, 3]));
}

pub(crate) fn buffered_amount_rises_with_each_send_and_falls_to_zero(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const heard = await new Heard('/echo').opened();
        const { socket } = heard;
        const amounts = [socket.bufferedAmount];
        socket.send('päth');
        amounts.push(socket.bufferedAmount);
        for (let index = 0; index < 200; index++) socket.send(new Uint8Array(50_000));
        amounts.push(socket.bufferedAmount);
        for (let index = 0; index < 201; index++) await heard.message();
        amounts.push(socket.bufferedAmount);
        socket.close();
        await heard.closed();
        socket.send('never sent');
        amounts.push(socket.bufferedAmount);
        return amounts;";
    // In bytes of UTF-8. What is sent after the end stays there for ever.
    let amounts = json!([0, 5, 10_000_005, 0, 10]);
    assert_eq!(page.run(script, json!(null)), amounts);
}

pub(crate) fn the_four_events_come_in_their_order_and_say_where_from(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const heard = await new Heard('/echo?a=b').opened();
        const { socket } = heard;
        socket.send('one');
        socket.send('two');
        socket.send('Goodbye');
        const said = [await heard.message(), await heard.message(), await heard.message()];
        await heard.closed();
        const { origin } = heard.events[1];
        return { kinds: heard.kinds, said, origin, url: socket.url };";
    let host = format!("ws://localhost:{}", server.port());
    let seen = json!({
        "kinds": ["open", "message", "message", "message", "close"],
        "said": ["one", "two", "Goodbye"],
        "origin": host,
        "url": format!("{host}/echo?a=b"),
    });
    assert_eq!(page.run(script, json!(null)), seen);

    let script = "
        const heard = new Heard('/nobody');
        await heard.next('error');
        const close = await heard.closed();
        return { kinds: heard.kinds, close };";
    let seen = json!({ "kinds": ["error", "close"], "close": [1006, "", false] });
    assert_eq!(page.run(script, json!(null)), seen);
}

pub(crate) fn a_page_has_a_hundred_sockets_at_once(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const all = Array.from({ length: 100 }, () => new Heard('/echo'));
        await Promise.all(all.map((heard) => heard.opened()));
        all.forEach((heard, index) => heard.socket.send(String(index)));
        const said = await Promise.all(all.map((heard) => heard.message()));
        const sessions = await (await fetch('/.wshd/handlers.json')).json();
        for (const { socket } of all) socket.close(1000);
        const closes = await Promise.all(all.map((heard) => heard.closed()));
        return {
            sessions: sessions[0].sessions,
            right: said.filter((text, index) => text === String(index)).length,
            clean: closes.filter(([code, , wasClean]) => code === 1000 && wasClean).length,
        };";
    let seen = json!({ "sessions": 100, "right": 100, "clean": 100 });
    assert_eq!(page.run(script, json!(null)), seen);
}

pub(crate) fn a_silent_page_stays_connected_because_its_browser_answers_pings(browser: &Browser) {
    let limits = "[limits]\nping_interval_ms = 100\npong_timeout_ms = 1000\n";
    let server = Server::of(&["echo_wsh"]).config(limits).start();
    let page = browser.open(&server.blank());

    let script = "
        const heard = await new Heard('/echo').opened();
        await new Promise((resolve) => setTimeout(resolve, 2500));
        heard.socket.send('still here');
        const answer = await heard.message();
        heard.socket.close(1000);
        return [answer, ...(await heard.closed())];";
    let seen = json!(["still here", 1000, "", true]);
    assert_eq!(page.run(script, json!(null)), seen);
    // What the page says itself takes less than forty bytes, and a pong takes six.
    let [bytes_in, _] = server.bytes_in_and_out("/echo");
    assert!(bytes_in > 40 + 10 * 6, "{bytes_in} bytes in");
}
