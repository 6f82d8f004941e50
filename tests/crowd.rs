//! A thousand members who come and go, and readers who join while ten thousand messages a second are published.
//!
//! The long forms have those numbers, the short ones fewer:
//!
//! ```sh
//! WSHD_LONG=1 cargo test -p wshd --test integration crowd -- --nocapture --test-threads 1
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::client::Client;
use crate::harness::compile::compile;
use crate::harness::patch::{Builds, build_name};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{is_long, within};

fn start(config: &str) -> (Site, Server, Builds) {
    let site = Site::empty();
    let builds = Builds::alike("crowd_wsh");
    site.add_bytes(&builds.number(1), "crowd_wsh.so");
    site.write("config.toml", config);
    let server = Server::bare(&site)
        .args(["-p", "0", "-w", "handlers", "--log-level", "info"])
        .start();
    (site, server, builds)
}

/// Replaces the handler and waits until the new build serves. The log is too long to be looked through for it.
fn replace(site: &Site, server: &Server, builds: &Builds, number: u32) {
    site.add_bytes(&builds.number(number), "crowd_wsh.so");
    within(SOON, "the new build serves", || {
        std::thread::sleep(Duration::from_millis(10));
        server.connect("/crowd").ask("build") == build_name(number)
    });
}

/// Says that it is over when it is dropped, so that the threads of a test that fails end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A watcher's list of the members, which changes lead on.
struct Watcher {
    client: Client,
    version: u64,
    members: BTreeSet<String>,
    /// Changes that came before the list.
    early: VecDeque<String>,
}

impl Watcher {
    fn connect(server: &Server) -> Watcher {
        let mut client = server.connect("/crowd?watch=1");
        let mut early = VecDeque::new();
        let list = loop {
            match client.text() {
                list if list.starts_with("list ") => break list,
                change => early.push_back(change),
            }
        };
        let mut words = list.split(' ').skip(1);
        let version = words.next().and_then(|it| it.parse().ok());
        Watcher {
            client,
            version: version.expect("a version"),
            members: words.map(str::to_owned).collect(),
            early,
        }
    }

    /// Applies changes until the list is as wanted. A change that is missing, or that does not fit, fails.
    fn follow(&mut self, is_wanted: impl Fn(&BTreeSet<String>) -> bool) {
        while !is_wanted(&self.members) {
            let early = self.early.pop_front();
            let change = early.unwrap_or_else(|| self.client.text());
            let words: Vec<&str> = change.split(' ').collect();
            let [version, sign, name] = words[..] else {
                panic!("`{change}` is no change");
            };
            let version: u64 = version.parse().expect("a version");
            if version <= self.version {
                continue; // The list has it.
            }
            assert_eq!(version, self.version + 1, "no change is missing");
            self.version = version;
            let fits = match sign {
                "+" => self.members.insert(name.to_owned()),
                "-" => self.members.remove(name),
                _ => false,
            };
            assert!(fits, "`{change}` fits the list");
        }
    }
}

/// Enters as a member of this name.
fn enter(server: &Server, name: String) -> (String, Client) {
    let mut member = server.connect(&format!("/crowd?name={name}"));
    assert_eq!(member.text(), "in");
    (name, member)
}

/// Has the members of these seats leave in many ways, and others take their place. Returns the last ones.
fn come_and_go(server: &Server, seats: &[usize], is_over: &AtomicBool) -> Vec<(String, Client)> {
    let of_seat = |seat: &usize| enter(server, format!("m{seat}-0"));
    let mut members: Vec<_> = seats.iter().map(of_seat).collect();
    for turn in 1.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let at = turn * STEP % members.len();
        let name = format!("m{}-{turn}", seats[at]);
        match turn % 5 {
            0 => assert_eq!(members[at].1.close(1000), 1000),
            1 => {
                members[at].1.send("panic");
                assert_eq!(members[at].1.close_code(), 1011);
            }
            // It is lost before it can be told that it has entered.
            2 => drop(server.connect(&format!("/crowd?name=lost-{name}"))),
            // The socket of the one before is lost without a Close frame.
            _ => {}
        }
        members[at] = enter(server, name);
    }
    members
}

