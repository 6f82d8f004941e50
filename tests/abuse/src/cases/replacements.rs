//! A handler that is replaced under its sessions, again and again.

use std::time::Instant;

use crate::cases::talk::Talk;
use crate::checks::{Checks, Leaves, under_attack_that_leaves};
use crate::server::{Server, Setup};
use crate::{Lab, Result};

/// Each session numbers its messages, ten a second. The file is renamed over, and then written over in place.
pub(crate) fn under_sessions(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (sessions, renames, in_place) = lab.either((1_000, 1_000, 1_000), (100, 20, 5));
    let setup = Setup {
        plugins: &["echo_wsh", LEDGER],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let builds = lab.artifacts.builds(LEDGER)?;
    let file = format!("handlers/{LEDGER}.so");
    under_attack_that_leaves(Leaves::images_of(LEDGER), &server, checks, |checks| {
        let mut talk = Talk::open(&server, sessions)?;
        for (what, count) in [("by rename", renames), ("in place", in_place)] {
            let began = Instant::now();
            for _ in 0..count {
                talk.build += 1;
                let bytes = builds.number(talk.build);
                match what {
                    "by rename" => server.put(&file, &bytes)?,
                    _ => std::fs::write(server.path(&file), &bytes)?,
                }
                talk.until_loaded(&server)?;
            }
            let each = began.elapsed().as_secs_f64() * 1000.0 / count as f64;
            checks.note(format!("{count} replacements {what}, {each:.0} ms each"));
        }
        talk.finish()?;
        talk.tell(checks);
        let stay = server.log().matches("stays on the old code").count();
        checks.holds(format!("{stay} stayed on older code"), stay == 0);
        Ok(())
    })
}

const LEDGER: &str = "ledger_wsh";
