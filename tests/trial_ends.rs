//! No process of a trial outlives the server, however the server ends.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::compile::unruly;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, within};

/// The variable that all processes of one server inherit.
const MARK: &str = "TRIAL_ENDS_MARK";

/// A server with one plugin, and a way to find every process that it has made.
struct Marked {
    site: Site,
    server: Server,
    mark: String,
}

impl Marked {
    /// Starts a server whose only plugin does this in `init`.
    fn start(in_init: &str) -> Marked {
        let site = Site::empty();
        // The timeout is so long that it ends no trial of this test.
        site.write("config.toml", "[limits]\ninit_timeout_ms = 60000\n");
        let plugin = format!("-DIN_INIT={in_init}");
        let plugin = unruly(&[&plugin]);
        site.add_bytes(&plugin, "unruly_wsh.so");
        let mark = site.root().to_string_lossy().into_owned();
        let trace = site.root().join("trace").to_string_lossy().into_owned();
        let server = Server::builder(&site)
            .env(MARK, &mark)
            .env("TRACE", &trace)
            .spawn();
        Marked { site, server, mark }
    }

    /// Waits until the plugin has said this word so many times.
    #[track_caller]
    fn wait_for(&self, word: &str, times: usize) {
        let trace = self.site.root().join("trace");
        eventually(&format!("{times} times `{word}`"), || {
            let said = fs::read_to_string(&trace).unwrap_or_default();
            said.matches(word).count() >= times
        });
    }

    /// The ids of the processes with this server's mark. A zombie has no environment left.
    fn processes(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id: &u32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == wanted.as_bytes())
        })
        .collect()
    }

    /// Kills the server, and claims that nothing is left of it soon.
    #[track_caller]
    fn leaves_nothing(mut self, case: &str) {
        self.server.signal("KILL");
        self.server.wait(SOON);
        within(SOON, &format!("{case}: no process is left"), || {
            self.processes().is_empty()
        });
    }
}

impl Drop for Marked {
    /// Ends what a test that fails has found.
    fn drop(&mut self) {
        for id in self.processes() {
            let mut kill = Command::new("kill");
            let _ = kill.args(["-s", "KILL", &id.to_string()]).status();
        }
    }
}

#[test]
fn a_server_that_is_killed_during_a_trial_leaves_no_process_behind() {
    for (case, in_init, words) in [
        ("it hangs", "trace(\"here\"); hang()", 1),
        (
            "it has made a process that left its group",
            "if (fork() == 0) { setsid(); } trace(\"here\"); hang()",
            2,
        ),
        (
            "it has made a process in its group and ended itself",
            "if (fork() == 0) { trace(\"here\"); hang(); } hang()",
            1,
        ),
        (
            "it has stopped the process that tries plugins",
            "if (fork() == 0) { setsid(); } else { kill(getppid(), SIGSTOP); } trace(\"here\"); hang()",
            2,
        ),
        (
            "it takes no signal of its parent's death",
            "prctl(PR_SET_PDEATHSIG, 0); trace(\"here\"); hang()",
            1,
        ),
    ] {
        let marked = Marked::start(in_init);
        marked.wait_for("here", words);
        assert!(!marked.processes().is_empty(), "{case}: the mark is seen");

        marked.leaves_nothing(case);
    }
}

#[test]
fn a_server_that_is_killed_while_a_trial_begins_leaves_no_process_behind() {
    // The moments between the fork and the first of the plugin's code, one after another.
    for delay_us in (0..20_000).step_by(1_000) {
        let marked = Marked::start("hang()");
        let helper = || {
            let pid = marked.server.pid();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            let helper = children.split_whitespace().next()?.to_owned();
            let trials = fs::read_to_string(format!("/proc/{helper}/task/{helper}/children"));
            trials.ok().filter(|trials| !trials.is_empty())
        };
        eventually("a trial has begun", || helper().is_some());
        std::thread::sleep(Duration::from_micros(delay_us));

        marked.leaves_nothing(&format!("after {delay_us} us"));
    }
}

const SOON: Duration = Duration::from_secs(15);
