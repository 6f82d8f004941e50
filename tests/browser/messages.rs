//! Messages of every kind and length, both ways.

use serde_json::json;

use crate::browser::Browser;
use crate::page::Page;
use crate::server::Server;

pub(crate) fn texts_blobs_buffers_and_views_come_back_as_the_binary_type_says(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const bytes = Uint8Array.from({ length: 20 }, (_, index) => index);
        const sent = [
            'text', '', 'päth ☃ 😀', '\\ud800!', 'x'.repeat(65_536),
            new Blob(['bl', Uint8Array.of(111, 98)]), new Blob([]),
            bytes.buffer, new ArrayBuffer(0),
            bytes.subarray(3, 6), new DataView(bytes.buffer, 17, 2), new Uint16Array(bytes.buffer, 2, 1),
        ];
        const heard = await new Heard('/echo', [], given).opened();
        for (const one of sent) heard.socket.send(one);
        const seen = [];
        for (const _ of sent) {
            const data = await heard.message();
            if (typeof data === 'string') {
                seen.push(data.length < 100 ? data : data.length);
                continue;
            }
            const buffer = data instanceof Blob ? await data.arrayBuffer() : data;
            seen.push([data.constructor.name, ...new Uint8Array(buffer)]);
        }
        heard.socket.close();
        await heard.closed();
        return seen;";
    for (binary_type, kind) in [("arraybuffer", "ArrayBuffer"), ("blob", "Blob")] {
        let bytes = |bytes: &[u8]| {
            let bytes = bytes.iter().map(|byte| json!(byte));
            std::iter::once(json!(kind))
                .chain(bytes)
                .collect::<Vec<_>>()
        };
        let all: Vec<u8> = (0..20).collect();
        let seen = json!([
            "text",
            "",
            "päth ☃ 😀",
            "\u{fffd}!",
            65_536,
            bytes(b"blob"),
            bytes(b""),
            bytes(&all),
            bytes(b""),
            bytes(&[3, 4, 5]),
            bytes(&[17, 18]),
            bytes(&[2, 3]),
        ]);
        assert_eq!(page.run(script, json!(binary_type)), seen, "{binary_type}");
    }
}

pub(crate) fn one_long_message_comes_back_whole(browser: &Browser) {
    let server = Server::of(&["echo_wsh", "echo_noext_wsh"]);
    let server = server.config(LONG).start();
    let page = browser.open(&server.blank());

    for (path, length) in [("/echo", 16 * MIB), ("/echo_noext", 64 * MIB)] {
        let given = json!({ "path": path, "count": 1, "length": length });
        assert_eq!(page.run(COME_BACK, given), length, "{path}");
    }
    // As text, of which each character takes three bytes.
    let script = "
        const heard = await new Heard('/echo').opened();
        const text = '☃'.repeat(given);
        heard.socket.send(text);
        const same = (await heard.message()) === text;
        heard.socket.close();
        return same;";
    assert_eq!(page.run(script, json!(16 * MIB / 3)), true);
}

pub(crate) fn many_messages_of_64_mib_together_come_back_in_order(browser: &Browser) {
    let server = Server::of(&["echo_wsh", "echo_noext_wsh"]);
    let server = server.config(LONG).start();
    let page = browser.open(&server.blank());

    for path in ["/echo", "/echo_noext"] {
        let given = json!({ "path": path, "count": 64, "length": MIB });
        assert_eq!(page.run(COME_BACK, given), 64 * MIB, "{path}");
    }
}

pub(crate) fn a_blob_of_any_length_goes_to_a_handler_that_takes_parts(browser: &Browser) {
    let server = Server::of(&["upload_wsh"]).start();
    let page = browser.open(&server.blank());

    let script = "
        const words = Uint32Array.from({ length: given / 4 }, (_, index) => Math.imul(index, 2654435761));
        const heard = await new Heard('/upload').opened();
        heard.socket.send(new Blob([words]));
        const told = [];
        let progress;
        do {
            progress = JSON.parse(await heard.message());
            told.push(progress.bytes);
        } while (!progress.is_done);
        heard.socket.close(1000);
        await heard.closed();
        return [told.length > 10, told.every((bytes, at) => at === 0 || bytes > told[at - 1]), told.at(-1)];";
    let bytes = 16 * MIB;
    assert_eq!(page.run(script, json!(bytes)), json!([true, true, bytes]));
}

