//! Threads that wait for answers: those of blocking functions, and those of `spawn`.

use std::time::Duration;

use wsh::{Refused, prelude::*};

use crate::{eventually, texts};

#[test]
fn a_blocking_function_gets_each_answer_as_a_value() {
    fn all(conn: BlockingConn) -> Result {
        while let Some(name) = conn.recv() {
            let joined = conn.subscribe_from("lobby", Start::last(9))?;
            let version = conn.enter("lobby", name.as_bytes())?;
            let position = conn.publish_acked("lobby", format!("{name} is here"))?;
            let behind = conn.history("lobby", Some(&position), 9)?;
            let here = conn.present("lobby", None, 9)?;
            let kept = conn.store().put("name", name.as_bytes())?;
            let by_handler = wsh::store().get("name").wait()?;
            assert_eq!(by_handler, conn.store().get("name")?);
            let entry = by_handler.map(|entry| entry.version);
            conn.leave("lobby")?;
            conn.send(format!(
                "{} {version} {} {} {kept} {entry:?}",
                joined.missed,
                behind.publications.len(),
                here.members.len(),
            ))?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking all));
    let mut client = server.connect();

    client.send("ann");

    assert_eq!(client.receive().unwrap(), "ann is here");
    assert_eq!(client.receive().unwrap(), "0 1 0 1 1 Some(1)");
    assert!(server.members("lobby").is_empty());
}

#[test]
fn the_end_of_its_session_ends_the_wait_of_a_blocking_function() {
    fn ask(conn: BlockingConn) -> Result {
        let answer = conn.store().get("a");
        wsh::info!("{answer:?}");
        let answer = conn.enter("lobby", "x");
        wsh::info!("{answer:?}");
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking ask));
    server.set_answer_delay(Duration::from_secs(1));
    let client = server.connect();

    drop(client);
    eventually("the thread has ended", || {
        server.advance(Duration::ZERO);
        server.threads() == 0
    });

    let said: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
    assert_eq!(said, ["Err(Gone)", "Err(Gone)"]);
}

#[test]
fn a_thread_of_spawn_waits_and_a_callback_does_not() {
    #[derive(Default)]
    struct Asker;
    impl Session for Asker {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            let here = wsh::store().get("motto").wait();
            conn.send(format!("{here:?}"))?;
            let handle = conn.handle();
            wsh::spawn(move |_| {
                let motto = wsh::store().get("motto").wait();
                let _ = handle.send(motto.unwrap().unwrap().text().into_owned());
                let position = wsh::publish_acked("news", "alas").wait();
                let page = wsh::history("news", None, 9).wait();
                let _ = handle.send(format!(
                    "{} {}",
                    position.is_ok(),
                    page.unwrap().publications.len()
                ));
                let _ = handle.send(format!(
                    "{:?}",
                    wsh::present("news", None, 9).wait().map(|it| it.version)
                ));
            })?;
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.put("motto", "alas");
    let mut client = server.connect();

    client.send("go");

    assert_eq!(client.receive().unwrap(), "Err(Misuse)");
    assert_eq!(client.receive().unwrap(), "alas");
    assert_eq!(client.receive().unwrap(), "true 1");
    assert_eq!(client.receive().unwrap(), "Ok(0)");
}

#[test]
fn a_wait_that_takes_too_long_is_unavailable_and_the_end_of_the_handler_is_gone() {
    struct Patient;
    impl Shared for Patient {
        fn new(_: Config) -> Result<Self> {
            Ok(Patient)
        }
        fn serving(&self, on: bool) -> Result {
            if on {
                wsh::spawn(|_| {
                    let short = wsh::store().get("a").wait_timeout(Duration::from_millis(1));
                    wsh::info!("{short:?}");
                    let long = wsh::store().get("a").wait();
                    wsh::info!("{long:?}");
                })?;
            }
            Ok(())
        }
    }
    async fn quiet(conn: &mut AsyncConn, _: &Patient) -> Result {
        while conn.recv().await.is_some() {}
        Ok(())
    }
    async fn newer(conn: &mut AsyncConn) -> Result {
        while conn.recv().await.is_some() {}
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async newer));
    server.set_answer_delay(Duration::from_secs(1));
    server
        .reload(wsh::descriptor!(async quiet, shared = Patient))
        .unwrap();
    eventually("the thread has given up its first wait", || {
        !server.log().is_empty()
    });
    // The generation that has the thread ends, with what it has asked.
    server.reload(wsh::descriptor!(async newer)).unwrap();
    eventually("the thread has ended", || server.threads() == 0);

    let said: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
    assert_eq!(said, ["Err(Unavailable)", "Err(Gone)"]);
}

#[test]
fn what_a_handler_asks_as_it_begins_to_serve_is_answered() {
    use std::sync::{Arc, Mutex};

    struct Warm(Arc<Mutex<Option<String>>>);
    impl Shared for Warm {
        fn new(_: Config) -> Result<Self> {
            Ok(Warm(Arc::default()))
        }
        fn serving(&self, on: bool) -> Result {
            if on {
                let motto = self.0.clone();
                wsh::spawn(move |_| {
                    let found = wsh::store().get("motto").wait().ok().flatten();
                    *motto.lock().unwrap() = found.map(|it| it.text().into_owned());
                })?;
            }
            Ok(())
        }
    }
    async fn tell(conn: &mut AsyncConn, warm: &Warm) -> Result {
        let motto = warm.0.lock().map_err(|_| "a thread has panicked")?.clone();
        conn.send(motto.unwrap_or_default()).await?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async tell, shared = Warm));
    server.put("motto", "alas");
    server
        .reload(wsh::descriptor!(async tell, shared = Warm))
        .unwrap();
    eventually("the thread has ended", || {
        server.advance(Duration::ZERO);
        server.threads() == 0
    });

    assert_eq!(texts(&mut server.connect()), ["alas"]);
}

#[test]
fn a_thread_that_belongs_to_no_handler_asks_nothing() {
    let answer = std::thread::spawn(|| wsh::store().get("a").wait()).join();
    assert_eq!(answer.unwrap(), Err(Refused::Misuse));
}

#[test]
fn the_number_that_means_any_version_at_the_border_is_no_version() {
    fn change(conn: BlockingConn) -> Result {
        let store = conn.store();
        store.put("motto", "carpe diem")?;
        for refused in [
            store.put_if("motto", "alas", u64::MAX),
            store.put_json_if("motto", &1, u64::MAX),
            store.delete_if("motto", u64::MAX),
            wsh::store().put_if("motto", "alas", u64::MAX).wait(),
        ] {
            let Err(Refused::Invalid(rule)) = refused else {
                return Err(format!("{refused:?}").into());
            };
            conn.send(format!("{rule}"))?;
        }
        conn.send(
            store
                .get("motto")?
                .map_or_else(String::new, |it| it.text().into()),
        )?;
        store.delete("motto")?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking change));
    let mut client = server.connect();

    for _ in 0..4 {
        assert_eq!(
            client.receive().unwrap(),
            "`version` is `u64::MAX`, which no value has, wanted the version of an answer, or 0 for no value"
        );
    }
    assert_eq!(client.receive().unwrap(), "carpe diem");
    assert_eq!(client.receive(), None);
    assert!(server.store().is_empty());
}
