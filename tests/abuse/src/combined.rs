//! All at once: ten thousand sessions that are idle, every attack beside them, and a stop with all of them at the end.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cases::descriptors::Crowd;
use crate::cases::{crowds, logs, malformed, pings, readers, signals, slow_heads};
use crate::checks::{Baseline, Checks, under_attack};
use crate::prober::Prober;
use crate::server::{Server, Setup};
use crate::swarm::Swarm;
use crate::wire::{FIN, Peer, connect, frame, opening};
use crate::{Lab, Result, quietly};

/// How much of each attack.
struct Plan {
    idle: usize,
    slow_heads: usize,
    churn: usize,
    rounds: usize,
    hangups: u32,
    seconds: u64,
}

/// Runs all attacks, or `only` those that are named.
pub(crate) fn run(lab: &Lab, only: &[String], checks: &mut Checks) -> Result<()> {
    let long = Plan {
        idle: 10_000,
        slow_heads: 1_000,
        churn: 10_000,
        rounds: 20,
        hangups: 1_000,
        seconds: 30,
    };
    let short = Plan {
        idle: 1_000,
        slow_heads: 100,
        churn: 1_000,
        rounds: 3,
        hangups: 100,
        seconds: 5,
    };
    let plan = lab.either(long, short);
    let setup = Setup {
        plugins: &["echo_wsh", "fan_wsh"],
        ..logs::on_a_small_disk()
    };
    let mut server = Server::start(&lab.artifacts, &setup)?;
    // What as many connections as there will be take once stays with the server.
    let most = plan.idle + plan.slow_heads + TOGETHER + 1_000;
    drop(Swarm::opened(server.port, "/echo", most)?);
    std::thread::sleep(Duration::from_secs(2));
    let mut idle = Swarm::opened(server.port, "/echo", plan.idle)?;

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let idle = &mut idle;
        let resting = scope.spawn(|| -> Result<()> {
            quietly();
            while !is_over.load(Ordering::Relaxed) {
                crowds::answer_pings(idle, Duration::from_millis(500))?;
            }
            Ok(())
        });
        let done = under_attack(&server, checks, |checks| {
            attack(lab, &server, &plan, only, checks)
        });
        is_over.store(true, Ordering::Relaxed);
        resting
            .join()
            .map_err(|_| "the idle clients have panicked")??;
        done
    })?;
    checks.holds(
        format!(
            "{} of {} idle sessions are still open",
            idle.open(),
            plan.idle
        ),
        idle.open() == plan.idle,
    );
    let stopped = signals::stop_with(&mut server, idle)?;
    checks.holds(
        format!(
            "SIGTERM: {}, {} in {:.1} s",
            stopped.codes(),
            stopped.status,
            stopped.took.as_secs_f64()
        ),
        stopped.total() == plan.idle
            && stopped.status == "exit status: 0"
            && stopped.took < Duration::from_secs(30),
    );
    Ok(())
}

/// Runs the attacks, each on a thread of its own. Tells what each found.
fn attack(
    lab: &Lab,
    server: &Server,
    plan: &Plan,
    only: &[String],
    checks: &mut Checks,
) -> Result<()> {
    let attacks = attacks(lab, server, plan);
    if let Some(unknown) = only
        .iter()
        .find(|it| !attacks.iter().any(|(name, _)| name == it))
    {
        let names: Vec<&str> = attacks.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "there is no attack `{unknown}`; they are {}",
            names.join(", ")
        )
        .into());
    }
    std::thread::scope(|scope| -> Result<()> {
        let is_asked_for = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
        let asked_for = attacks.into_iter().filter(|(name, _)| is_asked_for(name));
        let running: Vec<_> = asked_for.map(|(_, attack)| scope.spawn(attack)).collect();
        for attack in running {
            let (said, holds) = attack.join().map_err(|_| "an attack has panicked")??;
            checks.holds(said, holds);
        }
        Ok(())
    })
}

/// An attack, by its name.
type Attack<'a> = (
    &'static str,
    Box<dyn FnOnce() -> Result<Finding> + Send + 'a>,
);

/// What an attack found, and whether it is as it should be.
type Finding = (String, bool);

