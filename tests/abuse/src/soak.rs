//! A mixed load for long, while the handler is replaced every ten seconds.

use std::time::{Duration, Instant};

use crate::checks::{Checks, mib};
use crate::prober::Prober;
use crate::server::{Server, Setup};
use crate::swarm::{AllFrames, Swarm};
use crate::wire::{BINARY, CLOSE, FIN, Peer, TEXT, frame};
use crate::{Lab, Result, quietly};

/// Runs the load for so many minutes.
pub(crate) fn run(lab: &Lab, checks: &mut Checks, minutes: u64) -> Result<()> {
    let setup = Setup {
        plugins: &["echo_wsh", "fan_wsh", LEDGER],
        config: "[limits]\nping_interval_ms = 5000\n",
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let kept = kept_of_a_generation(lab, &server)?;
    let prober = Prober::start(server.port)?;
    let time = Duration::from_secs(60 * minutes);
    // Threads that are made from here on take processors after the server and the prober.
    let done = std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            quietly();
            load(lab, &server, time)
        });
        loading.join().map_err(|_| "the load has panicked")?
    });
    let probe = prober.finish()?;
    let (load, samples) = done?;
    checks.probe(probe);
    tell(checks, &load, &samples, kept, time);
    let log = server.log();
    let panics = log
        .lines()
        .filter(|it| it.contains("panic") || it.contains("ERROR"))
        .count();
    checks.holds(
        format!("{panics} panics and errors in the log"),
        panics == 0,
    );
    Ok(())
}

fn load(lab: &Lab, server: &Server, time: Duration) -> Result<(Load, Vec<Sample>)> {
    let builds = lab.artifacts.builds(LEDGER)?;
    let mut load = Load::open(server.port)?;
    let mut samples = Vec::new();
    let began = Instant::now();
    let (mut next_build, mut next_sample) = (began + BUILD_EVERY, began);
    while began.elapsed() < time {
        load.tick()?;
        if Instant::now() >= next_build {
            next_build += BUILD_EVERY;
            load.replacements += 1;
            let build = builds.number(PRACTICE + load.replacements);
            server.put(&format!("handlers/{LEDGER}.so"), &build)?;
        }
        if Instant::now() >= next_sample {
            next_sample += SAMPLE_EVERY;
            samples.push(Sample::take(server, began.elapsed())?);
        }
    }
    Ok((load, samples))
}

/// What a retired generation keeps besides its image, in bytes: what the loader and the server note of it for ever.
///
/// No session sends anything meanwhile. The sessions move from build to build, so that threads of the server run each one.
fn kept_of_a_generation(lab: &Lab, server: &Server) -> Result<f64> {
    let builds = lab.artifacts.builds(LEDGER)?;
    let _sessions = Swarm::opened(server.port, "/ledger", SESSIONS)?;
    let mut points = Vec::new();
    for build in 2..=PRACTICE {
        server.put(&format!("handlers/{LEDGER}.so"), &builds.number(build))?;
        let generation = format!("generation={build} ");
        server.line(&["handler loaded", &generation], Duration::from_secs(10))?;
        points.push(Sample::take(server, Duration::ZERO)?.own_bytes() as f64);
    }
    // The median, since a few of them give much memory back, or take it.
    let mut each: Vec<f64> = points
        .iter()
        .zip(points.iter().skip(STEP))
        .map(|(before, after)| (after - before) / STEP as f64)
        .collect();
    each.sort_by(f64::total_cmp);
    Ok(each[each.len() / 2])
}

