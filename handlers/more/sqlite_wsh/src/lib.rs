#![forbid(unsafe_code)]
//! Keeps notes in a database: `note buy tea` writes one, `find tea` sends the newest ten with that word.
//!
//! A query of SQLite waits for the disk, so each session has a thread of its own, in the blocking style. All share one
//! connection to the database. `config = { database = "/srv/notes.db" }` says where it is; without it the notes are in memory,
//! and go when the code is replaced.

use std::{path::PathBuf, sync::Mutex, time::Duration};

use rusqlite::Connection;
use wsh::prelude::*;

struct Notes(Mutex<Connection>);

impl Shared for Notes {
    fn new(config: Config) -> Result<Self> {
        let database = match config.get::<Option<PathBuf>>("database")? {
            // A check is to change nothing outside, also not to create a file.
            Some(path) if !config.is_check() => Connection::open(path)?,
            _ => Connection::open_in_memory()?,
        };
        // Newer code opens the file while sessions still use it from older code. Then one waits for the other.
        database.busy_timeout(Duration::from_secs(5))?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        )?;
        Ok(Notes(Mutex::new(database)))
    }
}

impl Notes {
    /// Writes a note, and answers its number.
    fn write(&self, text: &str) -> Result<i64> {
        let database = self.0.lock().map_err(|_| "a session has panicked")?;
        // A value is a parameter, and never a part of the query's text.
        database.execute("INSERT INTO notes (text) VALUES (?1)", [text])?;
        Ok(database.last_insert_rowid())
    }

    /// The newest notes that contain a word.
    fn find(&self, word: &str) -> Result<Vec<String>> {
        let database = self.0.lock().map_err(|_| "a session has panicked")?;
        let mut query = database
            .prepare("SELECT text FROM notes WHERE instr(text, ?1) ORDER BY id DESC LIMIT 10")?;
        let found = query.query_map([word], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

fn serve(conn: BlockingConn, notes: &Notes) -> Result {
    for message in &conn {
        let text = message.as_text().unwrap_or_default();
        match text.split_once(' ') {
            Some(("note", text)) => conn.send(format!("note {}", notes.write(text)?))?,
            // The lock is free again before anything is sent: a client that reads slowly holds up no other.
            Some(("find", word)) => conn.send_json(&notes.find(word)?)?,
            _ => conn.send("`note TEXT` or `find WORD`, please")?,
        }
    }
    Ok(())
}

wsh::handler!(blocking serve, shared = Notes);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_found_by_every_session_whatever_is_in_them() {
        let server = wsh::test::serve(&WSH_HANDLER);
        let (mut ann, mut ben) = (server.connect(), server.connect());

        for note in [
            "note buy tea",
            "note '); DROP TABLE notes; --",
            "note tea is out",
        ] {
            ann.send(note);
            assert!(ann.receive().unwrap().to_string().starts_with("note "));
        }
        ben.send("find tea");
        ben.send("find DROP");
        ben.send("lose all");

        let heard = [(); 3].map(|()| ben.receive().unwrap().to_string());
        assert_eq!(heard[0], r#"["tea is out","buy tea"]"#);
        assert_eq!(heard[1], r#"["'); DROP TABLE notes; --"]"#);
        assert_eq!(heard[2], "`note TEXT` or `find WORD`, please");
    }

    #[test]
    fn a_database_in_a_file_outlives_the_code() {
        let directory = tempfile::tempdir().unwrap();
        let config = format!(r#"{{"database": {:?}}}"#, directory.path().join("notes.db"));
        let server = wsh::test::load(&WSH_HANDLER, &config).unwrap();
        let mut ann = server.connect();
        ann.send("note kept");
        assert_eq!(ann.receive().unwrap(), "note 1");

        server.reload(&WSH_HANDLER).unwrap();

        let mut ben = server.connect();
        ben.send("find kept");
        assert_eq!(ben.receive().unwrap(), r#"["kept"]"#);
    }
}