fn attacks<'a>(lab: &'a Lab, server: &'a Server, plan: &'a Plan) -> Vec<Attack<'a>> {
    let port = server.port;
    let time = Duration::from_secs(plan.seconds);
    let slow_heads = move || -> Result<Finding> {
        let swarm = Swarm::connected(port, plan.slow_heads)?;
        let (first, last) = slow_heads::drip(swarm, Duration::from_secs(40))?;
        let said = format!(
            "{} slow heads closed between {first:.1} and {last:.1} s",
            plan.slow_heads
        );
        Ok((said, last <= 21.0))
    };
    let pings = move || {
        let mut reading = Swarm::opened(port, "/echo", 1)?;
        let mut deaf = Swarm::opened(port, "/echo", 1)?;
        let flooded = pings::ping_for(&mut reading, &mut deaf, time)?;
        Ok((format!("{} Pings", flooded.pings), true))
    };
    let readers = move || {
        let filled = readers::fill(port, 100, time)?;
        let said = format!(
            "{} MiB to 100 slow readers, {} let go",
            filled.published >> 20,
            filled.let_go
        );
        Ok((said, filled.let_go > 0))
    };
    let malformed = move || {
        let all = malformed::all();
        let count = all.len();
        let found = malformed::send(port, all)?;
        let said = format!(
            "{count} malformed handshakes, {} with another answer {}",
            found.faults.len(),
            found.faults.join(", ")
        );
        Ok((said, found.faults.is_empty()))
    };
    let hangups = move || {
        let began = Instant::now();
        for number in 1..=plan.hangups {
            server.signal(Signal::SIGHUP)?;
            let next = began + Duration::from_millis(10) * number;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let took = began.elapsed().as_secs_f64();
        Ok((format!("{} SIGHUPs in {took:.1} s", plan.hangups), true))
    };
    let disk = move || {
        let filler = server.inside("logs").join("filler");
        logs::fill(&filler)?;
        std::thread::sleep(time / 2);
        std::fs::remove_file(&filler)?;
        let said = format!("the log's disk was full for {} s", plan.seconds / 2);
        Ok((said, true))
    };
    vec![
        ("slow-heads", Box::new(slow_heads)),
        ("churn", Box::new(move || churn(port, plan))),
        ("pings", Box::new(pings)),
        ("readers", Box::new(readers)),
        ("malformed", Box::new(malformed)),
        ("hangups", Box::new(hangups)),
        ("disk", Box::new(disk)),
        ("descriptors", Box::new(move || run_out(lab, time))),
    ]
}

/// Opens and closes sessions, so many at a time.
fn churn(port: u16, plan: &Plan) -> Result<Finding> {
    let together = plan.churn.min(TOGETHER);
    let began = Instant::now();
    for _ in 0..plan.churn * plan.rounds / together {
        let mut begun = Vec::with_capacity(together);
        for _ in 0..together {
            let mut stream = connect(port)?;
            stream.write_all(opening("/echo", "").as_bytes())?;
            begun.push(stream);
        }
        for stream in begun {
            Peer::opened(stream)?.send(&frame(FIN | 8, &1000u16.to_be_bytes()))?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let said = format!(
        "{} × {} sessions came and went in {seconds:.0} s",
        plan.churn, plan.rounds
    );
    Ok((said, true))
}

/// A second server, which has 256 descriptors, with a prober of its own.
fn run_out(lab: &Lab, time: Duration) -> Result<Finding> {
    let setup = Setup {
        // It stands for a machine of its own, on which the other server has no part.
        within: &["nice", "-n", "-10", "prlimit", "--nofile=256:256"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let baseline = Baseline::take(&server)?;
    let prober = Prober::start(server.port)?;
    let mut crowd = Crowd::new(400)?;
    let began = Instant::now();
    while began.elapsed() < time {
        crowd.press(server.port)?;
    }
    drop(crowd);
    let mut own = Checks::default();
    own.probe(prober.finish()?);
    baseline.check(&server, &mut own)?;
    let said = format!(
        "a server with 256 descriptors and 400 clients: {}",
        own.figure()
    );
    Ok((said, own.faults().is_empty()))
}

/// Sessions of the churn that are open at a time.
const TOGETHER: usize = 1_000;
