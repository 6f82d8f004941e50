//! The arguments of `wshd connect`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use data_encoding::BASE64;
use http::{HeaderName, HeaderValue};
use wsh::close_codes::NO_STATUS;

use crate::config::CertificatePair;
use crate::config::settings::number;

/// What `wshd connect` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The URL as it was given.
    pub url: String,
    /// The subprotocols to offer, in this order.
    pub subprotocols: Vec<String>,
    /// More lines for the request.
    pub headers: Vec<(String, String)>,
    /// The value of `Origin`.
    pub origin: Option<String>,
    /// Messages to send instead of stdin; may be empty.
    pub messages: Vec<String>,
    /// Whether messages are sent as binary ones.
    pub is_binary: bool,
    /// Whether the whole of stdin is one message.
    pub is_whole: bool,
    /// Whether compression is offered.
    pub compresses: bool,
    /// Whether stdout gets what is sent, too.
    pub is_transcript: bool,
    /// How often a Ping is sent.
    pub ping_interval: Option<Duration>,
    /// The Close frame that the client sends.
    pub close: CloseText,
    /// How long a silence is waited for when all is sent; `None` is for ever.
    pub wait: Option<Duration>,
    /// How many messages are waited for.
    pub count: Option<u64>,
    /// Whether any certificate of a server is taken.
    pub is_insecure: bool,
    /// The CAs that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// What the client shows to a server that asks for a certificate.
    pub certificate: Option<CertificatePair>,
    /// How long the server may take for the opening handshake, and for the closing one.
    pub timeout: Duration,
}

/// The code and the reason of a Close frame, as an operator writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseText {
    /// 1005 stands for a frame without a code.
    pub code: u16,
    /// It may be empty.
    pub reason: String,
}

impl Default for CloseText {
    fn default() -> CloseText {
        CloseText::of(1000)
    }
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            url: String::new(),
            subprotocols: Vec::new(),
            headers: Vec::new(),
            origin: None,
            messages: Vec::new(),
            is_binary: false,
            is_whole: false,
            compresses: false,
            is_transcript: false,
            ping_interval: None,
            close: CloseText::default(),
            wait: Some(WAIT),
            count: None,
            is_insecure: false,
            ca: None,
            certificate: None,
            timeout: TIMEOUT,
        }
    }
}

impl ConnectOptions {
    /// Reads what clap has found.
    pub(super) fn of(matches: &ArgMatches) -> ConnectOptions {
        let texts = |name: &str| -> Vec<String> {
            let texts = matches.get_many::<String>(name);
            texts.into_iter().flatten().cloned().collect()
        };
        let duration = |name: &str| matches.get_one::<Duration>(name).copied();
        let headers = matches.get_many::<(String, String)>("header");
        let user = matches.get_one::<(String, String)>("user");
        let headers = headers.into_iter().flatten().chain(user);
        let certificate = matches.get_one::<PathBuf>("cert");
        let defaults = ConnectOptions::default();
        ConnectOptions {
            url: texts("url").concat(),
            subprotocols: texts("subprotocol"),
            headers: headers.cloned().collect(),
            origin: matches.get_one("origin").cloned(),
            messages: texts("message"),
            is_binary: matches.get_flag("binary"),
            is_whole: matches.get_flag("whole"),
            compresses: matches.get_flag("compress"),
            is_transcript: matches.get_flag("transcript"),
            ping_interval: duration("ping"),
            close: matches.get_one("close").cloned().unwrap_or_default(),
            wait: match matches.get_one::<Wait>("wait") {
                None => defaults.wait,
                Some(Wait::For(wait)) => Some(*wait),
                Some(Wait::Forever) => None,
            },
            count: matches.get_one("count").copied(),
            is_insecure: matches.get_flag("insecure"),
            ca: matches.get_one("ca").cloned(),
            certificate: certificate.map(|certificate| CertificatePair {
                certificate: certificate.clone(),
                key: matches.get_one("key").unwrap_or(certificate).clone(),
            }),
            timeout: duration("timeout").unwrap_or(defaults.timeout),
        }
    }

    /// The value of a line that was asked for. `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter();
        let mut found = found.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| &**value)
    }
}

/// What `--wait` says.
#[derive(Clone, Copy, Debug)]
enum Wait {
    For(Duration),
    Forever,
}

