//! What the model knows of one handler, and how a step changes it.

use std::fs;

use std::path::PathBuf;

use super::world::{PANICS_MAX, RELOADS, Reload, World, fresh_build, name_of};
use super::{LIMIT, Step};
use crate::harness::client::Client;
use crate::harness::patch::build_name;
use crate::harness::within;

/// Reasons why a session of `troubled_wsh` does not move. A `snapshot` or a `restore` fails or panics, or the handler is busy.
pub(super) const TROUBLES: [&str; 6] = [
    "busy",
    "snapshot fails",
    "snapshot panics",
    "too large",
    "restore fails",
    "restore panics",
];

/// The file at the handler's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    Absent,
    Good(u32),
    Bad,
}

/// One generation, by the parts of its answer.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    build: u32,
    note: u32,
    panics: usize,
}

impl Loaded {
    fn answer(&self, seen: u64) -> String {
        format!("{} {seen} note-{:04}", build_name(self.build), self.note)
    }

    fn is_quarantined(&self) -> bool {
        self.panics >= PANICS_MAX
    }

    fn looks_like(&self, other: &Loaded) -> bool {
        (self.build, self.note) == (other.build, other.note)
    }
}

/// An open session.
pub(super) struct Open {
    client: Client,
    /// The index of the generation that it must run. Until it has moved, `was` may answer.
    on: usize,
    was: usize,
    seen: u64,
    trouble: Option<&'static str>,
}

/// What the model knows of one handler.
pub(super) struct Walker<'a> {
    name: String,
    path: PathBuf,
    world: &'a World,
    random: u64,
    /// Every generation so far.
    loaded: Vec<Loaded>,
    serving: Option<usize>,
    file: File,
    note: u32,
    reload: Reload,
    /// Open sessions, the oldest first.
    sessions: Vec<Open>,
    /// How many refusals and removals the log must have so far.
    refusals: usize,
    removals: usize,
}

