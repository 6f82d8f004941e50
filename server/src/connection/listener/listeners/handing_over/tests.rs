use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::super::super::{accept_now, remaking};
use super::*;
use crate::config::Endpoint;

/// A server that listens at a path, and the process that is to take its place.
struct Handing {
    dir: tempfile::TempDir,
    config: Config,
    before: Option<Listeners>,
    copies: Vec<PassedSocket>,
    after: Option<Listeners>,
}

/// What happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The server copies its sockets for the process that it starts.
    Copies,
    /// That process opens them.
    Opens,
    /// The server lets go, and the process takes over.
    HandsOver,
    /// The server ends without a word, and the process goes on without it.
    Dies,
    /// Another program removes the file.
    Removed,
    /// The server that serves looks for its file.
    Looks,
}

impl Handing {
    fn new() -> Handing {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config {
            listen: vec![Endpoint::Unix(dir.path().join("a.sock"))],
            ..Config::default()
        };
        let before = Listeners::open(&config, Vec::new()).expect("it listens");
        Handing {
            dir,
            config,
            before: Some(before),
            copies: Vec::new(),
            after: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a.sock")
    }

    async fn go(&mut self, step: Step) {
        match step {
            Step::Copies => {
                let before = self.before.as_ref().expect("it serves");
                self.copies = passed(before.copies().expect("descriptors"));
            }
            Step::Opens => {
                let copies = std::mem::take(&mut self.copies);
                self.after = Some(Listeners::open(&self.config, copies).expect("it listens"));
            }
            Step::HandsOver => {
                let before = self.before.take().expect("it serves");
                let made_meanwhile = passed(before.leave());
                before.end(ListenerEnd::AtOnce).await;
                self.after().take_over(made_meanwhile, &self.config);
            }
            Step::Dies => {
                let before = self.before.take().expect("it serves");
                // No file of a process that is killed is removed.
                drop(before.leave());
                before.end(ListenerEnd::AtOnce).await;
                self.after().take_over(Vec::new(), &self.config);
            }
            Step::Removed => fs::remove_file(self.path()).expect("it is there"),
            Step::Looks => {
                let serving = self.before.as_ref().or(self.after.as_ref());
                look(serving.expect("one serves"));
            }
        }
    }

    fn after(&self) -> &Listeners {
        self.after.as_ref().expect("it is open")
    }
}

/// Looks once for files that are gone.
fn look(listeners: &Listeners) {
    remaking::remake(listeners, listeners.with_files(), &mut Default::default());
}

fn passed(copies: Vec<(OwnedFd, SocketNote)>) -> Vec<PassedSocket> {
    let copies = copies.into_iter().map(|(socket, note)| PassedSocket {
        socket: socket.into(),
        note,
    });
    copies.collect()
}

/// Whether a client that connects at `path` gets to these listeners.
fn leads_to(path: &Path, listeners: &Listeners) -> bool {
    let Ok(_client) = UnixStream::connect(path) else {
        return false;
    };
    let known = listeners.lock().known();
    known.iter().any(|it| accept_now(it.socket()).is_ok())
}

#[tokio::test]
async fn a_path_leads_to_the_process_that_serves_whenever_its_file_is_removed() {
    use Step::{Copies, Dies, HandsOver, Looks, Opens, Removed};
    for steps in [
        &[Copies, Opens, HandsOver][..],
        &[Removed, Looks, Copies, Opens, HandsOver],
        &[Copies, Removed, Looks, Opens, HandsOver],
        &[Copies, Removed, Opens, Looks, HandsOver],
        &[Copies, Opens, Removed, Looks, HandsOver],
        &[Copies, Opens, Removed, Looks, Removed, Looks, HandsOver],
        // No server has noticed it when the process takes over.
        &[Removed, Copies, Opens, HandsOver],
        &[Copies, Removed, Opens, HandsOver],
        &[Copies, Opens, Removed, HandsOver],
        &[Copies, Opens, Removed, Looks, Removed, HandsOver],
        &[Copies, Opens, HandsOver, Removed],
        // What the server has made is not passed on.
        &[Copies, Opens, Removed, Looks, Dies],
        &[Copies, Removed, Looks, Opens, Dies],
        &[Copies, Opens, Dies],
        // A process that did not take over comes before the one that does.
        &[Copies, Removed, Looks, Opens, Copies, Opens, HandsOver],
        &[
            Copies, Opens, Removed, Looks, Copies, Opens, Removed, Looks, HandsOver,
        ],
    ] {
        let mut handing = Handing::new();
        let path = handing.path();
        for step in steps {
            handing.go(*step).await;
            if *step == Looks
                && let Some(before) = &handing.before
            {
                assert!(leads_to(&path, before), "{steps:?}");
            }
        }
        let last = |step| steps.iter().rposition(|it| *it == step);
        if steps.last() == Some(&HandsOver) && last(Removed) <= last(Looks) {
            assert!(leads_to(&path, handing.after()), "{steps:?}: at once");
        }
        look(handing.after());
        assert!(leads_to(&path, handing.after()), "{steps:?}");

        let after = handing.after.take().expect("it is open");
        after.end(ListenerEnd::AtOnce).await;
        assert!(!path.exists(), "{steps:?}: its file is removed at its end");
    }
}

#[tokio::test]
async fn what_another_process_has_put_at_the_path_is_left_as_it_is() {
    let handing = Handing::new();
    let before = handing.before.as_ref().expect("it serves");
    let path = handing.path();
    fs::remove_file(&path).expect("it is there");
    let other = std::os::unix::net::UnixListener::bind(&path).expect("a socket");

    look(before);

    assert!(!leads_to(&path, before));
    assert!(UnixStream::connect(&path).is_ok(), "it is left");
    // It may be left behind.
    drop(other);
    look(before);
    assert!(leads_to(&path, before));
}

#[tokio::test]
async fn a_change_of_the_configuration_while_a_process_loads_is_served_by_it() {
    let mut handing = Handing::new();
    for step in [Step::Copies, Step::Opens] {
        handing.go(step).await;
    }
    let new = handing.dir.path().join("b.sock");
    handing.config.listen = vec![
        Endpoint::Unix(new.clone()),
        Endpoint::Plain("127.0.0.1:0".parse().expect("an address")),
    ];
    let before = handing.before.as_ref().expect("it serves");
    before.apply(&handing.config).expect("it listens");
    let address = |it: &Listeners| it.endpoints().iter().find_map(Endpoint::address);
    let bound = address(before);
    assert!(
        handing.after().apply(&handing.config).is_err(),
        "another one has it"
    );

    handing.go(Step::HandsOver).await;

    assert!(leads_to(&new, handing.after()));
    assert!(!handing.path().exists(), "nothing listens there any more");
    assert_eq!(address(handing.after()), bound);
}

#[tokio::test]
async fn a_server_that_has_let_go_binds_nothing_for_a_change_of_the_configuration() {
    let mut handing = Handing::new();
    for step in [Step::Copies, Step::Opens] {
        handing.go(step).await;
    }
    let before = handing.before.take().expect("it serves");
    let made_meanwhile = passed(before.leave());
    before.end(ListenerEnd::AtOnce).await;
    handing.after().take_over(made_meanwhile, &handing.config);

    let new = handing.dir.path().join("b.sock");
    handing.config.listen.push(Endpoint::Unix(new.clone()));
    before.apply(&handing.config).expect("nothing to be bound");

    assert!(!new.exists());
    assert!(leads_to(&handing.path(), handing.after()));
}
