//! What a file says, and what is wrong with it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::*;

#[test]
fn every_fault_of_a_file_is_told_in_full() {
    let told = tell_faults("invalid", "toml", "--config");
    assert!(told > 30, "{told} fixtures");
}

#[test]
fn every_fault_of_a_map_file_is_told_in_full() {
    let told = tell_faults("maps", "txt", "-m");
    assert_eq!(told, 5);
}

/// Compares what is told of each fixture in a folder with what is expected. Answers how many there are.
#[track_caller]
fn tell_faults(folder: &str, extension: &str, flag: &str) -> usize {
    let paths = fixtures(folder, extension);
    for path in &paths {
        let dir = path.parent().expect("it has one");
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("it has one");
        let error = read_alone(&[flag, name], dir).expect_err(name);
        assert_expected(path, &format!("{error:#}\n"));
    }
    paths.len()
}

#[test]
fn an_empty_file_is_the_defaults() {
    let empty = fixtures("valid", "toml")
        .into_iter()
        .find(|path| path.ends_with("empty.toml"));
    let empty = empty.expect("it is there");
    let dir = empty.parent().expect("it has one");

    let config = read_alone(&["--config", "empty.toml"], dir).expect("it is right");

    let handlers_dir = dir.join("handlers");
    let defaults = Config {
        file: Some(empty.clone()),
        scan_dir: handlers_dir.clone(),
        handlers_dir,
        ..Config::default()
    };
    assert_eq!(config, defaults);
}

#[test]
fn every_key_says_what_it_says() {
    let start = Start::new()
        .file(
            "site/config.toml",
            include_str!("../../../../tests/config/valid/everything.toml"),
        )
        .file(
            "site/handler_map.txt",
            include_str!("../../../../tests/config/valid/handler_map.txt"),
        );

    let config = start.read(&["--config", "site/config.toml"]);

    assert_eq!(listen(&config), ["0.0.0.0:80", "[::]:80"]);
    assert_eq!(config.handlers_dir, start.path("site/modules"));
    assert_eq!(config.scan_dir, start.path("site/modules/live"));
    assert!(config.allow_handlers_outside_root_dir);
    assert_eq!(config.document_root.as_deref(), Some(Path::new("/srv/www")));
    let real = start.dir.path().canonicalize().expect("it is there");
    assert_eq!(config.stage_dir, Some(real.join("stage")));
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(
        config.hosts,
        Hosts::Listed(vec!["example.com".into(), "*.example.org".into()])
    );
    assert!(!config.handlers_json);
    assert!(!config.pages && config.lists_directories);
    assert_eq!(config.defaults.session.message_bytes_max, 65_536);
    assert_eq!(config.defaults.limits.drain_timeout_s, Some(60));

    let chat = config.handler("chat");
    assert_eq!(
        (chat.reload, chat.limits.panics_max),
        (ReloadPolicy::Close, 3)
    );
    assert_eq!(
        chat.origins,
        Origins::Listed(vec![
            "same-host".into(),
            "https://example.com".into(),
            "null".into()
        ])
    );
    let wanted = json!({
        "history": 100, "rooms": ["a", "b"], "opened": "2024-01-01", "ratio": 0.5, "nested": { "deep": true },
    });
    assert_eq!(chat.config, wanted);

    let rooms = config.handler("rooms/chat");
    assert_eq!(
        (rooms.reload, rooms.limits.drain_timeout_s),
        (ReloadPolicy::Drain, None)
    );
    assert_eq!(
        (rooms.session.message_bytes_max, &rooms.origins),
        (16 * 1024 * 1024, &Origins::Any)
    );
    assert_eq!(rooms.config, json!({ "history": 5 }));
    assert_eq!(config.handler("").limits.panics_max, 9);
    assert_eq!(config.handler("echo"), &config.defaults);

    assert_eq!(config.engine, EngineKind::Local);
    let bounds = |count, age_ms, bytes| HistoryBounds {
        count,
        age_ms,
        bytes,
    };
    let listed = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let (all, most) = (u64::MAX, usize::MAX);
    for (owner, name, history, presence, handlers) in [
        (
            "chat",
            "lobby",
            Some(bounds(100, 86_400_000, 1_048_576)),
            true,
            None,
        ),
        ("chat", "private-1", None, false, None),
        (
            "rooms/chat",
            "lobby",
            Some(bounds(most, 60_000, most)),
            true,
            None,
        ),
        ("rooms/chat", "tea", None, true, None),
        (
            "",
            "/news",
            Some(bounds(most, all, 1)),
            true,
            listed(&["chat", "rooms/chat", ""]),
        ),
        ("", "/reserved/x", None, true, listed(&[])),
    ] {
        let policy = TopicPolicy {
            history,
            presence,
            handlers,
        };
        assert_eq!(config.topics.policy(owner, name), &policy, "{owner} {name}");
    }

    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| (route.pattern.as_str(), route.target.as_str()))
        .collect();
    let wanted = [
        ("/rooms/{room}", "/chat"),
        ("/all/{*rest}", "/echo"),
        ("/brace/{{x}}", "/echo"),
        ("/", "/echo"),
        ("/start", "/echo"),
        ("/{{literal}}", "/chat"),
    ];
    assert_eq!(routes, wanted);
    assert_eq!(config.routes[0].place.to_string(), "site/config.toml:40:1");
    assert_eq!(
        config.routes[4].place.to_string(),
        "site/handler_map.txt:4:1"
    );
}

