//! Whole lists, which come in pages: the members of a topic, and the values under a prefix.

use std::time::Duration;

use wsh::{Refused, prelude::*};

use crate::texts;

/// More than one page of a list.
const MANY: usize = 1_030;

#[test]
fn an_async_function_gets_all_members_and_all_values_of_many_pages() {
    async fn list(conn: &mut AsyncConn) -> Result {
        conn.enter("lobby", "ann").await?;
        while let Some(prefix) = conn.recv().await {
            let members = conn.members("lobby").await?;
            let mut ids: Vec<u64> = members.iter().map(|member| member.id).collect();
            ids.sort_unstable();
            ids.dedup();
            let entries = conn.store().entries(&prefix.to_string()).await?;
            conn.send(format!("{} {}", ids.len(), entries.len()))
                .await?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async list));
    let mut clients: Vec<_> = (0..MANY).map(|_| server.connect()).collect();
    for at in 0..MANY {
        server.put(&format!("name/{at}"), "x");
    }
    server.put("other", "x");

    clients[0].send("name/");
    clients[1].send("");
    clients[2].send("none");

    let mut said = |at: usize| texts(&mut clients[at]);
    assert_eq!(said(0), [format!("{MANY} {MANY}")]);
    assert_eq!(said(1), [format!("{MANY} {}", MANY + 1)]);
    assert_eq!(said(2), [format!("{MANY} 0")]);
}

#[test]
fn a_blocking_function_and_a_thread_wait_for_all_pages() {
    fn list(conn: BlockingConn) -> Result {
        conn.enter("lobby", "ann")?;
        let by_handler = wsh::store().entries("").wait()?;
        let here = wsh::members("lobby").wait_timeout(Duration::from_secs(60))?;
        assert_eq!(here, conn.members("lobby")?);
        assert_eq!(by_handler, conn.store().entries("")?);
        conn.send(format!("{} {}", here[0].text(), by_handler.len()))?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking list));
    for at in 0..MANY {
        server.put(&format!("name/{at}"), "x");
    }

    let mut client = server.connect();

    assert_eq!(client.receive().unwrap(), format!("ann {MANY}").as_str());
}

#[test]
fn a_list_is_refused_where_one_of_its_pages_is() {
    async fn list(conn: &mut AsyncConn) -> Result {
        while let Some(topic) = conn.recv().await {
            let refused = conn.members(&topic.to_string()).await.unwrap_err();
            let on_this_thread = wsh::members("lobby").wait();
            assert_eq!(on_this_thread, Err(Refused::Misuse));
            conn.send(refused.to_string()).await?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async list));
    let mut client = server.connect();

    client.send("a\0b");
    server.set_engine_available(false);
    client.send("lobby");

    let said = texts(&mut client);
    assert_eq!(
        said[0],
        "`topic` contains NUL, wanted 1 to 255 bytes without NUL"
    );
    assert!(said[1].starts_with("what servers share cannot be reached"));
}

#[test]
fn a_conflict_says_the_version_that_the_value_has() {
    async fn change(conn: &mut AsyncConn) -> Result {
        let store = conn.store();
        let first = store.create("a", "x").await?;
        assert_eq!(
            store.create("a", "y").await,
            Err(Refused::Conflict { version: first })
        );
        let second = store.put_if("a", "y", first).await?;
        let refused = store.delete_if("a", first).await;
        assert_eq!(refused, Err(Refused::Conflict { version: second }));
        let refused = store.put_if("none", "x", first).await;
        assert_eq!(refused, Err(Refused::Conflict { version: 0 }));
        conn.send(format!("{}", refused.unwrap_err())).await?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async change));

    assert_eq!(
        client.receive().unwrap(),
        "there is no value, so none of the version that was named; nothing was done"
    );
}
