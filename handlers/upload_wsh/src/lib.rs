#![forbid(unsafe_code)]
//! Takes files. Each message is one, of any length: `socket.send(file)` on a page. The client hears how far it is, after
//! every 256 KiB and at the end: `{"bytes":262144,"is_done":false}`.
//!
//! A file is written as it comes, and is never in memory as a whole. While the disk is slow, the session's thread waits, the
//! server reads no more from this client, and the client has to wait, which a page sees as `bufferedAmount`.
//!
//! With `config = { directory = "/srv/uploads" }` files are kept there, otherwise nowhere. `bytes_max` limits a file.

use std::path::{Path, PathBuf};
use std::{env, fs, io::Write, time::SystemTime};

use wsh::prelude::*;

struct Uploads {
    directory: Option<PathBuf>,
    bytes_max: u64,
}

impl Shared for Uploads {
    fn new(config: Config) -> Result<Self> {
        Ok(Uploads {
            directory: config.get("directory")?,
            bytes_max: config.get::<Option<u64>>("bytes_max")?.unwrap_or(1 << 30),
        })
    }
}

fn upload(conn: BlockingConn, uploads: &Uploads) -> Result {
    while let Some(first) = conn.recv_part() {
        let directory = uploads.directory.clone().unwrap_or_else(env::temp_dir);
        // Never a name that the client says, which could lead anywhere.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let path = directory.join(format!("upload-{}-{}", now.as_nanos(), conn.id()));
        let is_whole = write_file(&conn, first, &path, uploads.bytes_max);
        let is_kept = uploads.directory.is_some() && matches!(is_whole, Ok(true));
        let removed = if is_kept {
            Ok(())
        } else {
            fs::remove_file(&path)
        };
        // Why a file was not written says more than why it cannot be removed.
        is_whole?;
        removed?;
    }
    Ok(())
}

/// Writes the message that begins with this part. Answers whether it came to its end.
fn write_file(conn: &BlockingConn, first: PartBuf, path: &Path, bytes_max: u64) -> Result<bool> {
    let mut file = fs::File::create_new(path)?;
    let (mut bytes, mut told) = (0, 0);
    let mut next = Some(first);
    while let Some(part) = next {
        bytes += part.len() as u64;
        if bytes > bytes_max {
            conn.close(1009, "the file is too long")?;
            return Ok(false);
        }
        file.write_all(part.as_bytes())?;
        let is_done = part.is_last();
        if is_done || bytes - told >= PROGRESS_BYTES {
            told = bytes;
            conn.send(format!(r#"{{"bytes":{bytes},"is_done":{is_done}}}"#))?;
        }
        if is_done {
            return Ok(true);
        }
        next = conn.recv_part();
    }
    Ok(false)
}

const PROGRESS_BYTES: u64 = 256 * 1024;

wsh::handler!(blocking upload, parts, shared = Uploads);