#[test]
fn members_who_come_and_go_over_replacements_leave_no_ghost_and_none_is_missed() {
    let (count, replacements) = if is_long() { (1_000, 100) } else { (60, 6) };
    let (site, server, builds) = start("[limits]\npanics_max = 1000000\n");
    let mut watcher = Watcher::connect(&server);
    let is_over = AtomicBool::new(false);
    let seats: Vec<usize> = (0..count).collect();

    let mut members: Vec<(String, Client)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (seats.chunks(count.div_ceil(THREADS)))
            .map(|seats| scope.spawn(|| come_and_go(&server, seats, &is_over)))
            .collect();
        let over = Over(&is_over);
        let watching = scope.spawn(|| watcher.follow(|members| members.contains("end")));
        for number in 2..=1 + replacements {
            replace(&site, &server, &builds, number);
        }
        drop(over);
        let threads = threads.into_iter().map(|thread| thread.join());
        let members = threads.flat_map(|it| it.expect("all were told what they should be"));
        let members = members.chain([enter(&server, "end".to_owned())]).collect();
        watching.join().expect("no change is missing");
        members
    });

    let wanted: BTreeSet<String> = members.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(wanted.len(), count + 1);
    watcher.follow(|members| *members == wanted);
    within(SOON, "a new list has those members and no others", || {
        Watcher::connect(&server).members == wanted
    });
    for (_, member) in &mut members {
        within(SOON, "every member moves", || {
            member.ask("build") == build_name(1 + replacements)
        });
    }
    let changes = watcher.version;
    eprintln!("{count} members, {replacements} replacements, {changes} changes");
    drop(members);
    watcher.follow(BTreeSet::is_empty);
}

/// How the messages of the topic `news` go to its readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// As they are: the handler in C has no `envelope`.
    Plain,
    /// By `crowd_wsh`, each with its position.
    WithPosition,
}

impl Form {
    /// Joins behind a position, or with the last publications. Answers whether everything behind it follows.
    fn join(self, server: &Server, seen: &str) -> (Client, bool) {
        if self == Form::WithPosition {
            let mut client = server.connect(&format!("/crowd?last={LAST}&seen={seen}"));
            let is_recovered = client.text().starts_with("joined true ");
            return (client, is_recovered);
        }
        let mut client = server.connect("/shares");
        let joined = client.ask(&format!("join news {LAST}"));
        assert!(joined.starts_with("join OK "), "{joined}");
        (client, true)
    }

    /// Publishes the numbers from `first` to `last`.
    fn publish(self, publisher: &mut Client, mut first: u64, last: u64) {
        if self == Form::Plain {
            (first..=last).for_each(|number| publisher.write(format!("publish news {number}")));
            publisher.flush();
            for _ in first..=last {
                let published = publisher.text();
                assert!(published.starts_with("publish "), "{published}");
            }
        }
        while self == Form::WithPosition && first <= last {
            let published = publisher.ask(&format!("publish {first} {last}"));
            // It is less where there is no room: `envelope` is called for what was published before.
            let next = published.strip_prefix("published ");
            first = next.and_then(|it| it.parse().ok()).expect("a number");
        }
    }
}

/// A publication: its number, and its position if the form has it.
struct Heard {
    number: u64,
    position: String,
}

impl Heard {
    fn next(client: &mut Client) -> Heard {
        let text = client.text();
        let (position, number) = text.split_once(' ').unwrap_or(("", &text));
        Heard {
            number: number.parse().expect("a number"),
            position: position.to_owned(),
        }
    }

    /// Reads on until `is_last`. Returns the last one.
    fn read_on(self, client: &mut Client, is_last: impl Fn(u64) -> bool) -> Heard {
        let mut last = self;
        while !is_last(last.number) {
            let next = Heard::next(client);
            assert_eq!(next.number, last.number + 1, "no gap, and nothing twice");
            last = next;
        }
        last
    }
}

