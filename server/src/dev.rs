//! `wshd dev`: builds the handlers below a directory, crates with cargo and C with the C compiler,
//! serves what comes out, and builds and loads again whatever is saved.
//!
//! It stands before the road of a change, not on it: built libraries go into a private directory,
//! which the server watches like any other.

mod build_loop;
mod build_process;
mod c_handlers;
mod cargo;
mod cargo_json;
mod cc;
mod crates;
mod feedback;
mod handler;
mod handlers;
mod includes;
mod language;
mod library_dir;
mod messages;
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
use self::handlers::Handlers;
use self::library_dir::LibraryDir;
use self::report::say;
use crate::config::Config;
use crate::connection::overlay::Overlay;
use crate::process::threads::has_ended;
use crate::reload::Change;

/// Handlers that were found, and not built yet.
#[derive(Debug)]
pub struct Dev {
    root: PathBuf,
    cargo: Arc<Cargo>,
    cc: Cc,
    handlers: Handlers,
    library_dir: LibraryDir,
    overlay: Arc<Overlay>,
}

/// What `wshd dev` decides about the server's configuration.
#[derive(Clone, Debug)]
pub struct Overrides {
    libraries: PathBuf,
    pages: Option<PathBuf>,
}

/// The thread that builds; it ends, and so does the cargo that it runs, when this is dropped.
#[derive(Debug)]
pub struct BuildThread {
    cargo: Arc<Cargo>,
    hints: mpsc::SyncSender<SystemTime>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is nothing to build.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The directory is not there.
    #[error("cannot find handlers in `{}`: {source}", path.display())]
    NoDirectory {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing that becomes a handler.
    #[error(
        "no handler at or below `{}`: one is a Cargo package with `crate-type = [\"cdylib\"]` \
         and a library named `…_wsh`, such as `echo_wsh`, or a file in C or C++ with a line `WSH_DEFINE(…)`; \
         `wshd new NAME` makes one",
        path.display()
    )]
    NoHandler {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// Cargo does not run.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// There is no place for what is built.
    #[error("cannot make a directory for the libraries: {0}")]
    LibraryDir(io::Error),
}

impl Dev {
    /// Looks for handler crates at or below `path`.
    ///
    /// # Errors
    ///
    /// The directory or cargo is not there, or there is no handler crate. A crate that cargo cannot
    /// read is reported on stderr, and is built when it can be read.
    pub fn open(path: &Path, profile: Profile) -> Result<Dev, DevError> {
        let root = directory(path).map_err(|source| DevError::NoDirectory {
            // The working directory is what people mistake.
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

    /// What pages are to be told.
    pub fn overlay(&self) -> Arc<Overlay> {
        self.overlay.clone()
    }

    /// Where the server is to find handlers and pages.
    pub fn overrides(&self) -> Overrides {
        let pages = self.root.join("www");
        Overrides {
            libraries: self.library_dir.path().to_owned(),
            pages: pages.is_dir().then_some(pages),
        }
    }

    /// Begins to build everything, and then what changes; open pages are loaded again when a file of
    /// `pages` does. `load` is called when libraries have changed, and answers what became of them.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(
        self,
        port: u16,
        pages: Option<PathBuf>,
        load: impl FnMut() -> Vec<Change> + Send + 'static,
    ) -> io::Result<BuildThread> {
        let (hints, inbox) = mpsc::sync_channel(1);
        let cargo = self.cargo.clone();
        let build_loop = BuildLoop::new(self, port, pages, load);
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
    /// Serves what is built, and `www` beside the crates unless another document root is set.
    pub fn apply(&self, config: &mut Config) {
        config.handlers_dir.clone_from(&self.libraries);
        config.scan_dir.clone_from(&self.libraries);
        // A debugger looks for the file that a generation was loaded from.
        config.keeps_staged_copies = true;
        if config.document_root.is_none() {
            config.document_root.clone_from(&self.pages);
        }
    }
}

impl Drop for BuildThread {
    fn drop(&mut self) {
        self.cargo.stop();
        // If a hint is waiting already, that one wakes it.
        let _ = self.hints.try_send(SystemTime::now());
        if let Some(thread) = self.thread.take() {
            // What a compiler has started may hold its output open.
            let _ = has_ended(&thread, END_LIMIT);
        }
        // A thread that is held still has the directory.
        clear_up();
    }
}

/// How long the end of the process waits for a build.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The real name of a directory.
fn directory(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(path)
}
