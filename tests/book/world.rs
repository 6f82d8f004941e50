//! A machine on which a configuration of the book is right: what it names is there.

use std::fs;
use std::path::PathBuf;

use toml::{Table, Value};

use super::pages::Block;
use crate::harness::certificates::Authority;
use crate::harness::server::Server;
use crate::harness::site::{Site, library};

pub(super) struct World {
    site: Site,
}

impl World {
    pub(super) fn of(table: &Table) -> World {
        let world = World {
            site: Site::empty(),
        };
        let mut handlers = String::from("handlers");
        for key in ["handlers_dir", "scan_dir", "document_root", "stage_dir"] {
            if let Some(path) = table.get(key).and_then(Value::as_str) {
                fs::create_dir_all(world.place(path)).expect("a directory");
                if key == "handlers_dir" {
                    handlers = path.to_owned();
                }
            }
        }
        for name in handlers_of(table) {
            let file = match &*name {
                "" => "_wsh.so".to_owned(),
                name => format!("{name}_wsh.so"),
            };
            let file = world.place(&handlers).join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::copy(library("echo_wsh"), file).expect("a handler");
        }
        let file = |key: &str, text: String| {
            if let Some(path) = table.get(key).and_then(Value::as_str) {
                world.write(path, &text);
            }
        };
        let users = USERS.map(|user| format!("{user}:{HASH_OF_A_PASSWORD}\n"));
        file("users_file", users.concat());
        file("tokens_file", format!("ci:sha256:{}\n", "0f".repeat(32)));
        file("handlers_map_file", String::new());
        for log in ["log_file", "access_log_file"] {
            if let Some(path) = table.get(log).and_then(Value::as_str) {
                let folder = world.place(path);
                fs::create_dir_all(folder.parent().expect("a folder")).expect("a folder");
            }
        }
        if let Some(tls) = table.get("tls").and_then(Value::as_table) {
            world.certify(tls);
        }
        world
    }

    /// Makes the certificates that a configuration names.
    fn certify(&self, tls: &Table) {
        let authority = Authority::new("the CA of a test");
        let pairs = tls.get("certificates").and_then(Value::as_array);
        for pair in pairs.into_iter().flatten() {
            let issued = authority.server(&["localhost"]);
            let path = |key: &str| pair.get(key).and_then(Value::as_str);
            if let Some(certificate) = path("certificate") {
                self.write(certificate, &issued.certificate);
            }
            if let Some(key) = path("key") {
                self.write(key, &issued.key);
            }
        }
        if let Some(path) = tls.get("client_ca").and_then(Value::as_str) {
            self.write(path, authority.pem());
        }
    }

    /// What a path of a configuration means here: one from the root of the machine lies in the site.
    fn place(&self, path: &str) -> PathBuf {
        self.site.root().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.place(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("writing");
    }

    /// Fails unless `wshd check` finds nothing wrong with this configuration.
    pub(super) fn check(self, block: &Block) {
        let root = self.site.root().display();
        let mut text = block.text.clone();
        for folder in ["etc", "home", "opt", "run", "srv", "usr", "var"] {
            for before in ["\"", "\"unix:", "\"proxy:unix:"] {
                let (from, to) = (
                    format!("{before}/{folder}/"),
                    format!("{before}{root}/{folder}/"),
                );
                text = text.replace(&from, &to);
            }
        }
        // Another user than that of the test is none that it could become.
        let own = [
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        ];
        text = text.replace("user = \"wshd\"", &format!("user = \"{}\"", own[0]));
        text = text.replace("group = \"wshd\"", &format!("group = \"{}\"", own[1]));
        let file = self.site.write("config.toml", &text);
        fs::create_dir_all(self.site.root().join("handlers")).expect("a directory");

        let output = Server::bare(&self.site)
            // The libraries are known to be good.
            .env("WSHD_TRIAL", "never")
            .args(["check".as_ref(), "--config".as_ref(), file.as_os_str()])
            .output();

        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        // A site without handlers is no fault of the configuration.
        assert!(output.status.success(), "{}: {said}\n{text}", block.place);
    }
}

/// The handlers that a configuration speaks of.
fn handlers_of(table: &Table) -> Vec<String> {
    let own = table.get("handler").and_then(Value::as_table);
    let own = own.into_iter().flat_map(|table| table.keys().cloned());
    let routes = table.get("routes").and_then(Value::as_table);
    let routes = routes.into_iter().flat_map(|table| table.values());
    let routes = routes.filter_map(Value::as_str);
    let routes = routes.map(|path| path.trim_start_matches('/').to_owned());
    own.chain(routes).collect()
}

/// Names that configurations of the book give to users.
const USERS: [&str; 3] = ["ann", "bob", "prometheus"];

/// As `openssl passwd -6` makes it.
const HASH_OF_A_PASSWORD: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";