pub(crate) fn messages_are_compressed_where_the_handler_lets_them_be(browser: &Browser) {
    for config in ["", "deflate_context_takeover = true\n"] {
        let server = Server::of(&["echo_wsh"]).config(config).start();
        let page = browser.open(&server.blank());
        let [bytes_in, bytes_out] = exchange(&page, &server, "/echo", "permessage-deflate");
        assert!(bytes_in < LITTLE, "{bytes_in} bytes in");
        assert!(bytes_out < LITTLE, "{bytes_out} bytes out");
    }

    let server = Server::of(&["echo_noext_wsh"]).start();
    let page = browser.open(&server.blank());
    let [bytes_in, bytes_out] = exchange(&page, &server, "/echo_noext", "");
    assert!(bytes_in > TOLD, "{bytes_in} bytes in");
    assert!(bytes_out > TOLD, "{bytes_out} bytes out");
}

pub(crate) fn a_longer_message_than_the_limit_closes_with_1009(browser: &Browser) {
    let server = Server::of(&["echo_wsh"]);
    let server = server
        .config("[limits]\nmessage_bytes_max = 1000\n")
        .start();
    let page = browser.open(&server.blank());

    let script = "
        const heard = await new Heard('/echo').opened();
        heard.socket.send('x'.repeat(1000));
        const fits = (await heard.message()).length;
        heard.socket.send('x'.repeat(1001));
        return [fits, await heard.closed()];";
    let close = json!([1009, "message too big: message_bytes_max = 1000", true]);
    assert_eq!(page.run(script, json!(null)), json!([1000, close]));
}

/// Sends `TOLD` bytes that compress well, in ten messages, and has them come back. The extensions begin with `wanted`. Returns
/// the bytes that the server got and sent.
fn exchange(page: &Page<'_>, server: &Server, path: &str, wanted: &str) -> [u64; 2] {
    let script = "
        const heard = await new Heard(given.path).opened();
        const { extensions } = heard.socket;
        const text = 'all work and no play '.repeat(given.length / 21);
        for (let index = 0; index < 10; index++) {
            heard.socket.send(text);
            if ((await heard.message()) !== text) throw new Error('another text');
        }
        heard.socket.close(1000);
        await heard.closed();
        return extensions;";
    let extensions = page.run(script, json!({ "path": path, "length": TOLD / 10 }));
    let extensions = extensions.as_str().expect("a text");
    match wanted {
        "" => assert_eq!(extensions, "", "{path}"),
        wanted => assert!(extensions.starts_with(wanted), "{path}: {extensions}"),
    }
    server.bytes_in_and_out(path)
}

/// Sends messages of pseudo-random bytes all at once, and compares what comes back. Returns how many bytes did.
const COME_BACK: &str = "
    const words = new Uint32Array(given.length / 4);
    let state = 1;
    for (let index = 0; index < words.length; index++) {
        state = Math.imul(state, 1664525) + 1013904223;
        words[index] = index % 4 === 0 ? state : 0x61626364;
    }
    const heard = await new Heard(given.path).opened();
    for (let index = 0; index < given.count; index++) {
        words[0] = index;
        heard.socket.send(words);
    }
    let bytes = 0;
    for (let index = 0; index < given.count; index++) {
        const received = new Uint32Array(await heard.message());
        words[0] = index;
        if (received.length !== words.length) throw new Error(`${received.length} words came`);
        const wrong = received.findIndex((word, at) => word !== words[at]);
        if (wrong !== -1) throw new Error(`message ${index} differs at word ${wrong}`);
        bytes += received.byteLength;
    }
    heard.socket.close(1000);
    await heard.closed();
    return bytes;";
const MIB: usize = 1 << 20;
/// A configuration for messages of up to 64 MiB.
const LONG: &str = "[limits]\nmessage_bytes_max = 67108864\n";
/// How many bytes `exchange` sends, and what is little of that.
const TOLD: u64 = 420_000;
const LITTLE: u64 = TOLD / 20;
