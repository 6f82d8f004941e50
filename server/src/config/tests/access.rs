//! Who may enter: users, tokens and rules, from flags, variables and files.

use super::*;

const OF_TEA: &str = "$5$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.";

fn counts(config: &Config) -> Option<(usize, usize)> {
    let auth = config.auth.as_ref()?;
    Some(auth.credentials.counts())
}

#[test]
fn one_user_is_enough_and_there_is_no_default_password() {
    assert_eq!(counts(&Start::new().read(&[])), None);
    let pair = "--basic-auth-credential=ann:a:b";
    for arguments in [&[pair][..], &["--basic-auth", pair]] {
        assert_eq!(counts(&Start::new().read(arguments)), Some((1, 0)));
    }
    let variable = Start::new().variable("WSHD_BASIC_AUTH_CREDENTIAL", "ann:tea");
    assert_eq!(counts(&variable.read(&["--basic-auth"])), Some((1, 0)));
    assert_eq!(counts(&variable.read(&["--basic-auth=false"])), None);

    let none = "`basic_auth` wants a password, and there is no default password; name a file of users by `users_file`, \
                or give one user by `basic_auth_credential`";
    assert_eq!(Start::new().error(&["--basic-auth"]), none);
    let file = Start::new().file("config.toml", "basic_auth = true\n");
    assert_eq!(file.error(&[]), none);
}

#[test]
fn no_message_shows_a_password() {
    let bad = "`basic_auth_credential` wants `USER:PASSWORD`, neither of them empty, found something else, which is \
               not shown";
    for pair in ["geheim", ":geheim", "geheim:", "ann:geheim\n", ":"] {
        let argument = format!("--basic-auth-credential={pair}");
        assert_eq!(Start::new().error(&[&argument]), bad, "{pair:?}");
    }
    for (text, wanted) in [
        ("basic_auth_credential = \"geheim\"\n", "`USER:PASSWORD`"),
        (
            "basic_auth_credential = [\"ann:geheim\"]\n",
            "a text in quotes, found `…`",
        ),
        (
            "basic_auth_credentials = \"ann:geheim\"\n",
            "did you mean `basic_auth_credential`?",
        ),
        ("basic_auth_credential = \"ann:geheim\n", ""),
        ("basic_auth_credential = ann:geheim\n", ""),
        (
            "basic_auth_credential = \"ann:a\"\nbasic_auth_credential = \"ann:geheim\"\n",
            "duplicate key",
        ),
        ("basic_auth_credential = \"ann:\\geheim\"\n", ""),
    ] {
        let start = Start::new().file("config.toml", text);
        let error = start.try_read(&[]).expect_err(text);
        let told = format!("{error} {error:#}");
        assert!(told.contains(wanted) && !told.contains("geheim"), "{told}");
    }
    let config = Start::new().read(&["--basic-auth-credential=ann:geheim"]);
    assert!(!format!("{config:?}").contains("geheim"));
}

#[test]
fn files_of_users_and_tokens_are_read_as_other_programs_write_them() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let start = Start::new()
        .file(
            "etc/config.toml",
            "users_file = \"users\"\ntokens_file = \"tokens\"\n",
        )
        .file(
            "etc/users",
            &format!("# staff\r\nann:{OF_TEA}\r\n\n  an n:{OF_TEA}:a comment\ngröße:{OF_TEA}"),
        )
        .file(
            "etc/tokens",
            &format!("ci:sha256:{digest}\nci:sha256:{}\n", digest.to_uppercase()),
        );

    let config = start.read(&["--config", "etc/config.toml"]);

    assert_eq!(counts(&config), Some((3, 2)));
    let auth = config.auth.expect("there are users");
    let is_right = |user| auth.credentials.comparison(user, b"tea").is_right(b"tea");
    assert!(is_right("ann") && is_right("an n") && is_right("größe") && !is_right("bob"));
    assert_eq!(auth.credentials.token_name(b"test"), Some("ci"));
}

