//! What a run needs of the machine: two cores, and descriptors for ten thousand connections.

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
    /// Chooses two of the cores that this process may use, and moves it to the second.
    pub(crate) fn take() -> Result<Cores> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
        let (Some(server), Some(load)) = (cores.next(), cores.next()) else {
            return Err("two cores are needed, one for the server and one to drive it from".into());
        };
        pin(load)?;
        Ok(Cores { server, load })
    }

    /// Starts a process on the core of the servers. It inherits the affinity, so it never runs elsewhere and counts one core.
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

/// Raises the limit of descriptors as far as the system allows, for this process and those that it starts.
pub(crate) fn raise_descriptors() -> Result<u64> {
    let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // A privileged process may raise its hard limit.
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

/// The default of `fs.nr_open`, which is the most that Linux allows.
const DESCRIPTORS: u64 = 1 << 20;