fn tell(checks: &mut Checks, load: &Load, samples: &[Sample], kept_bytes: f64, time: Duration) {
    checks.holds(
        format!(
            "{} messages and {} publications checked, {} errors of sequence {}",
            load.answers, load.heard, load.faults, load.first_fault
        ),
        load.faults == 0 && load.answers > 0 && load.heard > 0,
    );
    checks.note(format!(
        "{} sessions came and went, {} replacements",
        load.churned, load.replacements
    ));
    // What a server takes once, it has taken after a sixth of the time, and at most after ten minutes.
    let warm = (time / 6).min(Duration::from_secs(600));
    let warm: Vec<&Sample> = samples.iter().filter(|it| it.at >= warm).collect();
    let (Some(first), Some(last)) = (warm.first(), warm.last()) else {
        checks.holds("no samples", false);
        return;
    };
    let an_hour = |of: &dyn Fn(&Sample) -> f64| -> f64 {
        let hours = |it: &Sample| it.at.as_secs_f64() / 3600.0;
        let points: Vec<_> = warm.iter().map(|it| (hours(it), of(it))).collect();
        slope(&points) / (1024.0 * 1024.0)
    };
    let all = an_hour(&|it| it.resident_bytes as f64);
    let beside_images = an_hour(&|it| it.own_bytes() as f64);
    let own = an_hour(&|it| it.own_bytes() as f64 - it.images as f64 * kept_bytes);
    let replaced = (last.images - first.images).max(1);
    checks.note(format!(
        "resident memory {:.1} MiB, {all:+.2} MiB an hour; images of {} retired generations {:.1} MiB, {:.0} KiB each",
        mib(last.resident_bytes),
        last.images,
        mib(last.image_bytes),
        (last.image_bytes as f64 - first.image_bytes as f64) / 1024.0 / replaced as f64,
    ));
    let kept_kib = kept_bytes / 1024.0;
    checks.holds(
        format!("{kept_kib:.1} KiB kept of each besides, by {PRACTICE} without a load"),
        kept_kib < 8.0,
    );
    checks.holds(
        format!(
            "{own:+.2} MiB an hour apart from retired generations ({beside_images:+.2} apart from their images alone), \
             by {} samples after the warm-up",
            warm.len()
        ),
        own < 1.0,
    );
    let (low, high) = (
        first.descriptors.min(last.descriptors),
        first.descriptors.max(last.descriptors),
    );
    checks.holds(
        format!("{low} to {high} descriptors"),
        high - low <= low / 20 + 8,
    );
}

/// What the server has at a moment.
struct Sample {
    at: Duration,
    resident_bytes: u64,
    /// Memory of mapped libraries of the handler that is replaced, which is never unmapped.
    image_bytes: u64,
    images: usize,
    descriptors: usize,
}

impl Sample {
    fn take(server: &Server, at: Duration) -> Result<Sample> {
        let usage = server.usage()?;
        let images = server.images(LEDGER)?;
        Ok(Sample {
            at,
            resident_bytes: usage.resident_bytes,
            image_bytes: images.resident_bytes,
            images: images.count,
            descriptors: usage.descriptors,
        })
    }

    /// Resident memory without the images.
    fn own_bytes(&self) -> u64 {
        self.resident_bytes - self.image_bytes
    }
}

/// The slope of the straight line that fits best.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let above: f64 = points.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    let below: f64 = points.iter().map(|it| (it.0 - x).powi(2)).sum();
    if below == 0.0 { 0.0 } else { above / below }
}

/// The clients.
struct Load {
    port: u16,
    /// Sessions that number their messages. Their handler is replaced.
    ledger: Swarm,
    ledger_frames: AllFrames,
    sent: Vec<u64>,
    answered: Vec<u64>,
    /// The oldest session that has not left.
    oldest: usize,
    /// Subscribers of one topic. The first one publishes.
    fan: Swarm,
    fan_frames: AllFrames,
    published: u64,
    expected: Vec<u64>,
    ticks: u64,
    next: Instant,
    replacements: usize,
    churned: usize,
    answers: u64,
    heard: u64,
    faults: usize,
    first_fault: String,
}

impl Load {
    fn open(port: u16) -> Result<Load> {
        Ok(Load {
            port,
            ledger: Swarm::opened(port, "/ledger", SESSIONS)?,
            ledger_frames: AllFrames::default(),
            sent: vec![0; SESSIONS],
            answered: vec![0; SESSIONS],
            oldest: 0,
            fan: Swarm::opened(port, "/fan?topic=soak", SUBSCRIBERS)?,
            fan_frames: AllFrames::default(),
            published: 0,
            expected: vec![0; SUBSCRIBERS],
            ticks: 0,
            next: Instant::now(),
            replacements: 0,
            churned: 0,
            answers: 0,
            heard: 0,
            faults: 0,
            first_fault: String::new(),
        })
    }