impl<'a> Walker<'a> {
    pub(super) fn new(seed: u64, world: &'a World) -> Walker<'a> {
        let name = name_of(seed);
        Walker {
            path: world.site.handlers().join(format!("{name}_wsh.so")),
            name,
            world,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            loaded: Vec::new(),
            serving: None,
            file: File::Absent,
            note: 0,
            reload: RELOADS[seed as usize % 3],
            sessions: Vec::new(),
            refusals: 0,
            removals: 0,
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Replace => self.put(fresh_build()),
            Step::Overwrite => {
                let build = fresh_build();
                fs::write(&self.path, self.world.builds.number(build)).expect("writing");
                self.has_put(build);
            }
            Step::Restore => {
                if !self.loaded.is_empty() {
                    let index = self.choose(self.loaded.len());
                    self.put(self.loaded[index].build);
                }
            }
            Step::Repeat => {
                if let Some(serving) = self.serving {
                    self.put(self.loaded[serving].build);
                }
            }
            Step::Remove => {
                if self.file != File::Absent {
                    fs::remove_file(&self.path).expect("it is there");
                    self.file = File::Absent;
                    if let Some(old) = self.serving.take() {
                        self.removals += 1;
                        self.supersede(old);
                    }
                }
            }
            Step::Spoil => self.spoil(),
            Step::Configure => self.configure(),
            Step::Connect => {
                let serving = self.serving.filter(|it| !self.loaded[*it].is_quarantined());
                if let Some(on) = serving {
                    self.sessions.push(Open {
                        client: self.world.server.connect(&self.route()),
                        on,
                        was: on,
                        seen: 0,
                        trouble: None,
                    });
                }
            }
            Step::Ask => {}
            Step::Trouble => {
                let trouble = TROUBLES[self.choose(TROUBLES.len())];
                let mut calm = self.sessions.iter_mut().rev();
                if let Some(open) = calm.find(|open| open.trouble.is_none()) {
                    open.trouble = Some(trouble);
                }
            }
            Step::Calm => self.calm(),
            Step::Close => {
                if !self.sessions.is_empty() {
                    let mut open = self.sessions.remove(0);
                    assert_eq!(open.client.close(1000), 1000);
                }
            }
            Step::Panic => {
                if let Some(mut open) = self.sessions.pop() {
                    open.client.send("panic");
                    assert_eq!(open.client.close_code(), 1011);
                    self.loaded[open.on].panics += 1;
                }
            }
        }
        // Sessions are asked while the change is made and after it.
        self.ask();
        self.serves();
        self.ask();
    }

    /// Puts a build at the handler's path by rename.
    fn put(&mut self, build: u32) {
        let bytes = self.world.builds.number(build);
        self.world.site.add_bytes(&bytes, &self.file_name());
        self.has_put(build);
    }

    /// Notes that a good file was put. It is a new generation, unless it serves already.
    fn has_put(&mut self, build: u32) {
        self.file = File::Good(build);
        let new = Loaded {
            build,
            note: self.note,
            panics: 0,
        };
        let serving = self.serving.map(|serving| &self.loaded[serving]);
        if serving.is_some_and(|it| it.looks_like(&new) && !it.is_quarantined()) {
            return;
        }
        self.loaded.push(new);
        let newest = self.loaded.len() - 1;
        if let Some(old) = self.serving.replace(newest) {
            self.supersede(old);
        }
        if self.reload == Reload::Migrate {
            let calm = self.sessions.iter_mut().filter(|it| it.trouble.is_none());
            calm.for_each(|open| open.on = newest);
        }
    }

    /// Notes that this generation gets no new connections any more.
    fn supersede(&mut self, old: usize) {
        if self.reload == Reload::Close {
            for gone in self.sessions.extract_if(.., |open| open.on == old) {
                let mut gone = gone;
                assert_eq!(gone.client.close_code(), 1012);
            }
        }
    }

    fn spoil(&mut self) {
        let mut bytes = match self.choose(3) {
            0 => b"#!/bin/sh\n".to_vec(),
            1 => self.world.other_major.clone(),
            // Build 0 fails when it is loaded.
            _ => self.world.builds.number(0),
        };
        // Each bad file is another one, because a refusal that is repeated is logged once.
        bytes.extend_from_slice(&fresh_build().to_ne_bytes());
        self.world.site.add_bytes(&bytes, &self.file_name());
        self.file = File::Bad;
        self.is_refused();
    }

    /// Waits until the file at the path is refused once more.
    fn is_refused(&mut self) {
        self.refusals += 1;
        self.is_told(
            &format!("cannot load `{}`", self.file_name()),
            self.refusals,
        );
    }

    /// Waits until `count` log lines say `what`.
    fn is_told(&self, what: &str, count: usize) {
        within(LIMIT, &format!("{count} times `{what}`"), || {
            self.world.server.count_lines(&[what]) == count
        });
    }

    /// Changes the table, which makes a new generation of a handler that serves. Of another handler nothing would show that
    /// the table was read.
    fn configure(&mut self) {
        if self.serving.is_none() {
            return;
        }
        self.note += 1;
        self.reload = RELOADS[self.choose(RELOADS.len())];
        self.world.set_table(&self.name, self.reload, self.note);
        match self.file {
            File::Good(build) => self.has_put(build),
            File::Bad => self.is_refused(),
            File::Absent => panic!("it serves from a file"),
        }
    }

    /// Ends the trouble of a session. It moves after its next callback if it still tries, otherwise with the next generation.
    fn calm(&mut self) {
        let serving = self.serving.map(|serving| self.loaded[serving].clone());
        let goes_to = self
            .serving
            .filter(|it| self.reload == Reload::Migrate && !self.loaded[*it].is_quarantined());
        let loaded = &self.loaded;
        // Two generations with equal answers cannot be told apart.
        let can_tell = |open: &&mut Open| {
            let own = &loaded[open.on];
            open.trouble.is_some() && !serving.as_ref().is_some_and(|it| it.looks_like(own))
        };
        let Some(open) = self.sessions.iter_mut().find(can_tell) else {
            return;
        };
        open.trouble = None;
        open.seen += 1;
        let own = loaded[open.on].answer(open.seen);
        assert_eq!(open.client.ask("calm"), own, "{}", self.name);
        open.seen += 1;
        let answer = open.client.ask("calm");
        match goes_to {
            Some(newest) if answer == loaded[newest].answer(open.seen) => open.on = newest,
            _ => assert_eq!(answer, loaded[open.on].answer(open.seen), "{}", self.name),
        }
        open.was = open.on;
    }

    /// Asserts that the server serves what the model says, once the log says so.
    fn serves(&self) {
        let name = &self.name;
        let loaded = format!("handler loaded handler=\"{name}\"");
        self.is_told(&loaded, self.loaded.len());
        self.is_told(&format!("handler removed handler={name} "), self.removals);

        let (server, route) = (&self.world.server, self.route());
        let Some(serving) = self.serving.map(|serving| &self.loaded[serving]) else {
            // The log has no line for the removal of a file that never served.
            let status = if self.file == File::Bad { 503 } else { 404 };
            within(LIMIT, &format!("{route} answers {status}"), || {
                server.handshake_status(&route) == status
            });
            return;
        };
        let status = server.handshake_status(&route);
        let what = format!("{route} is served by {serving:?}");
        if serving.is_quarantined() {
            assert_eq!(status, 503, "{what}");
        } else {
            assert_eq!(status, 101, "{what}");
            assert_eq!(
                server.connect(&route).ask("which?"),
                serving.answer(1),
                "{what}"
            );
        }
    }

    /// Asserts that every session runs the code that the model says, with its own state. A session may move a moment after
    /// the swap.
    fn ask(&mut self) {
        for open in &mut self.sessions {
            let [on, was] = [open.on, open.was].map(|index| &self.loaded[index]);
            let what = format!("a session of {} runs {on:?}", self.name);
            within(LIMIT, &what, || {
                open.seen += 1;
                let answer = open.client.ask(open.trouble.unwrap_or("calm"));
                let has_moved = answer == on.answer(open.seen);
                if !has_moved {
                    assert_eq!(answer, was.answer(open.seen), "{what}");
                }
                has_moved
            });
            open.was = open.on;
        }
    }

    /// Returns a random number below `count`.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 32) as usize % count
    }

    fn file_name(&self) -> String {
        format!("{}_wsh.so", self.name)
    }

    fn route(&self) -> String {
        format!("/{}", self.name)
    }
}
