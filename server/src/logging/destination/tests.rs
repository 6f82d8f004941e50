//! What becomes of lines while their file fails, and what stderr tells of it.

use super::*;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Log {
    destination: Destination,
    stderr: UnixStream,
    now: Instant,
}

impl Log {
    fn new() -> Log {
        let (ours, stderr) = UnixStream::pair().unwrap();
        stderr.set_nonblocking(true).unwrap();
        let sink = LogSink::to(File::from(OwnedFd::from(ours)));
        Log {
            destination: Destination::new(sink, Role::Log),
            stderr,
            now: Instant::now(),
        }
    }

    /// Has a batch written, behind which `dropped` lines had no room. Answers whether all of it is.
    fn write(&mut self, lines: &str, dropped: u64) -> bool {
        self.destination.take(&mut lines.into(), dropped);
        self.destination.write(self.now, 0)
    }

    /// The lines on stderr since the last call, from their message on.
    fn stderr(&mut self) -> Vec<String> {
        let mut text = vec![0; 10_000];
        let read = self.stderr.read(&mut text).unwrap_or(0);
        messages(&String::from_utf8_lossy(&text[..read]))
    }

    fn later(&mut self) {
        self.now += Duration::from_secs(1);
    }
}

/// Lines without their times.
fn messages(text: &str) -> Vec<String> {
    let message = |line: &str| {
        let rest = line.split_once("Z ");
        rest.map_or(line, |(_, rest)| rest).trim().to_owned()
    };
    text.lines().map(message).collect()
}

fn settings(path: PathBuf) -> LogFileSettings {
    LogFileSettings {
        path,
        bytes_max: 0,
        files_max: 0,
    }
}

fn open(path: &Path) -> Option<Box<LogFile>> {
    Some(Box::new(LogFile::open(settings(path.to_owned())).unwrap()))
}

#[test]
fn a_file_that_fails_loses_only_what_has_no_room_and_stderr_tells_of_it_twice() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("logs");
    let path = directory.join("a.log");
    fs::create_dir(&directory).unwrap();
    let mut log = Log::new();
    log.destination.go_to(open(&path));
    assert!(log.write("one\n", 0));
    fs::remove_dir_all(&directory).unwrap();

    assert!(!log.write("two\nthree\n", 7));
    assert!(log.destination.is_failing());
    let told = format!(
        "ERROR log file takes no lines, they are kept as far as there is room, and tried again log_file={} \
         error=\"No such file or directory (os error 2)\"",
        path.display()
    );
    assert_eq!(log.stderr(), [told]);
    // Nothing is tried before its time, and what fails again is not said again.
    fs::create_dir(&directory).unwrap();
    assert!(!log.destination.write(log.now, 9) && !path.exists());
    fs::remove_dir(&directory).unwrap();
    log.later();
    assert!(!log.destination.write(log.now, 9));
    assert_eq!(log.stderr(), [""; 0]);
    fs::create_dir(&directory).unwrap();
    log.later();
    assert!(log.destination.write(log.now, 9));
    assert!(log.write("four\n", 0));

    let told = format!(
        "WARN log file takes lines again log_file={} lost=9",
        path.display()
    );
    assert_eq!(log.stderr(), [told]);
    let written = messages(&fs::read_to_string(&path).unwrap());
    let expected = [
        "two",
        "three",
        "WARN log lines were dropped lines=7",
        "four",
    ];
    assert_eq!(written, expected);
}

#[test]
fn a_file_that_cannot_be_opened_yet_is_taken_as_soon_as_it_can() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("later/a.log");
    let mut log = Log::new();
    log.destination.want(settings(path.clone()), log.now);

    log.destination.open_wanted(log.now);
    assert!(log.write("one\n", 0));
    assert_eq!(log.stderr(), ["one"]);
    fs::create_dir(path.parent().unwrap()).unwrap();
    log.destination.open_wanted(log.now);
    assert!(!path.exists(), "it is not time yet");
    log.later();
    log.destination.open_wanted(log.now);
    assert!(log.write("two\n", 0));

    let told = format!("INFO the log goes to a file log_file={}", path.display());
    assert_eq!(log.stderr(), [told]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    assert_eq!(log.destination.next_try(), None);
}

#[test]
fn what_a_file_has_not_taken_goes_to_stderr_at_the_end() {
    let mut log = Log::new();
    log.destination.go_to(open(Path::new("/dev/full")));
    assert!(!log.write("one\ntwo\n", 0));
    assert_eq!(log.stderr().len(), 1, "it is said that the file fails");

    log.destination.give_up_file();
    assert!(log.destination.write(log.now, 0));
    assert!(log.write("three\n", 0));

    assert_eq!(log.stderr(), ["one", "two", "three"]);
}

#[test]
fn what_stderr_does_not_take_is_counted() {
    let mut log = Log::new();
    assert!(log.write("one\n", 2));
    let expected = ["one", "WARN log lines were dropped lines=2"];
    assert_eq!(log.stderr(), expected);
}
