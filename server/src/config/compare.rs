//! Compares a configuration with its successor, and with the handlers that exist.

use super::fault::{ConfigFault, What, nearest};
use super::file::quoted;
use super::{Config, Endpoint, NamedHandler};

impl Config {
    /// The keys in which `new` differs and that apply after a restart only.
    pub fn restart_needed(&self, new: &Config) -> Vec<&'static str> {
        [
            ("user", self.user != new.user),
            ("group", self.group != new.group),
            ("stage_dir", self.stage_dir != new.stage_dir),
            ("admin_socket", self.admin_socket != new.admin_socket),
            ("pid_file", self.pid_file != new.pid_file),
            ("kind", self.engine != new.engine),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    /// Whether `listen` is the default, whether that is written down or not.
    pub(crate) fn listens_by_default(&self) -> bool {
        let default = Config::default();
        let [own, default] = [&self.listen, &default.listen].map(|listen| {
            let addresses = listen.iter().map(Endpoint::address);
            addresses.collect::<Vec<_>>()
        });
        own == default
    }

    /// Whether both configurations write the log and the access log to the same files, within one size and in one format.
    pub(crate) fn has_log_files_of(&self, other: &Config) -> bool {
        let [own, others] = [self, other].map(|it| {
            let Config {
                log_file,
                log_file_bytes_max,
                log_files_max,
                log_format,
                access_log_format,
                access_log_file,
                ..
            } = it;
            let log = (log_file, log_file_bytes_max, log_files_max, log_format);
            (log, access_log_format, access_log_file)
        });
        own == others
    }

    /// The tables and routes that name a handler which is not among `known`: names like `chat` or
    /// `rooms/chat`.
    ///
    /// Such a handler may come later, so a server that runs warns; `wshd check` fails.
    pub fn unknown_handlers(&self, known: &[String]) -> Vec<ConfigFault> {
        let tables = self.handlers.keys().filter_map(|name| {
            let place = self.places.get(name)?;
            Some((
                format!("`[handler.{}]`", quoted(name)),
                name.as_str(),
                place,
            ))
        });
        let routes = self.routes.iter().map(|route| {
            let name = route.target.strip_prefix('/').unwrap_or(&route.target);
            (format!("route `{}`", route.pattern), name, &route.place)
        });
        let mut faults: Vec<_> = tables
            .chain(routes)
            .filter(|(_, name, _)| !known.iter().any(|known| known == name))
            .map(|(by, name, place)| ConfigFault {
                place: place.clone(),
                what: What::NoSuchHandler {
                    by,
                    name: name.to_owned(),
                    known: known.to_vec(),
                    suggestion: near(name, known),
                },
            })
            .collect();
        faults.sort_by(|a, b| {
            (&a.place.file, a.place.line, a.place.column).cmp(&(
                &b.place.file,
                b.place.line,
                b.place.column,
            ))
        });
        faults
    }

    /// The routes at the path of a handler among `known` that lead to another handler.
    pub fn hidden_handlers(&self, known: &[String]) -> Vec<ConfigFault> {
        let routes = self.routes.iter().filter(|route| {
            let name = route.pattern.strip_prefix('/');
            route.target != route.pattern
                && name.is_some_and(|name| known.iter().any(|known| known == name))
        });
        let faults = routes.map(|route| ConfigFault {
            place: route.place.clone(),
            what: What::HidesHandler {
                route: route.pattern.clone(),
                target: route.target.clone(),
            },
        });
        faults.collect()
    }

    /// A sentence for each path of `[auth]` at which nothing lies, where one of the `known` handlers may be meant.
    ///
    /// A handler may come later, so this is no fault.
    pub fn rules_without_handler(&self, known: &[String]) -> Vec<String> {
        let patterns = self.auth.iter().flat_map(|auth| auth.paths.iter());
        let patterns: Vec<String> = patterns.map(|(pattern, _)| pattern).collect();
        let bare = |pattern: &str| {
            let path = pattern.strip_suffix("/*").unwrap_or(pattern);
            path.trim_start_matches('/').to_owned()
        };
        let mut sentences = Vec::new();
        for pattern in &patterns {
            let path = bare(pattern);
            let routes = self.routes.iter().map(|route| bare(&route.pattern));
            let mut names = known.iter().cloned().chain(routes);
            let is_there = names.any(|name| name.contains('{') || is_at_or_below(&name, &path));
            let root = self.document_root.as_ref();
            if is_there || root.is_some_and(|root| root.join(&path).exists()) {
                continue;
            }
            let others = known.iter().filter(|name| {
                let is_of = |pattern: &String| bare(pattern) == **name;
                !patterns.iter().any(is_of)
            });
            if let Some(meant) = near(&path, &others.cloned().collect::<Vec<_>>()) {
                sentences.push(format!(
                    "`[auth]` has a rule for `{pattern}`, where no handler answers; did you mean `/{meant}`?"
                ));
            }
        }
        sentences
    }

    /// The patterns of `[topics]` that name a handler which is not among `known`.
    ///
    /// Such a handler may come later, and its topics have their policy then. So a server that runs warns, and `wshd
    /// check` writes a note.
    pub fn topics_without_handler(&self, known: &[String]) -> Vec<ConfigFault> {
        let named = self.topics_handlers.iter();
        let unknown = named.filter(|named| !known.contains(&named.name));
        let faults = unknown.map(|named| ConfigFault {
            place: named.place.clone(),
            what: What::NoSuchHandler {
                by: format!("`[topics.{}]`", quoted(&named.pattern)),
                name: named.name.clone(),
                known: known.to_vec(),
                suggestion: meant(named, known),
            },
        });
        faults.collect()
    }

    /// The patterns of `[topics]` that are for topics of the server's own, and may be meant for those of a handler among
    /// `known`: `/chat/*` where there is `chat`, and nothing else is said of its topics.
    pub fn topics_like_handlers(&self, known: &[String]) -> Vec<ConfigFault> {
        let faults = self.topics_of_the_server.iter().filter_map(|topics| {
            let name = topics.name.trim_start_matches('/');
            let is_of = |handler: &&String| !handler.is_empty() && is_at_or_below(name, handler);
            let handler = known.iter().filter(is_of).max_by_key(|name| name.len())?;
            let is_its_own =
                |it: &NamedHandler| it.name == *handler && !it.pattern.starts_with('/');
            if self.topics_handlers.iter().any(is_its_own) {
                return None;
            }
            let slash = if handler.contains('/') { "//" } else { "/" };
            let topic = name[handler.len()..].trim_start_matches('/');
            let star = if topic.is_empty() || topics.pattern.ends_with('*') {
                "*"
            } else {
                ""
            };
            Some(ConfigFault {
                place: topics.place.clone(),
                what: What::TopicsLikeHandler {
                    pattern: topics.pattern.clone(),
                    handler: handler.clone(),
                    meant: format!("{handler}{slash}{topic}{star}"),
                },
            })
        });
        faults.collect()
    }
}

/// The handler that may have been meant, or the pattern that names a handler in a folder.
fn meant(named: &NamedHandler, known: &[String]) -> Option<String> {
    let names = known.iter().map(String::as_str);
    let of_folder = names.clone().filter(|name| name.contains('/'));
    let patterns = of_folder.filter_map(|name| {
        let topic = named.pattern.strip_prefix(name)?.strip_prefix('/')?;
        Some(format!("{name}//{topic}"))
    });
    patterns
        .max_by_key(String::len)
        .or_else(|| near(&named.name, known))
}

/// The handler of a name like this one, or of the plugin's file that is named.
fn near(name: &str, known: &[String]) -> Option<String> {
    let name = name.strip_suffix(".so").unwrap_or(name);
    let name = name.strip_suffix("_wsh").unwrap_or(name);
    nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
}

/// Whether a path is this one, or lies below it. Neither begins with a slash.
fn is_at_or_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
