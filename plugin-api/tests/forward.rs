//! The feature `tracing`: a handler's `tracing` events are lines of the server's log.

use wsh::{abi, prelude::*};

#[derive(Default)]
struct Chatty;

impl Session for Chatty {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let _span = tracing::info_span!("a span", hidden = true).entered();
        tracing::info!(
            session = conn.id(),
            text = %message,
            quoted = ?message.as_text(),
            "heard {} bytes",
            message.as_bytes().len()
        );
        let refused = wsh::Refused::Gone;
        tracing::error!(target: "elsewhere", error = &refused as &dyn std::error::Error);
        tracing::trace!("very small");
        wsh::spawn(|_| tracing::warn!("from a thread")).unwrap();
        Ok(())
    }
}

fn lines(server: &wsh::test::Server) -> Vec<String> {
    let log = server.log().into_iter();
    log.map(|line| line.to_string()).collect()
}

#[test]
fn an_event_is_a_line_with_its_level_target_message_and_fields() {
    let server = wsh::test::serve(wsh::descriptor!(Chatty));
    let mut client = server.connect();

    client.send("hi");
    assert_eq!(client.receive(), None, "and its threads have ended");

    let wanted = [
        "INFO forward: heard 2 bytes session=1 text=hi quoted=Some(\"hi\")",
        "ERROR elsewhere:  error=the session is over, or this generation of the handler is",
        "TRACE forward: very small",
        "WARN forward: from a thread",
    ];
    assert_eq!(lines(&server), wanted);
}

#[test]
fn an_event_below_the_servers_level_is_not_formatted_and_the_level_may_change() {
    struct Costly;
    impl std::fmt::Display for Costly {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("nobody wanted this line");
        }
    }
    #[derive(Default)]
    struct Saver;
    impl Session for Saver {
        fn on_message(&mut self, _: &mut Conn, message: Message) -> Result {
            tracing::debug!(text = %message, "cheap");
            tracing::trace!(costly = %Costly, "never");
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Saver));
    let mut client = server.connect();

    server.set_log_level(abi::LOG_INFO);
    client.send("a");
    server.set_log_level(abi::LOG_DEBUG);
    client.send("b");
    server.set_log_level(abi::LOG_OFF);
    client.send("c");

    assert_eq!(lines(&server), ["DEBUG forward: cheap text=b"]);
}
