//! Names of files that are hard to tell apart, or to write.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::{Lab, Result};

/// Two files for a path, case, blanks, Unicode and dots, over several starts.
pub(crate) fn of_files(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let starts = lab.either(10, 2);
    let setup = Setup::default();
    let mut server = Server::start(&lab.artifacts, &setup)?;
    let bytes = fs::read(lab.artifacts.plugin("echo_wsh"))?;
    for name in NAMES.iter().map(|(name, _)| name).chain(&["libtwice"]) {
        let path = server.path(&format!("handlers/{name}_wsh.so"));
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(path, &bytes)?;
    }
    let (mut otherwise, mut warnings, mut warned) = (BTreeSet::new(), BTreeSet::new(), 0);
    for _ in 0..starts {
        server = server.restart(&lab.artifacts, &setup)?;
        for (_, path) in NAMES {
            if server.handshake_status(path)? != 101 {
                otherwise.insert(path);
            }
        }
        for path in OTHERS {
            if ![400, 404].contains(&server.handshake_status(path)?) {
                otherwise.insert(path);
            }
        }
        let log = server.log();
        let said = log
            .lines()
            .filter(|it| it.contains("`/twice` is answered by"));
        for line in said {
            warned += 1;
            warnings.insert(
                line.split("cannot load")
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
    }
    let listed: String = otherwise.iter().map(|it| format!(" {it:?}")).collect();
    checks.holds(
        format!(
            "{starts} starts: {} names at their paths, 404 or 400 at {} other paths, {} otherwise{listed}",
            NAMES.len(),
            OTHERS.len(),
            otherwise.len()
        ),
        otherwise.is_empty(),
    );
    checks.holds(
        format!(
            "of two files for a path {} is refused, {warned} times",
            warnings.len()
        ),
        warned == starts && warnings.len() == 1,
    );
    under_attack(&server, checks, |checks| {
        // The server runs: the file that serves stays when another one comes.
        fs::write(server.path("handlers/libecho_wsh.so"), &bytes)?;
        let said = "cannot load `libecho_wsh.so`: `/echo` is answered by `echo_wsh.so` already";
        let line = server.line(&["WARN", said], std::time::Duration::from_secs(10))?;
        checks.holds(
            "a file that comes later is refused by name",
            !line.is_empty(),
        );
        Ok(())
    })
}

/// Names of files before `_wsh.so`, and the paths that they answer at.
const NAMES: [(&str, &str); 9] = [
    ("twice", "/twice"),
    ("Twice", "/Twice"),
    ("with space", "/with%20space"),
    ("caf\u{e9}", "/caf%C3%A9"),
    ("\u{65e5}\u{672c}", "/%E6%97%A5%E6%9C%AC"),
    ("a/b/deep", "/a/b/deep"),
    ("a..b", "/a..b"),
    ("50%", "/50%25"),
    ("line\nbreak", "/line%0Abreak"),
];
const OTHERS: [&str; 10] = [
    "/TWICE",
    "/twice/",
    "//twice",
    "/libtwice",
    "/twice_wsh.so",
    "/a/b",
    "/caf%E9",
    "/a/../twice",
    "/a/%2e%2e/twice",
    "/%252e%252e/twice",
];
