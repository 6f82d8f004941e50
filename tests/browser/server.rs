//! A running `wshd` with every handler and page of this repository.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::artifacts::{artifacts, repository};
use crate::eventually;

/// A server. Its process is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    port: u16,
    site: TempDir,
}

impl Server {
    /// Starts a server without a config file.
    pub(crate) async fn start() -> Server {
        Server::with_config("").await
    }

    /// Starts a server with this config file.
    pub(crate) async fn with_config(config: &str) -> Server {
        let site = site();
        let handlers = site.path().join("handlers");
        fs::create_dir(&handlers).expect("a handlers directory");
        for library in &artifacts().handlers {
            let name = library.file_name().expect("a library has a name");
            fs::copy(library, handlers.join(name)).expect("copying a handler");
        }
        let mut command = wshd(&site);
        command.args(["-p", "0", "-w"]).arg(&handlers);
        command.arg("-d").arg(repository().join("handlers/www"));
        if !config.is_empty() {
            let file = site.path().join("config.toml");
            fs::write(&file, config).expect("writing the config file");
            command.arg("--config").arg(file);
        }
        Server::launch(command, site).await
    }

    /// Starts `wshd dev` for the handler in C, with a copy of the pages of this repository.
    pub(crate) async fn dev() -> Server {
        let site = site();
        let pages = site.path().join(PAGES);
        fs::create_dir_all(&pages).expect("a directory for pages");
        let originals = fs::read_dir(repository().join("handlers/www")).expect("the pages");
        for original in originals.map(|entry| entry.expect("a page")) {
            let copied = fs::copy(original.path(), pages.join(original.file_name()));
            copied.expect("copying a page");
        }
        let mut command = wshd(&site);
        command.args(["dev", "mine", "-p", "0"]);
        save_c(&site, str::to_owned);
        Server::launch(command, site).await
    }

    /// Saves the handler of `dev` with a change.
    pub(crate) fn save(&self, change: impl Fn(&str) -> String) {
        save_c(&self.site, change);
    }

    /// Saves a page of `dev` with a change, in place.
    pub(crate) fn save_page(&self, page: &str, change: impl Fn(&str) -> String) {
        let path = self.site.path().join(PAGES).join(page);
        let before = fs::read_to_string(&path).expect("the page");
        fs::write(path, change(&before)).expect("writing the page");
    }

    /// Starts the server and waits until it listens.
    async fn launch(mut command: Command, site: TempDir) -> Server {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("wshd starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().expect("its stderr is piped")).lines();
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().expect("no thread panics with it").push(line);
            }
        });

        let mut server = Server {
            child,
            log,
            port: 0,
            site,
        };
        let line = server.line(&["listening"]).await;
        let address = line.split("address=").nth(1).unwrap_or_default();
        let port = address
            .split_whitespace()
            .next()
            .and_then(|it| it.rsplit(':').next());
        server.port = port
            .and_then(|port| port.parse().ok())
            .expect("the line ends in a port");
        server
    }

    /// Returns the URL of a page at `host`.
    pub(crate) fn page(&self, host: &str, page: &str) -> String {
        format!("http://{host}:{}/{page}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a log line that contains all of `parts`.
    pub(crate) async fn line(&self, parts: &[&str]) -> String {
        let find = async || {
            let log = self.log.lock().expect("no thread panics with it");
            log.iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .cloned()
        };
        eventually(&format!("a log line with {parts:?}"), find).await
    }
}

/// The directory in which `dev` finds pages.
const PAGES: &str = "mine/www";

fn site() -> TempDir {
    let site = tempfile::Builder::new().prefix("wshd-browser-").tempdir();
    site.expect("a temp dir")
}

/// A command line in this site without arguments.
fn wshd(site: &TempDir) -> Command {
    let mut command = Command::new(&artifacts().server);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WSHD_")) {
        command.env_remove(name);
    }
    command.current_dir(site.path());
    command
}

/// Saves the handler in C with a change, as an editor does: by rename.
fn save_c(site: &TempDir, change: impl Fn(&str) -> String) {
    let handler = fs::read_to_string(repository().join("handlers/c/cecho.c"));
    let handler = change(&handler.expect("the handler in C"));
    let hidden = site.path().join("mine/.saving");
    fs::write(&hidden, handler).expect("writing the handler");
    fs::rename(hidden, site.path().join("mine/cecho.c")).expect("renaming it");
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self
                .log
                .lock()
                .expect("no thread panics with it")
                .join("\n");
            eprintln!("--- the server's log\n{log}\n---");
        }
    }
}
