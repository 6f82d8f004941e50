//! What the border costs a message: a real plugin's table and this server's, against the same work
//! done without them. For `tests/bench` only.

use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};
use wsh::abi;

use super::calls::{Instance, Outcome};
use super::conn::Conn;
use super::context::Context;
use super::inspect::inspect;
use super::library::{Plugin, Progress, Source};
use super::request::{Particulars, Request};
use super::stage::Stage;
use super::watchdog::{Callback, watch};
use crate::config::Config;
use crate::controls::{Controls, Ending};
use crate::head::Head;
use crate::mailbox::Registration;
use crate::shared::Shared;
use crate::wire::Wire;

/// An open session of an echo handler, and its peer.
pub struct Hop {
    // Dropped in this order: `destroy` before what it may still look at.
    instance: Instance,
    conn: Box<Conn>,
    peer: TcpStream,
    _registration: Registration,
    _runtime: Runtime,
}

impl Hop {
    /// Loads a plugin whose sessions echo, and opens one.
    ///
    /// # Errors
    ///
    /// It cannot be loaded, or refuses the session.
    pub fn load(plugin: &Path) -> Result<Hop, Box<dyn Error + Send + Sync>> {
        let config = Config::default();
        let shared = Shared::new(config.log_level, &config.limits);
        let context = Context::leak("echo", 1, &shared, 1);
        let bytes = std::fs::read(plugin)?;
        let source = Source {
            bytes: &bytes,
            path: plugin,
            about: &inspect(&bytes).map_err(|refusal| refusal.to_string())?,
            config_json: "{}",
            is_check: false,
        };
        let stage = Stage::new(None, false)?;
        let loaded = Plugin::load(&source, context, &stage, &Progress::new());
        stage.remove();
        let loaded = loaded.map_err(|refusal| refusal.to_string())?;

        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let peer = TcpStream::connect(listener.local_addr()?)?;
        let (socket, _) = listener.accept()?;
        socket.set_nonblocking(true)?;
        let entered = runtime.enter();
        let wire = Wire::new(tokio::net::TcpStream::from_std(socket)?, Vec::new());
        drop(entered);

        let limits = Arc::new(config.handler("echo").session.clone());
        let registration =
            (shared.sessions).register(&context.handler, 1, limits.outbound_bytes_max);
        let mailbox = registration.mailbox().clone();
        let request = Request::new(Particulars {
            id: mailbox.id,
            head: Head::parse(HEAD.into(), 1)?,
            path: "/echo".to_owned(),
            query: Vec::new(),
            host: "localhost".to_owned(),
            origin: String::new(),
            remote_addr: String::new(),
            protocols: Vec::new(),
            params: Vec::new(),
        });
        let controls = Controls::new(wire, limits, mailbox);
        let mut conn = Conn::new(request.id(), "".into(), context, controls);
        let (instance, _) = loaded.open(&mut conn, &request, loaded.attempt());
        Ok(Hop {
            instance: instance.ok_or("the handler refuses the session")?,
            conn,
            peer,
            _registration: registration,
            _runtime: runtime,
        })
    }

    /// How long the plugin takes for so many messages: each a call of its `message`, which calls
    /// this server's `send`.
    pub fn through_the_table(&mut self, messages: u32, text: &str) -> Duration {
        let mut delivery = (self.instance.deliver(&mut self.conn)).expect("`message` is there");
        let began = Instant::now();
        for _ in 0..messages {
            let outcome = delivery.message(abi::TEXT, black_box(text.as_bytes()));
            assert_eq!(outcome, Outcome::Continue);
        }
        let took = began.elapsed();
        drop(delivery);
        self.leave(messages, text);
        took
    }

    /// How long the same takes if the handler is a function of this program.
    pub fn directly(&mut self, messages: u32, text: &str) -> Duration {
        let watched = watch(self.conn.context, Callback::Message);
        let controls = &mut self.conn.controls;
        // Which function it is nobody knows who compiles the loop, as with any handler.
        let on_message: fn(&mut Controls, u32, &[u8]) -> Outcome = black_box(echo);
        let began = Instant::now();
        for _ in 0..messages {
            watched.renew();
            let outcome = on_message(controls, abi::TEXT, black_box(text.as_bytes()));
            assert_eq!(outcome, Outcome::Continue);
        }
        let took = began.elapsed();
        drop(watched);
        self.leave(messages, text);
        took
    }

    /// The echoes go to the peer, which looks at them.
    fn leave(&mut self, messages: u32, text: &str) {
        self.conn.controls.wire.flush();
        let frame = [&[0x81, text.len() as u8], text.as_bytes()].concat();
        let mut received = vec![0; frame.len() * messages as usize];
        (self.peer.read_exact(&mut received)).expect("the socket has room for them");
        assert!(received.chunks(frame.len()).all(|echo| *echo == *frame));
    }
}

/// What `echo_wsh` does.
fn echo(controls: &mut Controls, kind: u32, payload: &[u8]) -> Outcome {
    // The SDK vouches for text, here as there.
    let trusted = if kind == abi::TEXT {
        abi::TRUSTED_UTF8
    } else {
        0
    };
    // GONE: it is closing.
    let _ = controls.send(kind | trusted, payload);
    if kind == abi::TEXT && payload == b"Goodbye" {
        let _ = controls.close(1000, "");
    }
    if controls.ending == Ending::No {
        Outcome::Continue
    } else {
        Outcome::Done
    }
}

const HEAD: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