    /// A tenth of a second of the load.
    fn tick(&mut self) -> Result<()> {
        self.next += TICK;
        self.ticks += 1;
        // Each session sends one message in half a second.
        for number in self.oldest..self.sent.len() {
            if number as u64 % 5 == self.ticks % 5 && self.ledger.stream(number).is_some() {
                let padding = "x".repeat((self.ticks as usize * 37 + number * 101) % 3000);
                let text = format!("{} {padding}", self.sent[number]);
                let bytes = frame(FIN | TEXT, text.as_bytes());
                if self.ledger.write(number, &bytes)? != bytes.len() {
                    self.fault(format!("session {number} takes nothing"));
                }
                self.sent[number] += 1;
            }
        }
        if self.ticks.is_multiple_of(2) {
            let bytes = frame(FIN | BINARY, &self.published.to_be_bytes().repeat(100));
            self.fan.write(0, &bytes)?;
            self.published += 1;
        }
        self.churn()?;
        while Instant::now() < self.next {
            let left = self.next.saturating_duration_since(Instant::now());
            self.hear_ledger(left.min(Duration::from_millis(10)))?;
            self.hear_fan()?;
        }
        Ok(())
    }

    /// One client comes, is echoed and leaves; in turn politely and by a reset. Once a second a session of the ledger
    /// leaves too, and another one comes.
    fn churn(&mut self) -> Result<()> {
        let length = [1, 125, 126, 4_000, 70_000, 300_000][self.churned % 6];
        let message: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
        let mut peer = Peer::open(self.port, "/echo")?;
        if peer.ask(&message)? != message {
            self.fault(format!("an echo of {length} bytes is another one"));
        }
        match self.churned % 2 {
            0 => drop(peer.send(&frame(FIN | CLOSE, &1000u16.to_be_bytes()))),
            _ => peer.reset()?,
        }
        self.churned += 1;
        if self.ticks.is_multiple_of(10) {
            self.ledger.drop_one(self.oldest);
            self.oldest += 1;
            self.ledger.open_more(self.port, "/ledger", 1)?;
            self.sent.push(0);
            self.answered.push(0);
        }
        Ok(())
    }

    fn hear_ledger(&mut self, wait: Duration) -> Result<()> {
        let (answered, answers) = (&mut self.answered, &mut self.answers);
        let frames = &mut self.ledger_frames;
        let faults = frames.hear(&mut self.ledger, wait, |number, payload| {
            let text = String::from_utf8_lossy(payload);
            let wanted = format!("{} build-", answered[number]);
            answered[number] += 1;
            *answers += 1;
            (!text.starts_with(&wanted)).then(|| format!("`{text}` instead of `{wanted}`"))
        })?;
        faults.into_iter().for_each(|it| self.fault(it));
        Ok(())
    }

    fn hear_fan(&mut self) -> Result<()> {
        let (expected, heard) = (&mut self.expected, &mut self.heard);
        let frames = &mut self.fan_frames;
        let faults = frames.hear(&mut self.fan, Duration::ZERO, |number, payload| {
            let wanted = expected[number];
            let is_next = payload.starts_with(&wanted.to_be_bytes()) && payload.len() == 800;
            expected[number] += 1;
            *heard += 1;
            (!is_next).then(|| format!("session {number} misses publication {wanted}"))
        })?;
        let of_the_fan = faults.into_iter().map(|it| format!("a subscriber: {it}"));
        of_the_fan.for_each(|it| self.fault(it));
        Ok(())
    }

    fn fault(&mut self, what: String) {
        self.faults += 1;
        if self.first_fault.is_empty() {
            self.first_fault = what;
        }
    }
}

const LEDGER: &str = "ledger_wsh";
/// The builds before the load: the first one, and those that replace it one after the other.
const PRACTICE: usize = 600;
/// What they leave is taken by so many.
const STEP: usize = 50;
const SESSIONS: usize = 200;
const SUBSCRIBERS: usize = 50;
const TICK: Duration = Duration::from_millis(100);
const BUILD_EVERY: Duration = Duration::from_secs(10);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_is_that_of_the_line_through_the_points() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0);
        assert_eq!(slope(&[(1.0, 3.0)]), 0.0);
    }
}
