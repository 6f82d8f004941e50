//! The `WSHD_*` variables: what they say where no flag does, and which of them are not ours.
//!
//! Platforms make variables up. Kubernetes sets some for each Service, of its name: one that is called
//! `wshd` gives every container of its namespace a `WSHD_PORT` that is a URL.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use super::DecidedBy;
use super::fault::{ConfigError, nearest};
use super::flags::{Chosen, Flags};
use super::host::HOST_WANTED;
use super::keys::{LOG_LEVEL_WANTED, TRIAL_WANTED, TRUST_WANTED};
use super::lists;

/// The variables of a process.
#[derive(Debug)]
pub(super) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Those of this process.
    pub(super) fn of_process() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    #[cfg(test)]
    pub(super) fn of(variables: Vec<(OsString, OsString)>) -> Environment {
        Environment(variables)
    }

    /// `flags`, and what the variables say of what they leave open. An empty variable says nothing,
    /// and one whose flag is given is not read.
    pub(super) fn below(&self, flags: Flags) -> Result<Flags, ConfigError> {
        let path = |name| self.value(name).map(PathBuf::from);
        let mut flags = flags;
        if flags.server_host.is_empty()
            && let Some(list) = self.value(SERVER_HOST)
        {
            let list = list.to_string_lossy();
            let hosts = list.split(',').map(str::trim);
            let hosts = hosts.map(|host| parsed(SERVER_HOST, host, HOST_WANTED));
            flags.server_host = hosts.collect::<Result<_, _>>()?;
        }
        self.fill(&mut flags.port, PORT, "a number from 0 to 65535")?;
        self.fill(
            &mut flags.allow_handlers_outside_root_dir,
            OUTSIDE,
            "`true` or `false`",
        )?;
        self.fill(&mut flags.trial, TRIAL, TRIAL_WANTED)?;
        self.fill(&mut flags.trust, TRUST, TRUST_WANTED)?;
        self.fill(&mut flags.log_level, LOG_LEVEL, LOG_LEVEL_WANTED)?;
        self.choose(
            &mut flags.hosts,
            HOSTS,
            lists::hosts_in,
            lists::HOSTS_WANTED,
        )?;
        let (parse, wanted) = (lists::origins_in, lists::ORIGINS_WANTED);
        self.choose(&mut flags.origins, ORIGINS, parse, wanted)?;
        for (flag, name) in [
            (&mut flags.config, CONFIG),
            (&mut flags.handlers_dir, HANDLERS_DIR),
            (&mut flags.scan_dir, SCAN_DIR),
            (&mut flags.handlers_map_file, HANDLERS_MAP_FILE),
            (&mut flags.document_root, DOCUMENT_ROOT),
        ] {
            if flag.is_none() {
                *flag = path(name);
            }
        }
        Ok(flags)
    }

    /// A sentence for each variable that looks as if it were for this server, and is not read.
    /// `flags` are those of the command line.
    pub(super) fn remarks(&self, flags: &Flags) -> Vec<String> {
        let mut remarks = Vec::new();
        if flags.port.is_none()
            && let Some(value) = self.get(PORT)
            && is_of_a_service(value)
        {
            remarks.push(format!(
                "environment variable `{PORT}` is `{}`, as Kubernetes sets it for a Service named \
                 `wshd`; `enableServiceLinks: false` in the pod keeps it away",
                value.display()
            ));
        }
        for (name, value) in &self.0 {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            if value.is_empty() || KNOWN.contains(&name) || is_made_up(name) {
                continue;
            }
            if let Some(known) = meant(name) {
                remarks.push(format!(
                    "environment variable `{name}` is not known; did you mean `{known}`?"
                ));
            }
        }
        remarks.sort();
        remarks
    }

    fn fill<T: FromStr>(
        &self,
        flag: &mut Option<T>,
        name: &'static str,
        wanted: &str,
    ) -> Result<(), ConfigError> {
        if flag.is_none()
            && let Some(value) = self.value(name)
        {
            *flag = Some(parsed(name, &value.to_string_lossy(), wanted)?);
        }
        Ok(())
    }

    fn choose<T>(
        &self,
        flag: &mut Option<Chosen<T>>,
        name: &'static str,
        parse: fn(&str) -> Option<T>,
        wanted: &str,
    ) -> Result<(), ConfigError> {
        if flag.is_none()
            && let Some(text) = self.value(name)
        {
            let text = text.to_string_lossy();
            let value = parse(&text).ok_or_else(|| unfit(name, &text, wanted))?;
            let by = DecidedBy::Variable;
            *flag = Some(Chosen { value, by });
        }
        Ok(())
    }

    /// What a variable of ours says.
    fn value(&self, name: &str) -> Option<&OsStr> {
        let value = self.get(name).filter(|value| !value.is_empty())?;
        (name != PORT || !is_of_a_service(value)).then_some(value)
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }
}

/// Whether a `WSHD_PORT` is the URL of a service, such as `tcp://10.96.12.7:9998`.
fn is_of_a_service(value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    let schemes = ["tcp://", "udp://", "sctp://"];
    schemes.iter().any(|scheme| value.starts_with(scheme))
}

/// Whether a platform has made the name up, for a service whose name begins with `wshd`:
/// `WSHD_SERVICE_HOST`, `WSHD_PORT_9998_TCP_ADDR`, and the like, or those of a linked container.
fn is_made_up(name: &str) -> bool {
    let is_linked = name == "WSHD_NAME" || name.starts_with("WSHD_ENV_");
    let is_of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    let of_port = name.ends_with("_PORT") && name != "WSHD_PORT";
    let of_one_port = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
        let mut parts = name.splitn(2, protocol);
        let before = parts.next().unwrap_or_default();
        let number = before.rsplit('_').next().unwrap_or_default();
        let rest = ["", "_PROTO", "_PORT", "_ADDR"];
        number.parse::<u16>().is_ok() && parts.next().is_some_and(|end| rest.contains(&end))
    });
    is_linked || is_of_service || of_port || of_one_port
}

