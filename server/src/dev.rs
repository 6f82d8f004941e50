//! `wshd dev`: builds the handlers below a directory, serves them, and builds and loads again what is saved.
//!
//! Crates are built with cargo, C and C++ with the C compiler. Built libraries go into a private
//! directory, which the server watches like any other: `dev` stands before the road of a change.

mod build_loop;
mod build_process;
mod c_handlers;
mod cargo;
mod cargo_json;
mod cc;
mod certificate;
mod crates;
mod feedback;
mod handler;
mod handlers;
mod includes;
mod language;
mod library_dir;
mod library_name;
mod messages;
mod only_when_named;
mod outcome;
mod report;
mod sources;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use self::build_loop::BuildLoop;
pub(crate) use self::build_process::clear_up;
use self::cargo::Cargo;
pub use self::cargo::{CargoError, Profile};
use self::cc::Cc;
pub use self::certificate::{CertificateError, pair as certificate_pair};
use self::handlers::Handlers;
use self::library_dir::LibraryDir;
use self::report::{Address, say};
use crate::config::Config;
use crate::connection::overlay::Overlay;
use crate::process::threads::has_ended;
use crate::reload::Change;

/// The handlers of a directory, found and not built yet.
#[derive(Debug)]
pub struct Dev {
    root: PathBuf,
    cargo: Arc<Cargo>,
    cc: Cc,
    handlers: Handlers,
    library_dir: LibraryDir,
    overlay: Arc<Overlay>,
}

/// The settings that `wshd dev` decides over the configuration.
#[derive(Clone, Debug)]
pub struct Overrides {
    libraries: PathBuf,
    pages: Option<PathBuf>,
}

/// The thread that builds. Dropping it ends the thread, and the compiler that it runs.
#[derive(Debug)]
pub struct BuildThread {
    cargo: Arc<Cargo>,
    hints: mpsc::SyncSender<SystemTime>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is nothing to build.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// There is no such directory.
    #[error("cannot find handlers in `{}`: {source}", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory has no sources of a handler.
    #[error(
        "no handler at or below `{}`: one is a Cargo package with `crate-type = [\"cdylib\"]` \
         and a library named `…_wsh`, such as `echo_wsh`, or a file in C or C++ with a line `WSH_DEFINE(…)`; \
         `wshd new NAME` makes one",
        path.display()
    )]
    NoHandler {
        /// The directory.
        path: PathBuf,
    },
    /// Cargo cannot be run.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// There is no certificate for a server that speaks TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The directory for libraries cannot be made.
    #[error("cannot make a directory for the libraries: {0}")]
    LibraryDir(io::Error),
}

impl Dev {
    /// Looks for handlers at or below `path`.
    ///
    /// # Errors
    ///
    /// There is no such directory, no cargo, or no handler. A crate that cargo cannot read is no error:
    /// stderr says why, and it is built when it can be read.
    pub fn open(path: &Path, profile: Profile) -> Result<Dev, DevError> {
        let root = directory(path).map_err(|source| DevError::NoDirectory {
            // Absolute, since the working directory may be another one than is thought.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            source,
        })?;
        let cargo = Arc::new(Cargo::new(profile));
        let handlers = Handlers::find(&root, &cargo)?;
        for complaint in &handlers.complaints {
            say(complaint);
        }
        if handlers.by_name.is_empty() && !handlers.is_incomplete() {
            return Err(DevError::NoHandler { path: root });
        }
        let library_dir = LibraryDir::new().map_err(DevError::LibraryDir)?;
        build_process::note(cargo.builds(), library_dir.path().to_owned());
        let cc = Cc::new(profile, library_dir.hidden("cc"), cargo.builds().clone())
            .map_err(DevError::LibraryDir)?;
        Ok(Dev {
            root,
            cargo,
            cc,
            handlers,
            library_dir,
            overlay: Overlay::new(),
        })
    }

    /// What open pages are told.
    pub fn overlay(&self) -> Arc<Overlay> {
        self.overlay.clone()
    }

    /// Where the server finds handlers and pages.
    pub fn overrides(&self) -> Overrides {
        let pages = self.root.join("www");
        Overrides {
            libraries: self.library_dir.path().to_owned(),
            pages: pages.is_dir().then_some(pages),
        }
    }

    /// Makes the certificate that `config` names, if it is [`certificate_pair`] and not there yet.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn make_certificate(&self, config: &Config) -> Result<(), DevError> {
        Ok(certificate::make_if_named(config)?)
    }

    /// Starts the thread that builds everything, and then what changes. The server answers at `port`, by TLS if
    /// `is_tls`, and has pages if `has_pages`. The thread tells open pages when a file of `pages` changes. `load` is called when libraries have
    /// changed, and answers what became of them.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(
        self,
        port: u16,
        is_tls: bool,
        has_pages: bool,
        pages: Option<PathBuf>,
        load: impl FnMut() -> Vec<Change> + Send + 'static,
    ) -> io::Result<BuildThread> {
        let address = Address {
            port,
            is_tls,
            has_pages,
        };
        let (hints, inbox) = mpsc::sync_channel(1);
        let cargo = self.cargo.clone();
        let build_loop = BuildLoop::new(self, address, pages, load);
        let sender = hints.clone();
        let thread = std::thread::Builder::new().name("dev".to_owned());
        let thread = thread.spawn(move || build_loop.work(sender, &inbox))?;
        Ok(BuildThread {
            cargo,
            hints,
            thread: Some(thread),
        })
    }
}

impl Overrides {
    /// Serves the built libraries, and the directory `www` unless a flag, a variable or a file that one of them names
    /// decides the document root. A file that was only found may belong to a project around the handler.
    pub fn apply(&self, config: &mut Config) {
        config.handlers_dir.clone_from(&self.libraries);
        config.scan_dir.clone_from(&self.libraries);
        // A debugger opens the file that a generation was loaded from.
        config.keeps_staged_copies = true;
        config.handlers_are_built = true;
        // No load balancer sends anyone here.
        config.limits.stop_delay_ms = 0;
        let is_chosen = config.document_root.is_some() && !config.document_root_is_found;
        if !is_chosen && self.pages.is_some() {
            config.document_root.clone_from(&self.pages);
        }
    }
}

impl Drop for BuildThread {
    fn drop(&mut self) {
        self.cargo.stop();
        // Where the queue is full, the hint in it wakes the thread.
        let _ = self.hints.try_send(SystemTime::now());
        if let Some(thread) = self.thread.take() {
            // A process that a compiler has started may hold its output open, so the wait has a limit.
            let _ = has_ended(&thread, END_LIMIT);
        }
        // A thread that did not end in time has not removed the directory.
        clear_up();
    }
}

/// How long the end of the process waits for a build.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The path of a directory, absolute and without symlinks.
fn directory(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(path)
}
