//! What becomes of lines in a log file and its older ones.

use super::*;

use std::os::unix::fs::symlink;

struct Logs {
    directory: tempfile::TempDir,
    file: LogFile,
}

impl Logs {
    fn new(bytes_max: u64, files_max: u32) -> Logs {
        let directory = tempfile::tempdir().unwrap();
        let settings = LogFileSettings {
            path: directory.path().join("a.log"),
            bytes_max,
            files_max,
        };
        let file = LogFile::open(settings).unwrap();
        Logs { directory, file }
    }

    /// The names of the files and what they have, the youngest first.
    fn files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap_or_default())
            })
            .collect();
        files.sort();
        files
    }

    #[track_caller]
    fn have(&self, expected: &[(&str, &str)]) {
        let files = self.files();
        let files: Vec<_> = files.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(files, expected);
    }
}

#[test]
fn a_full_file_is_renamed_and_the_oldest_is_given_up() {
    let mut logs = Logs::new(8, 2);
    for line in ["one\n", "two\n", "three\n", "4\n", "five\n", "six\n"] {
        assert!(logs.file.write(line.as_bytes()).error.is_none());
    }
    let expected = [
        ("a.log", "six\n"),
        ("a.log.1", "five\n"),
        ("a.log.2", "three\n4\n"),
    ];
    // `five` and `six` have nine bytes together.
    logs.have(&expected);
}

#[test]
fn lines_that_come_together_are_parted_between_two_lines() {
    let mut logs = Logs::new(8, 3);
    logs.file.write(b"one\ntwo\nthree\nlonger than a file\n5\n");
    logs.have(&[
        ("a.log", "5\n"),
        ("a.log.1", "longer than a file\n"),
        ("a.log.2", "three\n"),
        ("a.log.3", "one\ntwo\n"),
    ]);
}

#[test]
fn without_a_size_or_without_older_files_it_grows() {
    for (bytes_max, files_max) in [(0, 5), (5, 0)] {
        let mut logs = Logs::new(bytes_max, files_max);
        logs.file.write(b"one\ntwo\n");
        logs.have(&[("a.log", "one\ntwo\n")]);
    }
}

#[test]
fn a_file_that_was_moved_away_is_made_again_when_that_is_asked_for() {
    let mut logs = Logs::new(0, 0);
    logs.file.write(b"one\n");
    let path = logs.file.settings.path.clone();
    fs::rename(&path, path.with_extension("old")).unwrap();
    logs.file.write(b"two\n");
    logs.have(&[("a.old", "one\ntwo\n")]);

    logs.file.reopen().unwrap();
    logs.file.write(b"three\n");

    logs.have(&[("a.log", "three\n"), ("a.old", "one\ntwo\n")]);
    logs.file.reopen().unwrap();
    logs.file.write(b"four\n");
    logs.have(&[("a.log", "three\nfour\n"), ("a.old", "one\ntwo\n")]);
}

#[test]
fn a_file_that_cannot_be_renamed_goes_on_growing() {
    let mut logs = Logs::new(8, 1);
    logs.file.write(b"one\ntwo\n");
    // Nothing can be renamed to a directory that is not empty.
    fs::create_dir_all(logs.directory.path().join("a.log.1/x")).unwrap();

    let outcome = logs.file.write(b"three\n");

    assert!(outcome.not_rotated.is_some());
    assert!(outcome.error.is_none());
    assert!(
        logs.file.write(b"4\n").not_rotated.is_none(),
        "it is said once"
    );
    logs.have(&[("a.log", "one\ntwo\nthree\n4\n"), ("a.log.1", "")]);
}

#[test]
fn what_has_the_number_of_the_file_now_gets_no_line_and_stays_open() {
    let mut logs = Logs::new(0, 0);
    let other = tempfile::tempfile().unwrap();
    let watched = other.try_clone().unwrap();
    logs.file.file = other;

    assert!(logs.file.write(b"one\n").error.is_none());

    assert_eq!(watched.metadata().unwrap().len(), 0);
    logs.have(&[("a.log", "one\n")]);
}

/// A FIFO that `read` reads, which is full from `room` bytes on.
fn fifo(directory: &Path) -> (PathBuf, File) {
    let path = directory.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo, of coreutils, runs").success());
    // Opened for both, so that no one is waited for.
    let reader = File::options().read(true).write(true).open(&path).unwrap();
    (path, reader)
}