#[test]
fn a_map_file_as_other_systems_write_it_has_the_same_routes() {
    let start = Start::new().file("map", "\u{feff}/tea /echo\r\n\r\n/ /tea\r\n");

    let config = start.read(&["-m", "map"]);

    let routes = config.routes.iter();
    let routes: Vec<_> = routes
        .map(|route| (&*route.pattern, &*route.target))
        .collect();
    assert_eq!(routes, [("/tea", "/echo"), ("/", "/echo")]);
}

#[test]
fn dotted_keys_are_tables_too() {
    let start = Start::new().file(
        "config.toml",
        include_str!("../../../../tests/config/valid/dotted.toml"),
    );

    let config = start.read(&[]);

    assert_eq!(config.defaults.session.message_bytes_max, 1024);
    assert_eq!(config.handler("chat").reload, ReloadPolicy::Close);
    assert_eq!(config.handler("chat").session.message_bytes_max, 1024);
    assert_eq!(config.handler("chat").config, json!({ "history": 7 }));
    assert_eq!(config.routes[0].target, "/echo");
}

#[test]
fn a_handlers_table_inherits_what_stands_below_it() {
    let text = "handler.chat.panics_max = 1\nreload = \"close\"\n[limits]\nfragments_max = 7\n";
    let start = Start::new().file("config.toml", text);

    let config = start.read(&[]);

    let chat = config.handler("chat");
    assert_eq!(
        (
            chat.limits.panics_max,
            chat.reload,
            chat.session.fragments_max
        ),
        (1, ReloadPolicy::Close, 7)
    );
}

#[test]
fn handlers_that_are_not_there_are_named_with_those_that_are() {
    let text = "[handler.chat]\n[handler.chta]\n[handler.\"rooms/x\"]\n[routes]\n\"/\" = \"/ecko\"\n\"/a\" = \"/echo\"\n";
    let start = Start::new().file("config.toml", text);
    let config = start.read(&[]);

    let faults = config.unknown_handlers(&["chat".to_owned(), "echo".to_owned()]);

    let sentences: Vec<_> = faults.iter().map(|fault| fault.to_string()).collect();
    let wanted = [
        "config.toml:2:10: `[handler.chta]` names handler `chta`, which does not exist; there are `chat`, `echo`; \
         did you mean `chat`?",
        "config.toml:3:10: `[handler.\"rooms/x\"]` names handler `rooms/x`, which does not exist; there are `chat`, \
         `echo`",
        "config.toml:5:1: route `/` names handler `ecko`, which does not exist; there are `chat`, `echo`; did you \
         mean `echo`?",
    ];
    assert_eq!(sentences, wanted);
    let alone = format!("{:#}", config.unknown_handlers(&[])[1]);
    let wanted = "config.toml:2:10: `[handler.chta]` names handler `chta`, which does not exist; there are none\n  \
                  |\n2 | [handler.chta]\n  |          ^^^^";
    assert_eq!(alone, wanted);
}

#[test]
fn topics_of_handlers_that_are_not_there_are_told_apart_from_topics_of_those_in_folders() {
    let text = "[topics]\n\"chat/*\" = {}\n\"chta/*\" = {}\n\"rooms/chat/lobby\" = {}\n\
                \"rooms/chat//*\" = {}\n\"/news\" = { handlers = [\"chat\", \"news\"] }\n";
    let start = Start::new().file("config.toml", text);
    let config = start.read(&[]);

    let faults = config.topics_without_handler(&["chat".to_owned(), "rooms/chat".to_owned()]);

    let sentences: Vec<_> = faults.iter().map(|fault| fault.to_string()).collect();
    let wanted = [
        "config.toml:3:1: `[topics.\"chta/*\"]` names handler `chta`, which does not exist; there are `chat`, \
         `rooms/chat`; did you mean `chat`?",
        "config.toml:4:1: `[topics.\"rooms/chat/lobby\"]` names handler `rooms`, which does not exist; there are \
         `chat`, `rooms/chat`; did you mean `rooms/chat//lobby`?",
        "config.toml:6:33: `[topics.\"/news\"]` names handler `news`, which does not exist; there are `chat`, \
         `rooms/chat`",
    ];
    assert_eq!(sentences, wanted);
    assert_eq!(config.unknown_handlers(&[]), Vec::new());
}

