//! The value that the sessions of a function share, and warnings about keys of the configuration, in all styles.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use wsh::prelude::*;

/// Greets with a text of the configuration, counts its sessions, and records its own life.
struct Greeter {
    greeting: String,
    greeted: AtomicUsize,
}

impl Shared for Greeter {
    fn new(config: Config) -> Result<Self> {
        wsh::info!("made");
        Ok(Greeter {
            greeting: config.get("greeting")?,
            greeted: AtomicUsize::new(0),
        })
    }

    fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
        match request.query("name") {
            Some("") => Err("a guest without a name".into()),
            Some(_) => Ok(Handshake::accept()),
            None => Ok(Handshake::reject(403, format!("{}, who?", self.greeting))),
        }
    }

    fn serving(&self, on: bool) -> Result {
        wsh::info!("serving {on}");
        if !on {
            return Err("it cannot let go".into());
        }
        Ok(())
    }

    fn self_test(&self) -> Result {
        if self.greeting.is_empty() {
            return Err("nothing to say".into());
        }
        Ok(())
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        wsh::info!("dropped after {}", self.greeted.load(Relaxed));
    }
}

fn greeting(greeter: &Greeter, request: &Request<'_>) -> String {
    let number = greeter.greeted.fetch_add(1, Relaxed) + 1;
    let name = request.query("name").unwrap_or_default();
    format!("{} {name}, number {number}", greeter.greeting)
}

async fn asynchronous(conn: &mut AsyncConn, request: &Request<'_>, greeter: &Greeter) -> Result {
    conn.send(greeting(greeter, request)).await?;
    while conn.recv().await.is_some() {}
    Ok(())
}

fn blocking(conn: BlockingConn, request: &Request, greeter: &Greeter) -> Result {
    conn.send(greeting(greeter, request))?;
    while conn.recv().is_some() {}
    Ok(())
}

