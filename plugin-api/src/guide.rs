//! The pages of the guide beside the crate's own page.

#[doc = include_str!("guide/programs.md")]
pub mod programs {}

#[doc = include_str!("guide/state.md")]
pub mod state {}

#[doc = include_str!("guide/clients.md")]
#[doc = "```standalone_crate"]
#[doc = include_str!("guide/lookup.rs")]
#[doc = "#"]
#[doc = "# fn main() {"]
#[doc = "#     let config = r#\"{\"upstream\": \"127.0.0.1:9\"}\"#;"]
#[doc = "#     let server = wsh::test::load(&WSH_HANDLER, config).unwrap();"]
#[doc = "#     let mut client = server.connect();"]
#[doc = "#     client.send(\"/tea\");"]
#[doc = "#     let answer = client.receive_within(std::time::Duration::from_secs(10)).unwrap();"]
#[doc = "#     assert!(answer.to_string().starts_with(\"no answer: \"), \"{answer}\");"]
#[doc = "# }"]
#[doc = "```"]
#[doc = include_str!("guide/clients_end.md")]
pub mod clients {}

// What the pages link to.
#[cfg(doc)]
use crate::{
    AsyncConn, Envelope, Handle, Handler, Position, Presence, PresenceChange, Refused, Request,
    Session, Shared, Start, Store,
};
