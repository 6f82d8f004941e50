//! What a test finds, and what every test asks for besides its own criterion.

use std::time::{Duration, Instant};

use crate::prober::{Probe, Prober};
use crate::server::{Images, Server, Usage};
use crate::wire::Peer;
use crate::{Result, quietly};

/// The findings of one test, in order.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    figures: Vec<String>,
    faults: Vec<String>,
}

impl Checks {
    /// A figure, and whether it is what the criterion wants.
    pub(crate) fn holds(&mut self, figure: impl Into<String>, holds: bool) {
        let figure = figure.into();
        if !holds {
            self.faults.push(figure.clone());
        }
        self.figures.push(figure);
    }

    /// A figure that the criterion says nothing of.
    pub(crate) fn note(&mut self, figure: impl Into<String>) {
        self.figures.push(figure.into());
    }

    pub(crate) fn figure(&self) -> String {
        self.figures.join("; ")
    }

    /// What does not hold.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// Runs an attack while a prober echoes. Afterwards descriptors and memory are back where they were, and nothing has panicked.
pub(crate) fn under_attack(
    server: &Server,
    checks: &mut Checks,
    attack: impl FnOnce(&mut Checks) -> Result<()> + Send,
) -> Result<()> {
    under_attack_that_leaves(Leaves::default(), server, checks, attack)
}

/// What an attack leaves behind that no server could take back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leaves {
    /// Images of the generations of this plugin, which are never unmapped.
    pub(crate) images_of: Option<&'static str>,
    /// Sessions whose callback never returns: each keeps its connection.
    pub(crate) sessions: usize,
    /// Lines about panics of handlers.
    pub(crate) panics: bool,
}

impl Leaves {
    /// What replacements of this plugin leave.
    pub(crate) fn images_of(plugin: &'static str) -> Leaves {
        Leaves {
            images_of: Some(plugin),
            ..Leaves::default()
        }
    }
}

/// Like `under_attack`, and counts apart what is left behind.
pub(crate) fn under_attack_that_leaves(
    leaves: Leaves,
    server: &Server,
    checks: &mut Checks,
    attack: impl FnOnce(&mut Checks) -> Result<()> + Send,
) -> Result<()> {
    let baseline = Baseline::with(server, leaves)?;
    let prober = Prober::start(server.port)?;
    let done = std::thread::scope(|scope| {
        let attacking = scope.spawn(|| {
            quietly();
            attack(checks)
        });
        attacking.join().map_err(|_| "the attack has panicked")?
    });
    let probe = prober.finish()?;
    done?;
    checks.probe(probe);
    baseline.check(server, checks)
}

impl Checks {
    pub(crate) fn probe(&mut self, probe: Probe) {
        let Probe {
            echoes,
            errors,
            p99,
            longest,
            longest_at,
            bare_p99,
        } = probe;
        let figure = format!(
            "prober: {echoes} echoes, {errors} errors, p99 {} (of a bare echo {}), longest {} at {:.1} s",
            ms(p99),
            ms(bare_p99),
            ms(longest),
            longest_at.as_secs_f64()
        );
        self.holds(figure, errors == 0 && echoes > 0 && p99 < P99_MAX);
    }
}

/// What a server has before an attack.
pub(crate) struct Baseline {
    before: Usage,
    leaves: Leaves,
    images: Images,
}

impl Baseline {
    /// Lets the server make what it makes once, and looks.
    pub(crate) fn take(server: &Server) -> Result<Baseline> {
        Baseline::with(server, Leaves::default())
    }

    fn with(server: &Server, leaves: Leaves) -> Result<Baseline> {
        let mut peers = Vec::new();
        for _ in 0..64 {
            peers.push(Peer::open(server.port, "/echo")?);
        }
        for peer in &mut peers {
            peer.ask(&[7; 4096])?;
        }
        drop(peers);
        std::thread::sleep(Duration::from_millis(300));
        let before = server.usage()?;
        let mut baseline = Baseline {
            before,
            leaves,
            images: Images::default(),
        };
        baseline.images = baseline.new_images(server)?;
        Ok(baseline)
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.before.resident_bytes
    }

    /// Waits for the server to come back to it.
    pub(crate) fn check(&self, server: &Server, checks: &mut Checks) -> Result<()> {
        let ended = Instant::now();
        let before = self.before;
        let descriptors_max =
            before.descriptors + before.descriptors.div_ceil(20) + self.leaves.sessions;
        let (usage, images, is_back) = loop {
            let (usage, images) = (server.usage()?, self.new_images(server)?);
            let resident = usage.resident_bytes - images.resident_bytes;
            let is_back = usage.descriptors <= descriptors_max
                && resident <= before.resident_bytes + GROWTH_MAX + KEPT_MAX * images.count as u64;
            if is_back || ended.elapsed() > BACK_WITHIN {
                break (usage, images, is_back);
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut figure = format!(
            "{:.1} s later {} descriptors of {} before, {:+.1} MiB resident",
            ended.elapsed().as_secs_f64(),
            usage.descriptors,
            before.descriptors,
            mib(usage.resident_bytes - images.resident_bytes) - mib(before.resident_bytes),
        );
        if self.leaves.sessions > 0 {
            let count = self.leaves.sessions;
            figure += &format!(" with the {count} sessions that stay in their callback");
        }
        if self.leaves.images_of.is_some() {
            let bytes = images.resident_bytes / images.count.max(1) as u64;
            figure += &format!(
                " apart from the images of {} generations, {:.2} MiB each",
                images.count,
                mib(bytes)
            );
        }
        self.panics(server, checks);
        checks.holds(figure, is_back);
        Ok(())
    }

    /// Images of the plugin that is replaced that were not there before.
    fn new_images(&self, server: &Server) -> Result<Images> {
        let Some(plugin) = self.leaves.images_of else {
            return Ok(Images::default());
        };
        let now = server.images(plugin)?;
        Ok(Images {
            count: now.count.saturating_sub(self.images.count),
            resident_bytes: now
                .resident_bytes
                .saturating_sub(self.images.resident_bytes),
        })
    }

    fn panics(&self, server: &Server, checks: &mut Checks) {
        let log = server.log();
        let panics = log.lines().filter(|line| line.contains("panic")).count();
        if panics > 0 && !self.leaves.panics {
            checks.holds(format!("{panics} panics in the log"), false);
        }
    }
}

pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

const P99_MAX: Duration = Duration::from_millis(50);
const GROWTH_MAX: u64 = 8 << 20;
/// What a retired generation may keep besides its image: what its code has allocated for good.
const KEPT_MAX: u64 = 8 << 10;
const BACK_WITHIN: Duration = Duration::from_secs(10);
