//! What of the machine a run needs: two cores, and descriptors for ten thousand connections.

use std::process::{Child, Command};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::Result;

/// A core for the servers and another one for the load generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// Takes two of the cores that this process may use, and moves it to the second.
    pub(crate) fn take() -> Result<Cores> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
        let (Some(server), Some(load)) = (cores.next(), cores.next()) else {
            return Err("two cores are needed, one for the server and one to drive it from".into());
        };
        pin(load)?;
        Ok(Cores { server, load })
    }

    /// Starts a process on the core of the servers. It inherits the affinity, so that not even its
    /// first instruction runs elsewhere, and it counts one core.
    pub(crate) fn spawn(self, command: &mut Command) -> Result<Child> {
        pin(self.server)?;
        let child = command.spawn();
        pin(self.load)?;
        child.map_err(|error| {
            format!(
                "cannot start `{}`: {error}",
                command.get_program().display()
            )
            .into()
        })
    }
}

/// Allows as many descriptors as the system lets this process have, here and in what it starts.
pub(crate) fn raise_descriptors() -> Result<u64> {
    let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // A privileged process may have more than was given.
    for most in [DESCRIPTORS.max(allowed), allowed] {
        if setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok() {
            return Ok(most);
        }
    }
    Ok(allowed)
}

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// What Linux allows at most unless it is told otherwise (`fs.nr_open`).
const DESCRIPTORS: u64 = 1 << 20;