#[test]
fn a_fault_of_a_file_has_its_line_and_nothing_of_a_hash() {
    let users =
        format!("ann:{OF_TEA}\nann:{OF_TEA}\nbob:geheim\ncai\n:{OF_TEA}\ndan:$2y$31$geheim\n");
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let tokens = format!(
        "ci:geheim\napp:$2y$05$geheim\nsha256:geheim\nci:sha256:{digest}\nci:sha256:{digest}\nbob:sha256:{}\n",
        digest.to_uppercase()
    );
    let start = Start::new().file("users", &users).file("tokens", &tokens);

    let of = |flag| {
        let error = start.try_read(&[flag]).expect_err("it is wrong");
        let told = format!("{error:#}");
        assert!(
            !format!("{told} {error} {error:?}").contains("geheim"),
            "{told}"
        );
        assert!(!told.contains("kWwM"), "{told}");
        let lines = told
            .lines()
            .filter(|line| !line.contains(" | ") && !line.ends_with(" |"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(
        of("--users-file=users"),
        [
            "users:2:1: line 1 has user `ann` too; a user has one line",
            "users:3:1: user `bob` has no known hash; wanted is bcrypt (`$2y$`), SHA-crypt (`$5$`, `$6$`) or Argon2 \
             (`$argon2id$`), a password in plain text is not taken",
            "users:4:1: a line is `NAME:HASH`, this one is not",
            "users:5:1: a line is `NAME:HASH`, this one is not",
            "users:6:1: user `dan` has a hash of bcrypt that is not whole",
        ]
    );
    assert_eq!(
        of("--tokens-file=tokens"),
        [
            "tokens:1:1: token `ci` has no digest; wanted is `sha256:` and the 64 hexadecimal digits of the token's \
             SHA-256",
            "tokens:2:1: token `app` has the hash of a password, which would be computed for each line until one fits; \
             a token is random, so wanted is `sha256:` and the 64 hexadecimal digits of its SHA-256",
            "tokens:3:1: token `sha256` has no digest; wanted is `sha256:` and the 64 hexadecimal digits of the token's \
             SHA-256",
            "tokens:6:1: token `bob` is that of `ci` in line 4; a token has one name",
        ]
    );
    let gone = start.error(&["--users-file=gone"]);
    assert!(
        gone.starts_with("cannot read `") && gone.contains("/gone`: No such file"),
        "{gone}"
    );
}

#[test]
fn a_rule_that_asks_for_users_wants_some() {
    let start = |text: &str| Start::new().file("config.toml", text).file("users", "");
    for (text, by) in [
        ("[auth]\n\"/*\" = \"required\"\n", "`[auth]`"),
        (
            "[auth]\n\"/a\" = \"open\"\n\"/b\" = [\"ann\"]\n",
            "`[auth]`",
        ),
        ("[handler.chat]\nauth = []\n", "`[handler.chat]`"),
        (
            "users_file = \"users\"\nbasic_auth = false\n[auth]\n\"/a\" = \"required\"\n",
            "`[auth]`",
        ),
    ] {
        let expected = format!(
            "{by} lets users in, and nothing says which there are; that is `users_file`, `tokens_file` or \
             `basic_auth_credential`"
        );
        assert_eq!(start(text).error(&[]), expected, "{text}");
    }
    for text in [
        "[auth]\n\"/*\" = \"open\"\n[handler.chat]\nauth = \"open\"\n",
        "users_file = \"users\"\n[auth]\n\"/*\" = \"required\"\n",
    ] {
        start(text).read(&[]);
    }
}

#[test]
fn what_may_be_other_than_is_meant_is_remarked_and_is_no_fault() {
    let remarks = |text: &str, arguments: &[&str]| {
        let start = Start::new()
            .file("config.toml", text)
            .file("users", &format!("ann:{OF_TEA}\n"))
            .file("tokens", "")
            .file("none", "# nobody yet\n");
        for private in ["users", "tokens", "none", "config.toml"] {
            start.set_mode(private, 0o600);
        }
        start
            .read(arguments)
            .auth
            .expect("there are users")
            .remarks
            .clone()
    };
    let users = "users_file = \"users\"\n";
    assert_eq!(remarks(users, &[]), [""; 0]);
    assert_eq!(
        remarks(
            &format!(
                "{users}[auth]\n\"/a/*\" = [\"ann\", \"anne\"]\n[handler.\"b/c\"]\nauth = [\"zoe\"]\n"
            ),
            &[]
        ),
        [
            "`[auth]` lets `anne` into `/a/*`, and there is no user or token of that name; did you mean `ann`?",
            "`[handler.\"b/c\"]` lets `zoe` in, and there is no user or token of that name",
        ]
    );
    assert_eq!(
        remarks(
            &format!("{users}[auth]\n\"/a%20b\" = \"open\"\n\"/100%\" = \"open\"\n"),
            &[]
        ),
        [
            "`[auth]` has a rule for `/a%20b`, and paths are written in their decoded form; did you mean `/a b`?"
        ]
    );
    let unencrypted = |address: &str| {
        format!(
            "passwords and tokens cross the network to `{address}` unencrypted; `tls:{address}` in `listen` encrypts \
             them, and so does a proxy on this machine before a loopback address"
        )
    };
    let listen =
        "listen = [\"127.0.0.1:1\", \"[::1]:1\", \"unix:a.sock\", \"0.0.0.0:2\", \"[::]:2\"]\n";
    assert_eq!(
        remarks(&format!("{listen}{users}"), &[]),
        [unencrypted("0.0.0.0:2"), unencrypted("[::]:2")]
    );
    assert_eq!(
        remarks(&format!("{listen}{users}tokens_file = \"tokens\"\n"), &[]).len(),
        2
    );
    for (text, empty) in [
        ("users_file = \"none\"\n", &["none` has no user"][..]),
        ("tokens_file = \"tokens\"\n", &["tokens` has no token"]),
        (
            "users_file = \"none\"\ntokens_file = \"tokens\"\n",
            &["none` has no user, and `", "tokens` has no token"],
        ),
        (
            "users_file = \"users\"\ntokens_file = \"tokens\"\nbasic_auth = false\n",
            &["tokens` has no token"],
        ),
    ] {
        let found = remarks(text, &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        let refused = "every peer is refused, but where a rule says `open`";
        assert!(found[0].ends_with(refused), "{text}: {found:?}");
        for empty in empty {
            assert!(found[0].contains(empty), "{text}: {found:?}");
        }
    }
}

#[test]
fn a_file_with_secrets_that_every_user_can_read_is_remarked() {
    let text =
        "users_file = \"users\"\ntokens_file = \"tokens\"\nbasic_auth_credential = \"bob:tea\"\n";
    let start = Start::new()
        .file("config.toml", text)
        .file("users", "")
        .file("tokens", &format!("ci:sha256:{}\n", "0".repeat(64)));
    for (name, mode) in [("config.toml", 0o604), ("users", 0o644), ("tokens", 0o606)] {
        start.set_mode(name, mode);
    }
    let remarks = |arguments: &[&str]| {
        let auth = start.read(arguments).auth.expect("there are users");
        let said = |remark: &String| {
            let (path, said) = remark.split_once("` can be ").expect("a remark on a file");
            let name = path.rsplit('/').next().unwrap_or_default();
            format!("{name} {}", said.split(' ').next().unwrap_or_default())
        };
        auth.remarks.iter().map(said).collect::<Vec<_>>()
    };

    assert_eq!(
        remarks(&[]),
        ["config.toml read", "users read", "tokens changed"]
    );
    // Nothing that counts is in the file then.
    assert_eq!(
        remarks(&["--basic-auth-credential=bob:tea"]),
        ["users read", "tokens changed"]
    );
    assert_eq!(
        remarks(&["--basic-auth=false"]),
        ["config.toml read", "tokens changed"]
    );
}

#[test]
fn a_rule_for_a_path_that_looks_like_a_handler_names_it() {
    let text = "users_file = \"users\"\n[routes]\n\"/alias\" = \"/chat\"\n[auth]\n\"/chta\" = \"open\"\n\"/echo/*\" = \"open\"\n\
                \"/alias\" = \"open\"\n\"/pages/*\" = \"open\"\n\"/ech\" = \"open\"\n\"/*\" = \"required\"\n";
    let start = Start::new().file("config.toml", text).file("users", "");
    let known = ["chat", "echo"].map(str::to_owned);

    assert_eq!(
        start.read(&[]).rules_without_handler(&known),
        ["`[auth]` has a rule for `/chta`, where no handler answers; did you mean `/chat`?"]
    );
    assert_eq!(start.read(&[]).rules_without_handler(&[]), [""; 0]);
}

#[test]
fn a_file_as_other_systems_write_it_has_the_same_users() {
    let name = "a".repeat(10_000);
    let users = format!("\u{feff}ann:{OF_TEA}\r\n\t# staff\r\n \r\n{name}:{OF_TEA}:{name}\r\n");
    let config = Start::new()
        .file("users", &users)
        .read(&["--users-file=users"]);
    let auth = config.auth.expect("there are users");
    for user in ["ann", &name] {
        assert!(auth.credentials.comparison(user, b"tea").is_right(b"tea"));
    }
    assert_eq!(auth.credentials.counts(), (2, 0));

    let not_utf8 = Start::new().bytes("users", b"ann:geheim\xff\n");
    assert_eq!(
        not_utf8.error(&["--users-file=users"]),
        "users:1:1: the file is not UTF-8 text"
    );
    // A hash may be that of an empty password; no hash at all is none.
    let none = Start::new().file("users", "ann:\n");
    assert!(
        none.error(&["--users-file=users"])
            .contains("user `ann` has no known hash")
    );
}

#[test]
fn a_handlers_own_rule_comes_before_that_of_the_path() {
    let text = "users_file = \"users\"\n[auth]\n\"/*\" = \"open\"\n\"/b/*\" = [\"ann\"]\n[handler.a]\nauth = \"required\"\n";
    let start = Start::new().file("config.toml", text).file("users", "");

    let config = start.read(&[]);

    let access = |path, name| {
        let own = config.handler(name).access.as_ref();
        config
            .auth
            .as_ref()
            .expect("there is a file")
            .access(path, own)
            .clone()
    };
    assert_eq!(access("/a", "a"), Access::Required);
    assert_eq!(access("/b/alias", "a"), Access::Required);
    assert_eq!(access("/x", "x"), Access::Open);
    assert_eq!(access("/b", "x"), Access::Users(vec!["ann".to_owned()]));
}
