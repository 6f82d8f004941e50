//! What a server needs of the file system at its start: files that it reads, and directories in which it makes some.

use std::path::{Path, PathBuf};

use super::CheckReport;
use crate::config::document_root;
use crate::config::{AdminSocket, Config, Endpoint, WrittenPaths};
use crate::connection::listener::binding::WhyNot;
use crate::connection::listener::socket_file;
use crate::logging;
use crate::process::pid_file::PidFile;
use crate::transport::settings::TlsSettings;

impl CheckReport {
    /// Adds what is to be said of the files of TLS. A certificate that clients refuse is a fault, though a server starts
    /// with it.
    pub(super) fn judge_tls(&mut self, config: &Config, places: &WrittenPaths) {
        let tls = match TlsSettings::check(config) {
            Ok(tls) => tls,
            Err((first, more)) => {
                let sentences = std::iter::once(&first).chain(&more).map(|fault| {
                    let path = fault.path().unwrap_or(Path::new(""));
                    places.locate(path, fault)
                });
                return self.bad_tls.extend(sentences);
            }
        };
        for certificate in tls.certificates() {
            if let Some(remark) = &certificate.remark {
                let sentences = match remark.is_refused {
                    true => &mut self.bad,
                    false => &mut self.notes,
                };
                sentences.push(format!("the certificate {}", remark.text));
            }
            self.notes.extend(certificate.exposure.clone());
        }
    }

    /// Adds what keeps a server from making its Unix sockets and its `pid_file`, which it does before it becomes another
    /// user.
    pub(super) fn judge_places(&mut self, config: &Config, places: &WrittenPaths) {
        for path in config.listen.iter().filter_map(Endpoint::path) {
            if let Err(why) = socket_file::check(path) {
                let sentence = format!("cannot listen on unix:{}: {why}", path.display());
                let sentence = places.locate(path, &sentence);
                self.judge_place(path, sentence, matches!(why, WhyNot::NoDirectory));
            }
        }
        if let AdminSocket::At(path) = &config.admin_socket
            && let Err(why) = socket_file::check(path)
        {
            let sentence = format!("cannot make the admin socket `{}`: {why}", path.display());
            let sentence = places.locate(path, &sentence);
            self.judge_place(path, sentence, matches!(why, WhyNot::NoDirectory));
        }
        if let Some(path) = &config.pid_file
            && let Err(error) = PidFile::check(path)
        {
            let sentence = places.locate(path, &error);
            self.judge_place(path, sentence, error.lacks_directory());
        }
    }

    /// Adds why no file can be made at `path`. A service manager may make a missing directory when the server starts
    /// (`RuntimeDirectory=`), so that is no fault where such directories are.
    fn judge_place(&mut self, path: &Path, sentence: String, lacks_directory: bool) {
        let is_made_at_start = RUNTIME_DIRECTORIES.iter().any(|it| path.starts_with(it));
        match lacks_directory && is_made_at_start {
            true => self.notes.push(format!(
                "{sentence}; a service manager may make it when the server starts"
            )),
            false => self.bad.push(sentence),
        }
    }

    /// Adds what keeps a server from its pages and its log files, which it reads and opens as the user that it becomes.
    pub(super) fn judge_files(&mut self, config: &Config, places: &WrittenPaths) {
        if let Err(error) = document_root::check(config) {
            let root = config.document_root.clone();
            let root: PathBuf = root.unwrap_or_default();
            self.bad.push(places.locate(&root, &error));
        }
        let (errors, remarks) = logging::check_files(config);
        let errors = errors
            .iter()
            .map(|error| places.locate(error.path(), error));
        self.bad.extend(errors);
        self.notes.extend(remarks);
    }
}

/// Where directories are gone after a start of the machine.
const RUNTIME_DIRECTORIES: [&str; 2] = ["/run", "/var/run"];
