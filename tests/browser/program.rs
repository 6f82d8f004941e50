//! The programs of browsers: how they are started, and that they end with the tests.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser that the cases run in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Chromium,
    Firefox,
}

impl Kind {
    /// The name in front of the names of its cases.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Chromium => "chromium",
            Kind::Firefox => "firefox",
        }
    }

    /// The programs that are not installed, as packages of Debian.
    pub(crate) fn missing_packages(self) -> Vec<&'static str> {
        let needed = match self {
            Kind::Chromium => &[
                (CHROMIUM, "chromium"),
                (&["chromedriver"], "chromium-driver"),
            ],
            Kind::Firefox => &[(FIREFOX, "firefox-esr"), (SETPRIV, "util-linux")],
        };
        let missing = needed.iter().filter(|(names, _)| on_path(names).is_none());
        missing.map(|(_, package)| *package).collect()
    }
}

/// A running browser with a directory of its own. It ends with all that it started when this is dropped.
pub(crate) struct Program {
    /// The browser itself is the first.
    groups: Vec<ProcessGroup>,
    /// Where BiDi is spoken.
    pub(crate) port: u16,
    /// What a session asks for besides what all browsers are asked for.
    pub(crate) capabilities: Value,
    _profile: TempDir,
}

impl Program {
    pub(crate) fn start(kind: Kind) -> Program {
        let profile = tempfile::Builder::new()
            .prefix(&format!("wshd-{}-", kind.name()))
            .tempdir()
            .expect("a temp dir");
        match kind {
            Kind::Chromium => Program::chromium(profile),
            Kind::Firefox => Program::firefox(profile),
        }
    }

    /// Starts a browser and its driver, which translates BiDi to what Chromium speaks. The driver could start a browser
    /// itself; that would be in a process group of its own, which outlives a driver that is killed.
    fn chromium(profile: TempDir) -> Program {
        let mut browser = command(CHROMIUM, profile.path());
        browser.args([
            "--headless",
            // A container often has no other user than root, and Chromium needs this for root.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1100,900",
            "--remote-debugging-port=0",
        ]);
        if is_dark() {
            browser.arg("--blink-settings=preferredColorScheme=0");
        }
        browser.arg(format!("--user-data-dir={}", profile.path().display()));
        browser.stderr(Stdio::piped());
        let mut browser = ProcessGroup::start(browser);
        let stderr = browser.child.stderr.take().expect("it is piped");
        let line = line_with(stderr, "DevTools listening on ws://");
        let debugger = port_in(&line, "127.0.0.1:");

        let mut driver = command(&["chromedriver"], profile.path());
        driver.arg("--port=0").stdout(Stdio::piped());
        let mut driver = ProcessGroup::start(driver);
        let stdout = driver.child.stdout.take().expect("it is piped");
        let line = line_with(stdout, "started successfully on port ");
        let options = json!({ "debuggerAddress": format!("127.0.0.1:{debugger}") });
        Program {
            port: port_in(&line, "on port "),
            groups: vec![browser, driver],
            capabilities: json!({ "goog:chromeOptions": options }),
            _profile: profile,
        }
    }

    fn firefox(profile: TempDir) -> Program {
        // Firefox makes most settings that are good for tests itself when it is driven. These are the others.
        let theme = format!(
            "user_pref(\"ui.systemUsesDarkTheme\", {});\n",
            u8::from(is_dark())
        );
        let settings = [FIREFOX_SETTINGS, &theme].concat();
        fs::write(profile.path().join("user.js"), settings).expect("writing settings");
        let mut browser = command(FIREFOX, profile.path());
        browser.args(["--headless", "--no-remote", "--remote-debugging-port=0"]);
        browser.args(["--width", "1100", "--height", "900"]);
        browser.arg("--profile").arg(profile.path());
        browser.stderr(Stdio::piped());
        let mut browser = ProcessGroup::start(browser);
        let stderr = browser.child.stderr.take().expect("it is piped");
        let line = line_with(stderr, "WebDriver BiDi listening on ws://");
        Program {
            port: port_in(&line, "127.0.0.1:"),
            groups: vec![browser],
            capabilities: json!({}),
            _profile: profile,
        }
    }

    /// Waits a moment for a browser that was told to close.
    pub(crate) fn wait_for_end(&mut self) {
        let end = Instant::now() + CLOSED;
        let browser = &mut self.groups[0].child;
        while matches!(browser.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process and those that it starts. All are killed when this is dropped.
struct ProcessGroup {
    child: Child,
}

impl ProcessGroup {
    fn start(mut command: Command) -> ProcessGroup {
        let child = command.process_group(0).spawn();
        ProcessGroup {
            child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// A command line that ends when this process does, however that ends. Of the user's home the program sees nothing.
fn command(names: &[&str], home: &Path) -> Command {
    let program = on_path(names).unwrap_or_else(|| panic!("no `{}` is installed", names[0]));
    let mut command = Command::new(on_path(SETPRIV).expect("util-linux is installed"));
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
        .env("HOME", home)
        .env("MOZ_CRASHREPORTER_DISABLE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in [
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "XDG_RUNTIME_DIR",
        "DISPLAY",
    ] {
        command.env_remove(name);
    }
    command
}

/// Whether browsers prefer dark pages.
fn is_dark() -> bool {
    std::env::var_os("BROWSER_DARK").is_some()
}

/// Finds the first of these programs that is installed.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// Waits for a line with this part. The rest is read, too, since a program gets stuck when its output is not read.
fn line_with(output: impl Read + Send + 'static, part: &'static str) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut before = Vec::new();
        for line in lines {
            if line.contains(part) {
                let _ = sender.send(Ok(line));
            } else if before.len() < 20 {
                before.push(line);
            }
        }
        let _ = sender.send(Err(before.join("\n")));
    });
    match receiver.recv_timeout(STARTED) {
        Ok(Ok(line)) => line,
        Ok(Err(said)) => panic!("a browser ended without `{part}`; it said: {said}"),
        Err(_) => panic!("a browser did not say `{part}` in {STARTED:?}"),
    }
}

/// Returns the number that follows `before`.
fn port_in(line: &str, before: &str) -> u16 {
    let (_, rest) = line.split_once(before).unwrap_or_default();
    let end = rest.find(|it: char| !it.is_ascii_digit());
    let digits = &rest[..end.unwrap_or(rest.len())];
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no port in `{line}`"))
}

/// The names of each program, of which Debian uses the first.
const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
const FIREFOX: &[&str] = &["firefox-esr", "firefox"];
const SETPRIV: &[&str] = &["setpriv"];
/// No proxy, and nothing that looks for other machines.
const FIREFOX_SETTINGS: &str = r#"user_pref("network.proxy.type", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
"#;
/// How long a browser may take to start on a busy machine.
const STARTED: Duration = Duration::from_secs(60);
/// How long a browser may take to close before it is killed.
const CLOSED: Duration = Duration::from_secs(3);
