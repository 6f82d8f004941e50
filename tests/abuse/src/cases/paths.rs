//! Paths that lead out of the document root, or to what is no file.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::checks::{Checks, ms, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{exchange, status_of};
use crate::{Lab, Result};

pub(crate) fn out_of_the_root(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let setup = Setup {
        config: "document_root = \"www\"\n",
        files: &[
            ("www/index.html", "the index"),
            ("www/inside.txt", "inside"),
            ("secret.txt", SECRET),
        ],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let www = server.path("www");
    fs::create_dir(www.join("folder"))?;
    symlink("../secret.txt", www.join("link.txt"))?;
    symlink("..", www.join("up"))?;
    symlink("/proc/self/mem", www.join("mem"))?;
    symlink("inside.txt", www.join("switched.txt"))?;
    nix::unistd::mkfifo(&www.join("fifo"), Mode::S_IRWXU)?;
    under_attack(&server, checks, |checks| {
        let get = |path: &str| -> Result<String> {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            exchange(server.port, request.as_bytes())
        };
        let inside = get("/inside.txt")?;
        let mut faults = Vec::new();
        let mut tell = |path: &str, answer: &str| {
            let status = status_of(answer);
            if ![400, 403, 404].contains(&status) || answer.contains(SECRET) {
                faults.push(format!("`{path}`: {status}"));
            }
        };
        for path in PATHS {
            tell(path, &get(path)?);
        }
        let fifo_began = Instant::now();
        tell("/fifo", &get("/fifo")?);
        let fifo = fifo_began.elapsed();
        let (asked, leaked) = switch(lab, &server, &get)?;

        let count = PATHS.len() + 1;
        checks.holds(
            "a file inside is served".to_owned(),
            inside.ends_with("inside"),
        );
        checks.holds(
            format!(
                "{} of {count} paths refused {}",
                count - faults.len(),
                faults.join(", ")
            ),
            faults.is_empty(),
        );
        checks.holds(
            format!("the FIFO after {}", ms(fifo)),
            fifo < Duration::from_secs(1),
        );
        checks.holds(
            format!("{leaked} of {asked} requests got the outside of a link that is switched"),
            leaked == 0,
        );
        Ok(())
    })
}

/// Asks for a link that another thread switches between a file inside and one outside. Returns how many requests there
/// were, and how many answers were from outside.
fn switch(
    lab: &Lab,
    server: &Server,
    get: &impl Fn(&str) -> Result<String>,
) -> Result<(usize, usize)> {
    let www = server.path("www");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let switching = scope.spawn(|| -> Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                for target in ["../secret.txt", "inside.txt"] {
                    let new = www.join("switched.new");
                    symlink(target, &new)?;
                    fs::rename(new, www.join("switched.txt"))?;
                }
            }
            Ok(())
        });
        let ask = || -> Result<(usize, usize)> {
            let asked = lab.either(2_000, 200);
            let mut leaked = 0;
            for _ in 0..asked {
                leaked += usize::from(get("/switched.txt")?.contains(SECRET));
            }
            Ok((asked, leaked))
        };
        let found = ask();
        is_over.store(true, Ordering::Relaxed);
        switching
            .join()
            .map_err(|_| "the switching thread has panicked")??;
        found
    })
}

const SECRET: &str = "nothing for strangers";
const PATHS: [&str; 30] = [
    "/../secret.txt",
    "/folder/../../secret.txt",
    "/./../secret.txt",
    "/%2e%2e/secret.txt",
    "/%2E%2E/secret.txt",
    "/.%2e/secret.txt",
    "/%2e./secret.txt",
    "/folder/%2e%2e/%2e%2e/secret.txt",
    "/%252e%252e/secret.txt",
    "/..%2fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/%5c..%5csecret.txt",
    "/....//secret.txt",
    "/..;/secret.txt",
    "/..%00/secret.txt",
    "/inside.txt%00.html",
    "/secret.txt%00",
    "/%c0%ae%c0%ae/secret.txt",
    "/%uff0e%uff0e/secret.txt",
    "//etc/passwd",
    "/C:/secret.txt",
    "/file:///etc/passwd",
    "/link.txt",
    "/up/secret.txt",
    "/mem",
    "/proc/self/mem",
    "/up/config.toml",
    "/up/handlers/echo_wsh.so",
    "http://localhost/../secret.txt",
];