#[test]
fn lines_that_are_not_taken_are_named_and_none_is_there_twice() {
    use std::io::Read;
    let directory = tempfile::tempdir().unwrap();
    let (path, mut reader) = fifo(directory.path());
    let settings = LogFileSettings {
        path,
        bytes_max: 8,
        files_max: 1,
    };
    let mut file = LogFile::open(settings).unwrap();
    let line = [[b'.'; 999].as_slice(), b"\n"].concat();
    let lines = line.repeat(200);

    let outcome = file.write(&lines);

    let why = outcome.error.expect("it is full").to_string();
    assert_eq!(why, "the program that reads it takes nothing");
    assert!(outcome.taken > 0 && outcome.taken.is_multiple_of(line.len()));
    let mut read = vec![0; lines.len()];
    let had = reader.read(&mut read).unwrap();
    assert!(had > outcome.taken, "it has the beginning of one more");
    let rest = lines[outcome.taken..].to_vec();
    let writing = std::thread::spawn(move || {
        let outcome = file.write(&rest);
        (outcome.taken == rest.len(), file)
    });
    reader.read_exact(&mut read[had..]).unwrap();
    let (is_all, _file) = writing.join().unwrap();
    assert!(is_all);
    assert!(read == lines, "each line once, and whole");
}

#[test]
fn a_line_that_was_cut_is_begun_anew_where_its_file_was_emptied_or_went_on() {
    for (then, expected) in [("", "one\ntwo\n"), ("other", "other\none\ntwo\n")] {
        let mut logs = Logs::new(0, 0);
        let path = logs.file.settings.path.clone();
        fs::write(&path, "o").unwrap();
        logs.file.cut = Some(CutLine { bytes: 1, size: 1 });
        fs::write(&path, then).unwrap();

        assert!(logs.file.write(b"one\ntwo\n").error.is_none());

        logs.have(&[("a.log", expected)]);
    }
}

#[test]
fn a_file_that_was_removed_is_made_again_as_soon_as_it_can_be() {
    let mut logs = Logs::new(0, 0);
    logs.file.write(b"one\n");
    fs::remove_file(logs.file.path()).unwrap();
    logs.file.write(b"two\n");
    logs.have(&[("a.log", "two\n")]);

    let directory = logs.directory.path().to_owned();
    fs::remove_dir_all(&directory).unwrap();
    let outcome = logs.file.write(b"three\nfour\n");
    assert_eq!(outcome.taken, 0);
    assert_eq!(outcome.error.unwrap().kind(), io::ErrorKind::NotFound);
    fs::create_dir(&directory).unwrap();
    assert!(logs.file.write(b"three\nfour\n").error.is_none());
    logs.have(&[("a.log", "three\nfour\n")]);
}

#[test]
fn two_servers_with_one_log_file_rename_it_once_and_lose_no_line() {
    let mut logs = Logs::new(8, 3);
    let mut other = LogFile::open(logs.file.settings.clone()).unwrap();
    for (ours, theirs) in [
        ("1\n", "2\n"),
        ("3\n", "4\n"),
        ("5\n", "6\n"),
        ("7\n", "8\n"),
    ] {
        logs.file.write(ours.as_bytes());
        other.write(theirs.as_bytes());
    }
    // The second finds the file renamed that both had filled, and opens the new one.
    logs.have(&[("a.log", "5\n6\n7\n8\n"), ("a.log.1", "1\n2\n3\n4\n")]);
}

#[test]
fn one_older_file_is_kept_where_one_is_asked_for() {
    let mut logs = Logs::new(4, 1);
    for line in ["one\n", "two\n", "3\n", "4\n", "5\n"] {
        logs.file.write(line.as_bytes());
    }
    logs.have(&[("a.log", "5\n"), ("a.log.1", "3\n4\n")]);
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_renamed() {
    let mut logs = Logs::new(4, 1);
    let real = logs.directory.path().join("real");
    fs::create_dir(&real).unwrap();
    let path = logs.directory.path().join("link.log");
    symlink(real.join("b.log"), &path).unwrap();
    let settings = LogFileSettings {
        path: path.clone(),
        ..logs.file.settings.clone()
    };
    logs.file = LogFile::open(settings).unwrap();
    for line in ["one\n", "two\n"] {
        logs.file.write(line.as_bytes());
    }

    assert!(path.is_symlink());
    assert_eq!(fs::read_to_string(real.join("b.log")).unwrap(), "two\n");
    assert_eq!(fs::read_to_string(real.join("b.log.1")).unwrap(), "one\n");
}

#[test]
fn a_device_is_never_renamed() {
    for device in ["/dev/null", "/dev/full"] {
        let settings = LogFileSettings {
            path: device.into(),
            bytes_max: 1,
            files_max: 1,
        };
        let mut file = LogFile::open(settings).unwrap();
        let outcome = file.write(b"one\ntwo\n");
        assert!(outcome.not_rotated.is_none());
        assert_eq!(outcome.error.is_some(), device == "/dev/full");
    }
}
