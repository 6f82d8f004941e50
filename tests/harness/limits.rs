//! Limits that hold for a server even if root runs it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use rlimit::Resource;

use super::server::{Builder, Server};

/// Makes file modes and process limits hold for this server even if root runs it: it loses the capabilities to
/// override them.
pub(crate) fn bound(builder: Builder) -> Builder {
    let is_root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    if !is_root {
        return builder;
    }
    let mut setpriv = Command::new("setpriv");
    setpriv.args([
        "--bounding-set",
        "-dac_override,-dac_read_search,-sys_resource",
    ]);
    builder.within(setpriv)
}

/// A command that has what follows it run on the first processor that there is.
pub(crate) fn on_one_processor() -> Command {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let mut allowed = status.split("Cpus_allowed_list:").skip(1);
    let allowed = allowed.next().map(str::trim_start);
    let first = allowed.and_then(|it| it.split(|it: char| !it.is_ascii_digit()).next());
    let mut command = Command::new("taskset");
    command.args(["-c", first.expect("a processor")]);
    command
}

/// A bound server without free descriptors.
pub(crate) struct WithoutDescriptors {
    pid: i32,
    before: (u64, u64),
}

impl WithoutDescriptors {
    pub(crate) fn begin(server: &Server) -> WithoutDescriptors {
        let pid = i32::try_from(server.pid()).expect("a process id");
        let (mut soft, mut hard) = (0, 0);
        let now = rlimit::prlimit(
            pid,
            Resource::NOFILE,
            Some((3, 3)),
            Some((&mut soft, &mut hard)),
        );
        now.expect("lowering a limit");
        let before = (soft, hard);
        WithoutDescriptors { pid, before }
    }

    /// Gives the descriptors back. `false` where that fails, because the tests do not run as root.
    pub(crate) fn end(self) -> bool {
        let is_back = rlimit::prlimit(self.pid, Resource::NOFILE, Some(self.before), None).is_ok();
        if !is_back {
            eprintln!("the rest is not shown: only root raises another process's limit again");
        }
        is_back
    }
}