/// The variable that may have been meant: one that differs in a few letters, or has words more.
fn meant(name: &str) -> Option<&'static str> {
    let words = |known: &'static str| known[PREFIX.len()..].split('_');
    let own = &name[PREFIX.len()..];
    let near = nearest(own, KNOWN.map(|known| &known[PREFIX.len()..]));
    let near = KNOWN
        .into_iter()
        .find(|known| Some(&known[PREFIX.len()..]) == near);
    let has_all = |known: &&'static str| {
        own.split('_')
            .all(|word| words(known).any(|one| one == word))
    };
    near.or_else(|| KNOWN.into_iter().find(has_all))
}

fn parsed<T: FromStr>(name: &'static str, text: &str, wanted: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|_| unfit(name, text, wanted))
}

fn unfit(name: &'static str, text: &str, wanted: &str) -> ConfigError {
    ConfigError::Variable {
        name,
        found: text.to_owned(),
        wanted: wanted.to_owned(),
    }
}

const PREFIX: &str = "WSHD_";
const CONFIG: &str = "WSHD_CONFIG";
const PORT: &str = "WSHD_PORT";
const SERVER_HOST: &str = "WSHD_SERVER_HOST";
const HOSTS: &str = "WSHD_HOSTS";
const ORIGINS: &str = "WSHD_ORIGINS";
const HANDLERS_DIR: &str = "WSHD_HANDLERS_DIR";
const SCAN_DIR: &str = "WSHD_SCAN_DIR";
const HANDLERS_MAP_FILE: &str = "WSHD_HANDLERS_MAP_FILE";
const OUTSIDE: &str = "WSHD_ALLOW_HANDLERS_OUTSIDE_ROOT_DIR";
const TRIAL: &str = "WSHD_TRIAL";
const TRUST: &str = "WSHD_TRUST";
const DOCUMENT_ROOT: &str = "WSHD_DOCUMENT_ROOT";
const LOG_LEVEL: &str = "WSHD_LOG_LEVEL";
/// Every variable that this server reads.
const KNOWN: [&str; 13] = [
    CONFIG,
    PORT,
    SERVER_HOST,
    HOSTS,
    ORIGINS,
    HANDLERS_DIR,
    SCAN_DIR,
    HANDLERS_MAP_FILE,
    OUTSIDE,
    TRIAL,
    TRUST,
    DOCUMENT_ROOT,
    LOG_LEVEL,
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn remarks(variables: &[(&str, &str)], flags: &Flags) -> Vec<String> {
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        Environment::of(variables.collect()).remarks(flags)
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_our_name_is_one_remark() {
        let made_up = [
            ("WSHD_PORT", "tcp://10.96.12.7:9998"),
            ("WSHD_SERVICE_HOST", "10.96.12.7"),
            ("WSHD_SERVICE_PORT", "9998"),
            ("WSHD_SERVICE_PORT_WS", "9998"),
            ("WSHD_PORT_9998_TCP", "tcp://10.96.12.7:9998"),
            ("WSHD_PORT_9998_TCP_PROTO", "tcp"),
            ("WSHD_PORT_9998_TCP_PORT", "9998"),
            ("WSHD_PORT_9998_TCP_ADDR", "10.96.12.7"),
            ("WSHD_SERVER_PORT", "tcp://10.96.12.8:80"),
            ("WSHD_CONFIG_SERVICE_HOST", "10.96.12.9"),
        ];
        let remark = "environment variable `WSHD_PORT` is `tcp://10.96.12.7:9998`, as Kubernetes \
                      sets it for a Service named `wshd`; `enableServiceLinks: false` in the pod \
                      keeps it away";
        assert_eq!(remarks(&made_up, &Flags::default()), [remark]);

        let flags = Flags {
            port: Some(1),
            ..Flags::default()
        };
        assert_eq!(remarks(&made_up, &flags), [""; 0], "the flag decides");
    }

    #[test]
    fn each_flag_has_a_variable_of_its_name() {
        let command = crate::config::CommandLine::command();
        let flags = command.get_arguments().map(|flag| flag.get_id().as_str());
        let mut of_flags: Vec<String> = flags
            .filter(|id| !["help", "version", "stop_with_stdin"].contains(id))
            .map(|id| format!("{PREFIX}{}", id.to_uppercase()))
            .collect();
        let mut known = KNOWN.to_vec();
        of_flags.sort();
        known.sort_unstable();
        assert_eq!(of_flags, known);
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_one_that_was_meant() {
        let variables = [
            ("WSHD_LOGLEVEL", "debug"),
            ("WSHD_DOCUMENTROOT", "www"),
            ("WSHD_PROT", ""),
            ("WSHD_HANDLERS", "h"),
            ("WSHD_MASCOT", "otter"),
            ("WSHD_LONG", "1"),
            ("HOME", "/"),
        ];
        assert_eq!(
            remarks(&variables, &Flags::default()),
            [
                "environment variable `WSHD_DOCUMENTROOT` is not known; did you mean \
                 `WSHD_DOCUMENT_ROOT`?",
                "environment variable `WSHD_HANDLERS` is not known; did you mean `WSHD_HANDLERS_DIR`?",
                "environment variable `WSHD_LOGLEVEL` is not known; did you mean `WSHD_LOG_LEVEL`?",
            ]
        );
    }
}