#[test]
fn functions_share_a_value_from_the_configuration_until_their_last_session() {
    for handler in [
        wsh::descriptor!(async asynchronous, shared = Greeter),
        wsh::descriptor!(blocking blocking, shared = Greeter),
    ] {
        let server = wsh::test::load(&handler, r#"{"greeting": "good day"}"#).unwrap();

        let mut ann = server.request("/?name=ann").connect();
        assert_eq!(ann.receive().unwrap(), "good day ann, number 1");
        let mut ben = server.request("/?name=ben").connect();
        assert_eq!(ben.receive().unwrap(), "good day ben, number 2");
        let refusal = server.request("/").try_connect().unwrap_err();
        let failure = server.request("/?name=").try_connect().unwrap_err();

        assert_eq!(refusal.to_string(), "403 good day, who?");
        assert_eq!(failure.status, 500);
        server.reload(&handler).unwrap();
        for client in [&mut ann, &mut ben] {
            client.close(1000, "");
            assert_eq!(client.receive(), None);
            assert_eq!(client.closed().unwrap().code, 1000);
        }
        let told: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
        let wanted = [
            "made",
            "serving true",
            "a guest without a name",
            "made",
            "serving true",
            "serving false",
            "`serving(false)` failed",
            "dropped after 2",
        ];
        assert_eq!(told, wanted);
    }
}

#[test]
fn a_function_is_not_loaded_if_its_shared_value_cannot_be_made() {
    let handler = wsh::descriptor!(async asynchronous, shared = Greeter);

    let missing = wsh::test::load(&handler, "{}").unwrap_err();
    let unfit = wsh::test::load(&handler, r#"{"greeting": ""}"#).unwrap_err();

    assert!(missing.starts_with("`greeting` is missing"), "{missing}");
    assert_eq!(unfit, "nothing to say");
}

#[test]
fn a_function_takes_what_it_asks_for_and_the_options_stand_in_any_order() {
    struct Number(u32);
    impl Shared for Number {
        const ORIGIN_ANY: bool = true;
        fn new(_: Config) -> Result<Self> {
            Ok(Number(7))
        }
    }
    fn check(_: &Request, response: &mut Response) -> Result<Handshake> {
        response.header("X-Checked", "yes")?;
        Ok(Handshake::accept())
    }
    async fn alone(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        Ok(())
    }
    async fn tells(conn: &mut AsyncConn<u32>, number: &Number) -> Result {
        conn.send(number.0.to_string()).await?;
        Ok(())
    }
    fn waits(conn: BlockingConn, number: &Number) -> Result {
        conn.send(number.0.to_string())?;
        Ok(())
    }
    use wsh::abi::{ASYNC, BLOCKING, MIGRATES, ORIGIN_ANY};

    let both = wsh::descriptor!(async tells, handshake = check, shared = Number);
    let other = wsh::descriptor!(blocking waits, shared = Number, handshake = check);

    assert_eq!(both.flags, ASYNC | MIGRATES | ORIGIN_ANY);
    assert_eq!(other.flags, BLOCKING | ORIGIN_ANY);
    for handler in [both, other] {
        let mut client = wsh::test::connect(handler);
        assert_eq!(client.receive().unwrap(), "7");
        assert_eq!(client.header("x-checked"), Some(&b"yes"[..]));
    }
    let plain = wsh::descriptor!(async alone);
    assert_eq!(plain.flags, ASYNC);
    let restarts = wsh::descriptor!(async alone, origin = any, restarts);
    assert_eq!(restarts.flags, ASYNC | MIGRATES | ORIGIN_ANY);
}

#[test]
fn a_job_is_told_when_its_generation_serves_no_more() {
    static TOLD: Mutex<Option<mpsc::Sender<bool>>> = Mutex::new(None);
    fn tell(stop: &Stop) {
        let told = TOLD.lock().unwrap();
        told.as_ref().unwrap().send(stop.is_time()).unwrap();
    }
    struct Feed;
    impl Shared for Feed {
        fn new(_: Config) -> Result<Self> {
            Ok(Feed)
        }
        fn serving(&self, on: bool) -> Result {
            if on {
                wsh::spawn(|stop| {
                    tell(&stop);
                    while !stop.wait(Duration::from_secs(60)) {}
                    tell(&stop);
                })?;
            }
            Ok(())
        }
    }
    async fn nothing(_: &mut AsyncConn, _: &Feed) -> Result {
        Ok(())
    }
    let (told, tells) = mpsc::channel();
    *TOLD.lock().unwrap() = Some(told);
    let next = || tells.recv_timeout(Duration::from_secs(10));
    let handler = wsh::descriptor!(async nothing, shared = Feed);
    let server = wsh::test::serve(&handler);
    assert_eq!(next(), Ok(false));
    assert_eq!(server.threads(), 1);

    server.reload(&handler).unwrap();

    // The job of the newer generation begins, and that of the older one ends.
    let both = [next(), next()];
    assert!(
        both.contains(&Ok(false)) && both.contains(&Ok(true)),
        "{both:?}"
    );
    drop(server);
    assert_eq!(next(), Ok(true));
}

#[test]
fn a_key_that_is_not_asked_for_is_a_warning_with_the_key_that_it_looks_like() {
    #[derive(serde::Deserialize)]
    struct Table {
        #[serde(alias = "lines")]
        history: Option<u32>,
    }
    struct Whole;
    impl Shared for Whole {
        fn new(config: Config) -> Result<Self> {
            assert_eq!(config.parse::<Table>()?.history, Some(2));
            Ok(Whole)
        }
    }
    struct Single;
    impl Shared for Single {
        fn new(config: Config) -> Result<Self> {
            config.get::<Option<u32>>("history")?;
            Ok(Single)
        }
    }
    struct Text;
    impl Shared for Text {
        fn new(config: Config) -> Result<Self> {
            wsh::debug!("{}", config.json());
            Ok(Text)
        }
    }
    async fn whole(_: &mut AsyncConn, _: &Whole) -> Result {
        Ok(())
    }
    async fn single(_: &mut AsyncConn, _: &Single) -> Result {
        Ok(())
    }
    async fn text(_: &mut AsyncConn, _: &Text) -> Result {
        Ok(())
    }
    async fn none(_: &mut AsyncConn) -> Result {
        Ok(())
    }
    let warnings = |handler: &wsh::abi::Descriptor| -> Vec<String> {
        let json = r#"{"histroy": 1, "lines": 2, "colour": "red"}"#;
        let server = wsh::test::load(handler, json).unwrap();
        let log = server.log().into_iter();
        let warnings = log.filter(|line| line.level == wsh::abi::LOG_WARN);
        warnings.map(|line| line.message).collect()
    };
    let meant = "`histroy` in [handler.wshd-plugin.config] is not known to the handler; did you mean `history`?";
    let colour = "`colour` in [handler.wshd-plugin.config] is not known to the handler";
    let lines = colour.replace("colour", "lines");
    let histroy = colour.replace("colour", "histroy");

    let whole = warnings(&wsh::descriptor!(async whole, shared = Whole));
    let single = warnings(&wsh::descriptor!(async single, shared = Single));
    let text = warnings(&wsh::descriptor!(async text, shared = Text));
    let none = warnings(&wsh::descriptor!(async none));

    assert_eq!(whole, [meant, colour]);
    assert_eq!(single, [meant, &lines, colour]);
    assert_eq!(text, [""; 0]);
    assert_eq!(none, [&histroy, &lines, colour]);
}