impl CloseText {
    /// A code without a reason.
    pub(crate) fn of(code: u16) -> CloseText {
        let reason = String::new();
        CloseText { code, reason }
    }

    /// The body of the Close frame. Codes that may not be sent are sent, too, so that a server can be tested.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self.code {
            NO_STATUS => Vec::new(),
            code => [&code.to_be_bytes(), self.reason.as_bytes()].concat(),
        }
    }
}

impl FromStr for CloseText {
    type Err = &'static str;

    /// Reads `1000`, or `4000 good bye`.
    fn from_str(text: &str) -> Result<CloseText, &'static str> {
        let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
        let code = code.parse().map_err(|_| CLOSE_WANTED)?;
        if reason.len() > REASON_BYTES_MAX {
            return Err(CLOSE_WANTED);
        }
        // The reason stands behind the code (RFC 6455 §5.5.1).
        if code == NO_STATUS && !reason.is_empty() {
            return Err("1005 stands for a Close frame without a code, which has no reason");
        }
        let reason = reason.to_owned();
        Ok(CloseText { code, reason })
    }
}

impl fmt::Display for CloseText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, " `")?;
        for character in self.reason.chars() {
            match character {
                // A peer's reason may be shown on a terminal.
                '\'' | '"' | '\\' => write!(f, "{character}")?,
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        write!(f, "`")
    }
}

/// The command `wshd connect`.
pub(super) fn command() -> clap::Command {
    let about = "Connect to a WebSocket: lines of stdin are sent, messages are printed";
    clap::Command::new("connect")
        .about(about)
        .long_about(format!("{about}\n\n{MORE}"))
        .after_long_help(EXIT_STATUS)
        .arg(Arg::new("url").required(true).value_name("URL").help(
            "Where to connect to, like ws://localhost:9998/echo, wss://a.example/ or ws+unix:/run/wshd.sock:/echo",
        ))
        .args(of_the_handshake())
        .args(of_the_connection())
        .args(of_messages())
        .args(of_the_end())
}

fn of_the_handshake() -> [Arg; 5] {
    let heading = "Opening handshake";
    [
        Arg::new("subprotocol")
            .long("subprotocol")
            .value_name("NAME")
            .action(ArgAction::Append)
            .value_delimiter(',')
            .value_parser(ValueParser::new(token))
            .help("Offer this subprotocol; can be given several times, or as a list with commas"),
        Arg::new("header")
            .short('H')
            .long("header")
            .value_name("NAME: VALUE")
            .action(ArgAction::Append)
            .value_parser(ValueParser::new(header))
            .help("Send this header line; can be given several times"),
        Arg::new("origin")
            .long("origin")
            .value_name("ORIGIN")
            .value_parser(ValueParser::new(header_value))
            .help("Send this `Origin`, as a page of it would"),
        Arg::new("user")
            .short('u')
            .long("user")
            .value_name("NAME:PASSWORD")
            .value_parser(ValueParser::new(user))
            .help("Send this name and password (Basic)"),
        switch("compress", "Offer compression (permessage-deflate)"),
    ]
    .map(|argument| argument.help_heading(heading))
}

fn of_the_connection() -> [Arg; 5] {
    let heading = "Connection";
    let file = |name: &'static str, help: &'static str| {
        let file = Arg::new(name).long(name).value_name("FILE");
        file.value_parser(value_parser!(PathBuf)).help(help)
    };
    [
        file(
            "ca",
            "Trust the CAs of this file in PEM, instead of the system's",
        )
        .visible_alias("cacert"),
        switch("insecure", "Take any certificate of the server").short('k'),
        file(
            "cert",
            "Show this certificate in PEM to a server that asks for one",
        ),
        file(
            "key",
            "The private key of the certificate in PEM, if it stands in a file of its own",
        )
        .requires("cert"),
        Arg::new("timeout")
            .long("timeout")
            .value_name("SECONDS")
            .value_parser(ValueParser::new(seconds))
            .help(
                "How long the server may take to open, and to answer a Close frame or a Ping of --ping [default: 10]",
            ),
    ]
    .map(|argument| argument.help_heading(heading))
}

