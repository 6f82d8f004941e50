//! The `WSHD_*` variables: what they decide, and which of them belong to a platform.
//!
//! Platforms make variables up. Kubernetes sets some for each Service, named after it: a Service `wshd`
//! gives every container of its namespace a `WSHD_PORT` that is a URL.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::DecidedBy;
use super::error::ConfigError;
use super::fault::nearest;
use super::flags::Flags;
use super::settings::{self, ConfigDraft, WrongText};

/// The variables of a process.
#[derive(Debug)]
pub(super) struct Environment(Vec<(OsString, OsString)>);

/// A variable that does not say what it should.
#[derive(Debug)]
pub(super) struct WrongVariable {
    /// The key that it would decide.
    pub(super) key: &'static str,
    pub(super) error: ConfigError,
}

impl Environment {
    /// The variables that this process was started with.
    pub(super) fn of_process() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    #[cfg(test)]
    pub(super) fn of(variables: Vec<(OsString, OsString)>) -> Environment {
        Environment(variables)
    }

    /// Adds to `flags` what the variables decide. An empty variable decides nothing, and a variable whose
    /// flag is given is not read. Returns what is wrong with variables, too.
    pub(super) fn below(&self, flags: Flags) -> (Flags, Vec<WrongVariable>) {
        let (mut flags, mut wrong) = (flags, Vec::new());
        for flag in settings::flags() {
            let name = variable(flag.name);
            let Some(text) = self
                .value(&name)
                .filter(|_| flags.text(flag.name).is_none())
            else {
                continue;
            };
            // It is read here to find what is wrong; no path is wrong, whatever it is relative to.
            let (draft, by) = (&mut ConfigDraft::default(), DecidedBy::Variable);
            match settings::decide(draft, flag.name, text, by, Path::new("/")) {
                Ok(()) => flags.say(flag.name, text.to_owned(), by),
                Err(WrongText { found, wanted }) => wrong.push(WrongVariable {
                    key: flag.name,
                    error: ConfigError::Variable {
                        name,
                        found,
                        wanted,
                    },
                }),
            }
        }
        (flags, wrong)
    }

    /// A sentence for each variable that looks like one of this server's and is not read. `flags` are
    /// those of the command line.
    pub(super) fn remarks(&self, flags: &Flags) -> Vec<String> {
        let mut remarks = Vec::new();
        let known = known();
        if flags.text("port").is_none()
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
            if value.is_empty() || known.iter().any(|known| known == name) || is_made_up(name) {
                continue;
            }
            if let Some(known) = meant(name, &known) {
                remarks.push(format!(
                    "environment variable `{name}` is not known; did you mean `{known}`?"
                ));
            }
        }
        remarks.sort();
        remarks
    }

    /// What a variable decides; `None` if it is empty, or a platform's.
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

/// Whether a platform has made the name up: for a service whose name begins with `wshd`, such as
/// `WSHD_SERVICE_HOST` or `WSHD_PORT_9998_TCP_ADDR`, or for a linked container.
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

/// The variable that may have been meant: one that differs in a few letters, or that has all words of
/// `name` and more.
fn meant<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let own = &name[PREFIX.len()..];
    let mut known = known.iter().map(|known| (&**known, &known[PREFIX.len()..]));
    let near = nearest(own, known.clone().map(|(_, rest)| rest));
    let is_near = |(_, rest): &(&str, &str)| Some(*rest) == near;
    let has_all = |(_, rest): &(&str, &str)| {
        let mut words = own.split('_');
        words.all(|word| rest.split('_').any(|one| one == word))
    };
    let found = known.clone().find(is_near).or_else(|| known.find(has_all));
    found.map(|(known, _)| known)
}

/// Every variable that this server reads.
fn known() -> Vec<String> {
    let flags = settings::flags().into_iter();
    flags.map(|flag| variable(flag.name)).collect()
}

/// The variable of the setting `name`: `WSHD_LOG_LEVEL` of `log_level`.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

const PREFIX: &str = "WSHD_";
const PORT: &str = "WSHD_PORT";

#[cfg(test)]
mod tests {
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

        let mut flags = Flags::default();
        flags.say("port", "1".into(), DecidedBy::Flag);
        assert_eq!(remarks(&made_up, &flags), [""; 0], "the flag decides");
    }

    #[test]
    fn each_flag_has_a_variable_of_its_name() {
        let program = crate::config::flags::program::program();
        let flags = program.get_arguments().filter_map(|flag| flag.get_long());
        let mut of_flags: Vec<String> = flags
            .filter(|long| !["help", "version", "stop-with-stdin"].contains(long))
            .map(|long| format!("{PREFIX}{}", long.replace('-', "_").to_uppercase()))
            .collect();
        let mut known = known();
        of_flags.sort();
        known.sort();
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