/// Joins so many times, once in each `period`, and most times behind what was seen the time before. Returns how often
/// everything behind that followed.
fn join_again_and_again(form: Form, server: &Server, times: u32, period: Duration) -> u64 {
    let began = Instant::now();
    let (mut recovered, mut seen) = (0, None::<Heard>);
    for time in 1..=times {
        let position = seen.as_ref().map_or("", |seen| &seen.position);
        let (mut client, is_recovered) = form.join(server, position);
        let first = Heard::next(&mut client);
        if let Some(seen) = seen.filter(|seen| !seen.position.is_empty()) {
            match is_recovered {
                true => assert_eq!(first.number, seen.number + 1, "everything follows"),
                false => assert!(first.number > seen.number + 1, "something is gone"),
            }
            recovered += u64::from(is_recovered);
        }
        let until = first.number + LAST + READ;
        let last = first.read_on(&mut client, |number| number >= until);
        seen = (time % 4 != 0).then_some(last);
        std::thread::sleep((period * time).saturating_sub(began.elapsed()));
    }
    recovered
}

/// Publishes the numbers from 1 on, so many a second. `last` is the last one, which is published after it was noted.
fn publish_steadily(
    form: Form,
    publisher: &mut Client,
    per_second: u64,
    is_over: &AtomicBool,
    last: &AtomicU64,
) {
    let began = Instant::now();
    let of_turn = per_second / TURNS_PER_SECOND;
    let mut next = 1;
    while !is_over.load(Ordering::Relaxed) {
        form.publish(publisher, next, next + of_turn - 1);
        next += of_turn;
        let due = Duration::from_millis(1000 * next / per_second);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    last.store(next, Ordering::Relaxed);
    form.publish(publisher, next, next);
}

#[test]
fn readers_who_join_a_busy_topic_hear_all_of_it_once() {
    read_while_it_is_published(Form::Plain, "shares");
}

#[test]
fn readers_who_come_back_with_a_position_hear_what_they_have_missed_once() {
    read_while_it_is_published(Form::WithPosition, "crowd");
}

fn read_while_it_is_published(form: Form, handler: &str) {
    let (per_second, joins_per_second, seconds) = match is_long() {
        true => (10_000, 100, 20),
        false => (2_000, 20, 2),
    };
    let topics = format!("[topics.\"{handler}/news\"]\nhistory = {{ count = 1000 }}\n");
    let (site, server, builds) = start(&topics);
    site.add_bytes(&compile("tests/fixtures/c/shares.c", &[]), "shares_wsh.so");
    server.line(&["handler loaded", "shares"]);
    let mut publisher = server.connect(&format!("/{handler}"));
    let (mut early, _) = form.join(&server, "");
    let (is_over, last) = (AtomicBool::new(false), AtomicU64::new(0));
    let times = joins_per_second * seconds / THREADS as u32;
    let period = Duration::from_secs(seconds.into()) / times;

    let began = Instant::now();
    let recovered: u64 = std::thread::scope(|scope| {
        let publishing =
            scope.spawn(|| publish_steadily(form, &mut publisher, per_second, &is_over, &last));
        let hearing_all = scope.spawn(|| {
            let first = Heard::next(&mut early);
            assert_eq!(first.number, 1);
            first.read_on(&mut early, |number| number == last.load(Ordering::Relaxed));
        });
        let joining: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| join_again_and_again(form, &server, times, period)))
            .collect();
        let over = Over(&is_over);
        for number in 2..=seconds {
            std::thread::sleep(Duration::from_secs(1));
            replace(&site, &server, &builds, number);
        }
        let recovered = joining.into_iter().map(|thread| thread.join());
        let recovered = recovered.map(|it| it.expect("no gap, and nothing twice"));
        let recovered = recovered.sum();
        drop(over);
        publishing.join().expect("all is published");
        hearing_all.join().expect("no gap, and nothing twice");
        recovered
    });

    let elapsed = began.elapsed().as_secs_f64();
    let per_second = |count: u64| count as f64 / elapsed;
    eprintln!(
        "{form:?}: {:.0} messages and {:.0} joins a second, {recovered} with all that they missed",
        per_second(last.into_inner()),
        per_second(u64::from(joins_per_second * seconds)),
    );
    let some_recovered = form == Form::Plain || recovered > 0;
    assert!(some_recovered, "some have come back in time");
}

/// How long a load may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// How many threads drive members and readers.
const THREADS: usize = 10;
/// A step from seat to seat that visits all of them.
const STEP: usize = 7_919;
/// How many messages a reader asks for without a position, and how many it reads after as many.
const LAST: u64 = 100;
const READ: u64 = 50;
const TURNS_PER_SECOND: u64 = 100;
