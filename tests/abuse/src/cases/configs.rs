//! Broken configurations.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// Each broken file of the tests takes the place of the one in use.
pub(crate) fn broken(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let most = lab.either(50, 10);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/invalid");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|it| it == "toml"));
    files.sort();
    files.truncate(most);
    under_attack(&server, checks, |checks| {
        let mut session = Peer::open(server.port, "/echo")?;
        let (mut without_place, mut codes, mut not_said) = (Vec::new(), 0, Vec::new());
        for (number, file) in files.iter().enumerate() {
            server.put("config.toml", &fs::read(file)?)?;
            server.await_lines(REFUSED, number + 1, Duration::from_secs(10))?;
            session.ask(b"still here?")?;
            Peer::open(server.port, "/echo")?.ask(b"and I?")?;
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let log = server.log();
            let line = log
                .lines()
                .rfind(|it| it.contains(REFUSED))
                .unwrap_or_default();
            if !line.contains("config.toml:") {
                without_place.push(name.clone());
            }
            let (code, said) = check(&lab.artifacts.server, &server.path("."))?;
            codes += usize::from(code == Some(78));
            // The first line of the check stands in the line of the log.
            if !said.lines().any(|it| it.contains("config.toml:")) && line.contains("config.toml:")
            {
                not_said.push(name);
            }
        }
        let count = files.len();
        checks.holds(
            format!("{count} broken files, the old one serves"),
            count >= most,
        );
        checks.holds(
            format!(
                "the place is told of {} {}",
                count - without_place.len(),
                without_place.join(", ")
            ),
            without_place.is_empty(),
        );
        checks.holds(
            format!(
                "`wshd check` exits with 78 {codes} times and says the place {}",
                not_said.join(", ")
            ),
            codes == count && not_said.is_empty(),
        );
        Ok(())
    })
}

/// Returns the exit status of a check, and what it says.
fn check(program: &Path, site: &Path) -> Result<(Option<i32>, String)> {
    let output = Command::new(program)
        .current_dir(site)
        .args(["check", "--config", "config.toml"])
        .output()?;
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

const REFUSED: &str = "configuration refused, the old one keeps serving";
