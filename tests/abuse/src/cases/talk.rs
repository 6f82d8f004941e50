//! Sessions of the handler `ledger_wsh` that number their messages, and see whether one was lost or doubled.

use std::time::{Duration, Instant};

use crate::Result;
use crate::artifacts::build_name;
use crate::checks::Checks;
use crate::server::Server;
use crate::swarm::{AllFrames, Swarm};
use crate::wire::{FIN, TEXT, frame};

/// Sessions that talk all the time.
pub(crate) struct Talk {
    swarm: Swarm,
    frames: AllFrames,
    /// How many messages each session has sent, and how many answers it has heard.
    sent: Vec<usize>,
    answered: Vec<usize>,
    /// The build that each session has heard of last.
    builds: Vec<String>,
    /// The number of the build that was put there last.
    pub(crate) build: usize,
    began: Instant,
    next: Instant,
    answers: usize,
    on_the_last_build: usize,
    faults: usize,
    first_fault: String,
    /// How much of the log was read.
    log_bytes: u64,
}

impl Talk {
    pub(crate) fn open(server: &Server, sessions: usize) -> Result<Talk> {
        Ok(Talk {
            swarm: Swarm::opened(server.port, "/ledger", sessions)?,
            frames: AllFrames::default(),
            sent: vec![0; sessions],
            answered: vec![0; sessions],
            builds: vec![String::new(); sessions],
            build: 1,
            began: Instant::now(),
            next: Instant::now(),
            answers: 0,
            on_the_last_build: 0,
            faults: 0,
            first_fault: String::new(),
            log_bytes: 0,
        })
    }

    /// Talks until the log says that the build that was put there is loaded.
    pub(crate) fn until_loaded(&mut self, server: &Server) -> Result<()> {
        let deadline = Instant::now() + SOON;
        let wanted = format!("generation={} ", self.build);
        loop {
            let lines = server.log_from(&mut self.log_bytes)?;
            let mut lines = lines.lines();
            if lines.any(|it| it.contains("handler loaded") && it.contains(&wanted)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("build {} is not loaded", self.build).into());
            }
            self.talk(Duration::from_millis(5))?;
        }
    }

    /// Talks until a new handshake gets this status. Returns how long that took.
    pub(crate) fn until_status(&mut self, server: &Server, wanted: u16) -> Result<Duration> {
        let began = Instant::now();
        while server.handshake_status("/ledger")? != wanted {
            if began.elapsed() > SOON {
                return Err(format!("no {wanted} after {SOON:?}").into());
            }
            self.talk(Duration::from_millis(1))?;
        }
        Ok(began.elapsed())
    }

    /// Sends what is due, and hears what comes within this time.
    fn talk(&mut self, time: Duration) -> Result<()> {
        if Instant::now() >= self.next {
            self.next = (self.next + PERIOD).max(Instant::now() - PERIOD);
            for number in 0..self.sent.len() {
                self.say(number)?;
            }
        }
        self.hear(time)
    }

    fn say(&mut self, number: usize) -> Result<()> {
        let bytes = frame(
            FIN | TEXT,
            format!("{} hello", self.sent[number]).as_bytes(),
        );
        if self.swarm.write(number, &bytes)? != bytes.len() {
            self.fault(format!("session {number} takes nothing"));
        }
        self.sent[number] += 1;
        Ok(())
    }

    fn hear(&mut self, time: Duration) -> Result<()> {
        let (answered, builds) = (&mut self.answered, &mut self.builds);
        let answers = &mut self.answers;
        let faults = self.frames.hear(&mut self.swarm, time, |number, payload| {
            let text = String::from_utf8_lossy(payload).into_owned();
            let mut words = text.split(' ');
            let wanted = answered[number].to_string();
            let is_next = words.next() == Some(&*wanted);
            builds[number] = words.next().unwrap_or_default().to_owned();
            answered[number] += 1;
            *answers += 1;
            (!is_next).then(|| format!("`{text}` instead of {wanted}"))
        })?;
        faults.into_iter().for_each(|it| self.fault(it));
        Ok(())
    }

    /// Hears all that is on its way, and asks until the last build answers each session.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.settle()?;
        let last = build_name(self.build);
        let deadline = Instant::now() + SOON;
        // A session moves a moment after new ones are served.
        while self.on_the_last_build < self.sent.len() && Instant::now() < deadline {
            (0..self.sent.len()).try_for_each(|number| self.say(number))?;
            self.settle()?;
            self.on_the_last_build = self.builds.iter().filter(|it| **it == last).count();
        }
        Ok(())
    }

    /// What became of the messages and the sessions.
    pub(crate) fn tell(&self, checks: &mut Checks) {
        let sessions = self.sent.len();
        let rate = self.answers as f64 / self.began.elapsed().as_secs_f64();
        checks.holds(
            format!(
                "{} messages of {sessions} sessions, {rate:.0} a second, {} lost, doubled or closed {}",
                self.answers, self.faults, self.first_fault
            ),
            self.faults == 0 && self.swarm.open() == sessions,
        );
        checks.holds(
            format!("the last build answers {} of them", self.on_the_last_build),
            self.on_the_last_build == sessions,
        );
    }

    fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while self.answered != self.sent && Instant::now() < deadline {
            self.hear(Duration::from_millis(20))?;
        }
        let missing: usize = self.sent.iter().sum::<usize>() - self.answers;
        if missing > 0 {
            self.fault(format!("{missing} messages have no answer"));
        }
        Ok(())
    }

    fn fault(&mut self, what: String) {
        self.faults += 1;
        if self.first_fault.is_empty() {
            self.first_fault = what;
        }
    }
}

/// How often each says something.
const PERIOD: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(30);