#[test]
fn the_name_of_a_plugins_file_is_told_apart_from_the_handlers_name() {
    let text = "[topics]\n\"chat_wsh/*\" = {}\n[handler.\"chat_wsh.so\"]\n";
    let config = Start::new().file("config.toml", text).read(&[]);
    let known = ["chat".to_owned()];

    let mut faults = config.topics_without_handler(&known);
    faults.extend(config.unknown_handlers(&known));

    assert_eq!(faults.len(), 2);
    for fault in faults {
        let sentence = fault.to_string();
        let meant = "which does not exist; there is `chat`; did you mean `chat`?";
        assert!(sentence.ends_with(meant), "{sentence}");
    }
}

#[test]
fn a_route_at_a_handlers_own_path_is_said_to_hide_it() {
    let text = "[routes]\n\"/chat\" = \"/echo\"\n\"/echo\" = \"/echo\"\n\"/talk\" = \"/chat\"\n";
    let start = Start::new().file("config.toml", text);
    let config = start.read(&[]);

    let faults = config.hidden_handlers(&["chat".to_owned(), "echo".to_owned()]);

    let sentences: Vec<_> = faults.iter().map(|fault| fault.to_string()).collect();
    let wanted = [
        "config.toml:2:1: route `/chat` leads to `/echo`, so the handler of that path is not reached there",
    ];
    assert_eq!(sentences, wanted);
}

#[test]
fn only_what_a_running_server_cannot_take_up_asks_for_a_restart() {
    let before = Start::new().read(&[]);
    let after = Start::new()
        .file(
            "config.toml",
            "log_level = \"debug\"\ndocument_root = \"www\"\n[limits]\nfragments_max = 1\n",
        )
        .read(&[]);
    let after = Config {
        handlers_dir: before.handlers_dir.clone(),
        scan_dir: before.scan_dir.clone(),
        ..after
    };
    assert_eq!(before.restart_needed(&after), Vec::<&str>::new());

    let mut after = after;
    after.limits.connections_max = 1;
    after.limits.pending_handshakes_max = 1;
    assert_eq!(before.restart_needed(&after), Vec::<&str>::new());
    after.listen.pop();
    after.stage_dir = Some("/elsewhere".into());
    assert_eq!(before.restart_needed(&after), ["stage_dir"]);
}

#[test]
fn several_faults_are_one_line_in_a_log() {
    let start = Start::new().file("config.toml", "lisen = []\ncolour = 1\nreload = 5\n");

    let error = start.error(&[]);

    assert_eq!(
        error,
        "config.toml:1:1: unknown key `lisen`; did you mean `listen`? (and 2 more)"
    );
}

#[test]
fn tens_of_thousands_of_routes_are_read_in_a_moment() {
    // Each is an alias of the one above, and lies on a line of its own.
    let mut text = "[routes]\n\"/r0\" = \"/echo\"\n".to_owned();
    for number in 1..30_000 {
        text += &format!("\"/r{number}\" = \"/r{}\"\n", number - 1);
    }
    let start = Start::new().file("config.toml", &text);

    let began = std::time::Instant::now();
    let config = start.read(&[]);

    // By their square it is a minute in a build without optimisation.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert_eq!(config.routes.len(), 30_000);
    assert!(config.routes.iter().all(|route| route.target == "/echo"));
}

#[test]
fn tens_of_thousands_of_patterns_are_read_and_found_in_a_moment() {
    let mut text = "[topics]\n".to_owned();
    for number in 0..30_000 {
        text += &format!(
            "\"chat/{number:05}*\" = {{ history = {{ count = {} }} }}\n",
            number + 1
        );
    }
    let start = Start::new().file("config.toml", &text);

    // Of this thread alone: a machine with other work to do makes it no longer.
    let processor_time = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("it is positive")
    };
    let began = processor_time();
    let config = start.read(&[]);
    for number in 0..30_000 {
        let policy = config.topics.policy("chat", &format!("{number:05}-more"));
        let count = policy.history.map(|bounds| bounds.count);
        assert_eq!(count, Some(number + 1));
    }

    // With a look at each pattern for each topic it takes longer.
    let took = processor_time() - began;
    assert!(took.as_secs() < 10, "{took:?}");
}