fn of_messages() -> [Arg; 5] {
    [
        Arg::new("message")
            .short('m')
            .long("message")
            .value_name("TEXT")
            .action(ArgAction::Append)
            .help("Send this message and do not read stdin; can be given several times"),
        switch("binary", "Send binary messages"),
        switch("whole", "Send the whole of stdin as one message"),
        switch(
            "transcript",
            "Print `Send: …` and `Recv: …`, as pywebsocket's echo_client.py does",
        ),
        Arg::new("ping")
            .long("ping")
            .value_name("SECONDS")
            .value_parser(ValueParser::new(seconds))
            .help("Send a Ping this often, tell how long its Pong takes, and end if nothing comes within --timeout"),
    ]
    .map(|argument| argument.help_heading("Messages"))
}

fn of_the_end() -> [Arg; 3] {
    [
        Arg::new("count")
            .short('n')
            .long("count")
            .value_name("NUMBER")
            .value_parser(number::<u64>(1..=u64::MAX))
            .help("Print so many messages, and close"),
        Arg::new("wait")
            .long("wait")
            .value_name("SECONDS")
            .value_parser(ValueParser::new(wait))
            .help(
                "Close when all is sent and no message has come for so long, or `forever` [default: 0.5]",
            ),
        Arg::new("close")
            .long("close")
            .value_name("CODE REASON")
            .value_parser(ValueParser::new(CloseText::from_str))
            .help("Close with this code and reason, in one argument, or with 1005 without any [default: 1000]"),
    ]
    .map(|argument| argument.help_heading("The end"))
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    let switch = Arg::new(name).long(name);
    switch.action(ArgAction::SetTrue).help(help)
}

fn header(text: &str) -> Result<(String, String), String> {
    let wrong = || "wants a header line like `Cookie: a=b`".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name: HeaderName = name.parse().map_err(|_| wrong())?;
    // The name is sent as it was written.
    let written = &text[..name.as_str().len()];
    Ok((written.to_owned(), header_value(value)?))
}

/// The header line of a name and a password (RFC 7617).
fn user(text: &str) -> Result<(String, String), &'static str> {
    if !text.contains(':') {
        return Err("wants a name and a password like `ann:secret`");
    }
    let value = format!("Basic {}", BASE64.encode(text.as_bytes()));
    Ok(("Authorization".to_owned(), value))
}

fn header_value(text: &str) -> Result<String, String> {
    let text = text.trim();
    match HeaderValue::from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("wants text without control characters".to_owned()),
    }
}

fn token(text: &str) -> Result<String, String> {
    // A subprotocol and the name of a header are both tokens (RFC 6455 §4.1, RFC 9110 §5.6.2).
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("wants a name like `chat.v2`".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|it| (0.001..=86_400.0).contains(it));
    let seconds = seconds.ok_or("wants seconds from 0.001 to 86400")?;
    Ok(Duration::from_secs_f64(seconds))
}

fn wait(text: &str) -> Result<Wait, String> {
    match text {
        "forever" => Ok(Wait::Forever),
        "0" => Ok(Wait::For(Duration::ZERO)),
        text => match seconds(text) {
            Ok(wait) => Ok(Wait::For(wait)),
            Err(_) => Err("wants seconds from 0 to 86400, or `forever`".to_owned()),
        },
    }
}

const CLOSE_WANTED: &str =
    "wants a code from 0 to 65535, and behind a blank a reason of at most 123 bytes";
/// What a control frame has room for behind the code (RFC 6455 §5.5).
const REASON_BYTES_MAX: usize = 123;
const WAIT: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(10);

const MORE: &str = "In a terminal, a line that begins with a slash is a command: `/help` lists them. Ctrl-D closes.\n\n\
     Otherwise every line of stdin is a message. When all is sent, the client waits until no message has come for \
     `--wait`, and closes. A message has at most 1 GiB, either way.\n\n\
     Stdout gets the messages: a text message with a line break behind it, a binary one as it is. A terminal gets \
     each on one line, with escapes for what could steer it. All else goes to stderr. An stdout that a \
     shell closes by `>&-` is /dev/null.";
const EXIT_STATUS: &str = "\
Exit status:
  0   closed with 1000, without a code, or with the code of --close
  1   it cannot connect, or cannot read stdin
  2   the command line is wrong
  3   the server refused the opening handshake
  4   the server closed with another code
  5   the connection was lost, the server broke the protocol or was silent after a Ping of --ping,
      or a message was too long
  6   stdout cannot be written
  141 what read stdout has gone, as a shell shows it of a program that SIGPIPE ends";
