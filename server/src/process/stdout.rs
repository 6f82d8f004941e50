//! What a command prints.
//!
//! `io::stdout` takes bytes without an error where it was opened for reading only, and `writeln!` leaves it to its caller to
//! look at the outcome. What cannot be printed is told here, but for a reader that has gone: it has what it wanted.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

/// Why a text is not printed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub struct NotPrinted(#[from] io::Error);

/// Prints a text.
///
/// # Errors
///
/// The disk is full, or stdout cannot be written. A reader that has gone is no error.
pub fn print(text: &[u8]) -> Result<(), NotPrinted> {
    match unbuffered().and_then(|mut stdout| stdout.write_all(text)) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Stdout as a file, which tells what becomes of each write.
///
/// # Errors
///
/// The process can open no more files.
pub(crate) fn unbuffered() -> io::Result<File> {
    // A copy, because the end of a file closes its descriptor.
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}
