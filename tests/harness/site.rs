//! A directory of a test's own for handlers, a document root and a config file.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary directory with `handlers/` in it.
pub(crate) struct Site {
    root: TempDir,
}

impl Site {
    /// A site without any handler.
    pub(crate) fn empty() -> Site {
        let root = tempfile::Builder::new()
            .prefix("wshd-site-")
            .tempdir()
            .expect("a temp dir");
        let site = Site { root };
        fs::create_dir(site.handlers()).expect("a handlers directory");
        site
    }

    /// A site with these plugins, each under its own name.
    pub(crate) fn with(plugins: &[&str]) -> Site {
        let site = Site::empty();
        for plugin in plugins {
            site.add(plugin, &format!("{plugin}.so"));
        }
        site
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn handlers(&self) -> PathBuf {
        self.root.path().join("handlers")
    }

    /// Puts a plugin into the handlers directory by rename, as a careful deployer does.
    pub(crate) fn add(&self, plugin: &str, file: &str) -> PathBuf {
        self.add_bytes(
            &fs::read(library(plugin)).expect("the plugin's library"),
            file,
        )
    }

    /// Puts bytes into the handlers directory by rename.
    pub(crate) fn add_bytes(&self, bytes: &[u8], file: &str) -> PathBuf {
        let path = self.handlers().join(file);
        let parent = path.parent().expect("a file has a directory");
        fs::create_dir_all(parent).expect("the file's directory");
        let hidden = parent.join(format!(
            ".incoming-{}",
            path.file_name()
                .map_or("".into(), |name| name.to_string_lossy())
        ));
        fs::write(&hidden, bytes).expect("writing");
        fs::rename(&hidden, &path).expect("renaming");
        path
    }

    /// Puts a FIFO, which nothing writes into, below the site's root.
    pub(crate) fn add_fifo(&self, file: &str) -> PathBuf {
        let path = self.root.path().join(file);
        let _ = fs::remove_file(&path);
        let mut mkfifo = std::process::Command::new("mkfifo");
        let made = mkfifo.args(["-m", "644"]).arg(&path).status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());
        path
    }

    /// Writes a file below the site's root.
    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(file);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("its directory");
        let hidden = path.with_extension("incoming");
        fs::write(&hidden, text).expect("writing");
        fs::rename(&hidden, &path).expect("renaming");
        path
    }
}

/// Returns the path of the library that cargo built of a plugin crate, beside the test binary.
pub(crate) fn library(plugin: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let directory = test.parent().expect("a directory");
    let name = format!(
        "{}{plugin}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let path = directory.join(name);
    assert!(
        path.exists(),
        "no {}: is `{plugin}` a dev-dependency of wshd?",
        path.display()
    );
    path
}
