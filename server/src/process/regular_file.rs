//! Opens and reads files at paths that an operator or a build controls, where anything may lie.
//!
//! A FIFO would block its reader for ever, a device may have no end, and a file may be larger than memory.
//! Nothing here waits for another process, and nothing here reads past a limit.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// What a symbolic link at the end of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// The file that it leads to.
    Followed,
    /// Not a regular file.
    Refused,
}

/// The bytes of a regular file.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// Read after the bytes. Metadata from before could stand for bytes that were written during the read.
    pub(crate) metadata: Metadata,
}

/// Why a file is not opened or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRead {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is {found}, wanted is a regular file")]
    NotRegular { found: &'static str },
    #[error("it has {found} bytes, at most {max} are read")]
    TooLarge { found: u64, max: u64 },
}

/// Opens a regular file to read. The call returns at once for a FIFO, a device and a socket too.
pub(crate) fn open(path: &Path, links: Links) -> Result<(File, Metadata), NotRead> {
    let before = match links {
        Links::Followed => std::fs::metadata(path)?,
        Links::Refused => std::fs::symlink_metadata(path)?,
    };
    // Checked before the file is opened: opening may make a device act, and tells the writer of a FIFO that
    // there is a reader.
    check_kind(&before)?;
    let no_follow = match links {
        Links::Followed => 0,
        Links::Refused => libc::O_NOFOLLOW,
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | no_follow)
        .open(path)?;
    // Checked again on the open file, because another file may have taken its place.
    let metadata = file.metadata()?;
    check_kind(&metadata)?;
    Ok((file, metadata))
}

/// Reads a whole regular file of at most `bytes_max` bytes. A file that grows past this limit while it is read
/// is refused too.
pub(crate) fn read(path: &Path, links: Links, bytes_max: u64) -> Result<Content, NotRead> {
    let (file, metadata) = open(path, links)?;
    read_opened(file, &metadata, bytes_max)
}

/// Reads the rest of a file that [`open`] returned.
pub(crate) fn read_opened(
    mut file: File,
    opened: &Metadata,
    bytes_max: u64,
) -> Result<Content, NotRead> {
    check_length(opened.len(), bytes_max)?;
    let expected = usize::try_from(opened.len()).unwrap_or(0);
    let mut bytes = Vec::new();
    // One byte more than expected, so that the end is seen without a larger buffer.
    bytes.try_reserve_exact(expected + 1).map_err(|_| {
        let text = format!("there is no memory for its {expected} bytes");
        io::Error::new(io::ErrorKind::OutOfMemory, text)
    })?;
    // Files in /proc and /sys claim a length of 0 and have more.
    (&mut file).take(bytes_max + 1).read_to_end(&mut bytes)?;
    check_length(bytes.len() as u64, bytes_max)?;
    let metadata = file.metadata()?;
    Ok(Content { bytes, metadata })
}

/// Fails for a file that is not a regular one, however its metadata was read.
pub(crate) fn check_kind(metadata: &Metadata) -> Result<(), NotRead> {
    if metadata.is_file() {
        return Ok(());
    }
    let found = kind(metadata.file_type());
    Err(NotRead::NotRegular { found })
}

/// Fails for a length past the limit, however it was found.
pub(crate) fn check_length(found: u64, max: u64) -> Result<(), NotRead> {
    if found > max {
        return Err(NotRead::TooLarge { found, max });
    }
    Ok(())
}

/// Whether an error says that there is no such file. Any other error says nothing about the file.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The word in messages for something that is not a regular file.
pub(crate) fn kind(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_symlink() => "a symbolic link",
        _ => "a device",
    }
}

impl From<NotRead> for io::Error {
    /// The system's own error, or one of kind `InvalidInput`.
    fn from(error: NotRead) -> io::Error {
        match error {
            NotRead::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidInput, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    fn refusal(path: &Path, links: Links) -> String {
        read(path, links, 1024)
            .expect_err("it is refused")
            .to_string()
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let made = Command::new("mkfifo").arg(at("fifo")).status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::write(at("file"), "text").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("fifo"), at("to_fifo")).unwrap();
        symlink("/dev/zero", at("to_zero")).unwrap();

        for (name, found) in [
            ("fifo", "a FIFO"),
            ("to_fifo", "a FIFO"),
            ("socket", "a socket"),
            ("to_zero", "a device"),
            ("", "a directory"),
        ] {
            let wanted = format!("it is {found}, wanted is a regular file");
            assert_eq!(refusal(&at(name), Links::Followed), wanted, "{name}");
        }
        let wanted = "it is a symbolic link, wanted is a regular file";
        assert_eq!(refusal(&at("link"), Links::Refused), wanted);
        for (name, links) in [("file", Links::Refused), ("link", Links::Followed)] {
            assert_eq!(read(&at(name), links, 4).unwrap().bytes, b"text");
        }
    }

    #[test]
    fn a_file_past_the_limit_is_refused_and_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, [b'x'; 1024]).unwrap();
        assert_eq!(read(&path, Links::Refused, 1024).unwrap().bytes.len(), 1024);

        let file = File::options().append(true).open(&path).unwrap();
        file.set_len(1025).unwrap();
        let wanted = "it has 1025 bytes, at most 1024 are read";
        assert_eq!(refusal(&path, Links::Refused), wanted);

        // The file is sparse. Its length alone decides.
        file.set_len(1 << 42).unwrap();
        let wanted = "it has 4398046511104 bytes, at most 1024 are read";
        assert_eq!(refusal(&path, Links::Refused), wanted);
    }

    #[test]
    fn a_file_that_has_more_than_it_says_is_read_up_to_the_limit() {
        let whole = read(Path::new("/proc/self/status"), Links::Followed, 1 << 20).unwrap();
        assert_eq!(whole.metadata.len(), 0, "/proc says nothing of lengths");
        assert!(whole.bytes.starts_with(b"Name:"));

        let cut = read(Path::new("/proc/self/status"), Links::Followed, 16).unwrap_err();
        let wanted = "it has 17 bytes, at most 16 are read";
        assert_eq!(cut.to_string(), wanted);
    }
}
