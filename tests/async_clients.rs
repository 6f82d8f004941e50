//! A handler with a runtime of its own, as the guide shows one, is replaced again and again. An older generation leaves
//! nothing behind but its mapping.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::{Site, library};

/// An HTTP server that answers a path with the path, and `/slow` after a while. It ends with the test.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                if path == "/slow" {
                    std::thread::sleep(Duration::from_millis(100));
                }
                let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\nhere is {path}");
            });
        }
    });
    address
}

/// The threads, descriptors and memory of a process.
#[derive(Debug)]
struct Held {
    threads: usize,
    descriptors: usize,
}

impl Held {
    fn by(server: &Server) -> Held {
        let list = |what: &str| {
            let entries = std::fs::read_dir(format!("/proc/{}/{what}", server.pid()));
            let entries = entries.expect("the server runs");
            entries.filter_map(|entry| Some(entry.ok()?.path()))
        };
        let is_any = |thread: &PathBuf| {
            let name = std::fs::read_to_string(thread.join("comm")).unwrap_or_default();
            // The server's own threads for the calls of a generation's life: one more than ran at once.
            name.trim_end() != "lifecycle"
        };
        Held {
            threads: list("task").filter(is_any).count(),
            descriptors: list("fd").count(),
        }
    }
}

#[test]
fn ten_reloads_of_a_handler_with_a_tokio_of_its_own_leave_no_thread_no_descriptor_and_no_memory() {
    let site = Site::empty();
    let upstream = upstream();
    site.write(
        "config.toml",
        &format!("[handler.lookup]\nconfig = {{ upstream = \"{upstream}\" }}\n"),
    );
    let code = std::fs::read(library("lookup_wsh")).expect("the plugin's library");
    // Bytes behind the tables of a library are no part of it, and make another file of it.
    let put = |number: u8| site.add_bytes(&[&code[..], &[number]].concat(), "lookup_wsh.so");
    put(0);
    let server = Server::start(&site);
    let mut open = server.connect("/lookup");
    let mut reload = |number: u8| {
        // One session asks while the handler is replaced, and stays until it has its answer.
        let mut asking = server.connect("/lookup");
        asking.send("/slow");
        put(number);
        let generation = format!("generation={}", number + 1);
        server.line(&["handler loaded", "handler=\"lookup\"", &generation]);
        assert_eq!(asking.receive(), "here is /slow".into());
        // The older generation is over when both have moved.
        let older = format!("generation={number}");
        server.line(&["generation retired", "handler=lookup", &older]);
        for client in [&mut open, &mut asking, &mut server.connect("/lookup")] {
            assert_eq!(client.ask("/tea"), "here is /tea");
            assert_eq!(client.ask("/milk"), "here is /milk");
        }
        drop(asking);
        eventually("both others are gone", || server.sessions("lookup") == 1);
    };
    reload(1);
    let after_one = Held::by(&server);
    let memory = || server.proc_status("RssAnon");
    let (before, whole_before) = (memory(), server.proc_status("VmRSS"));

    (2..=11).for_each(&mut reload);

    // A socket that was just closed may have been counted after the first. One thread of the runtime that waits for disks comes
    // with the first look at the admin socket's file, a second after the start.
    let is_as_before = |now: &Held| {
        now.threads <= after_one.threads + 1 && now.descriptors <= after_one.descriptors
    };
    let now = Held::by(&server);
    let claim = format!("no more than {after_one:?}, after {now:?}");
    eventually(&claim, || is_as_before(&Held::by(&server)));
    // What is left is the mapping. Its code belongs to a file; the pages that the dynamic linker wrote to do not.
    let grown = memory().saturating_sub(before) / 10;
    let whole = server.proc_status("VmRSS").saturating_sub(whole_before) / 10;
    let file = code.len() / 1024;
    eprintln!("a reload: {whole} KiB resident, {grown} of them of no file; the library has {file}");
    assert!(grown < 400, "{grown} KiB a reload");
}
