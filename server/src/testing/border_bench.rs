//! What the border costs a message: the tables of a real plugin and of this server, against the work of both
//! without them. For `tests/bench` only.

use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::{self, Runtime};
use wsh::{Message, abi};

use crate::border::calls::{CallbackOutcome, SessionInstance};
use crate::border::handler_context::{HandlerContext, Rights};
use crate::border::host_conn::HostConn;
use crate::border::library::{LoadProgress, Plugin, PluginSource};
use crate::border::request_table::{RequestParts, RequestTable};
use crate::border::trial::Bounds;
use crate::border::watchdog::{Callback, watch};
use crate::config::{Config, Trial};
use crate::http::head::Head;
use crate::outbound::controls::Controls;
use crate::outbound::wire::Wire;
use crate::plugin::inspect::inspect;
use crate::plugin::stage::Stage;
use crate::sessions::cause::Cause;
use crate::sessions::registry::Registration;
use crate::shared::Shared;
use crate::transport::Transport;

/// An open session of an echo handler, and its peer.
pub struct BorderBench {
    // Fields are dropped in this order: `destroy` comes before what it may use.
    instance: SessionInstance,
    conn: Box<HostConn>,
    peer: TcpStream,
    _registration: Registration,
    _runtime: Runtime,
}

impl BorderBench {
    /// Loads a plugin whose sessions echo, and opens one.
    ///
    /// # Errors
    ///
    /// It cannot be loaded, or refuses the session.
    pub fn load(plugin: &Path) -> Result<BorderBench, Box<dyn Error + Send + Sync>> {
        let config = Config {
            // The bench builds the plugin itself, and has no process to try it in.
            trial: Trial::Never,
            ..Config::default()
        };
        let shared = Shared::new(Arc::new(ArcSwap::from_pointee(config.clone())));
        let rights = Rights::of(config.handler("echo"));
        let context = HandlerContext::leak("echo", 1, &shared, rights, None);
        let bytes = std::fs::read(plugin)?;
        let source = PluginSource {
            bytes: &bytes,
            hash: 0,
            path: plugin,
            about: &inspect(&bytes).map_err(|refusal| refusal.to_string())?,
            config_json: "{}",
            bounds: Bounds::of(&config, config.handler("echo")),
        };
        let stage = Stage::new(None, false)?;
        let loaded = Plugin::load(&source, context, &stage, &LoadProgress::new());
        stage.remove();
        let loaded = loaded.map_err(|refusal| refusal.to_string())?;

        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let peer = TcpStream::connect(listener.local_addr()?)?;
        let (socket, _) = listener.accept()?;
        socket.set_nonblocking(true)?;
        let entered = runtime.enter();
        let socket = tokio::net::TcpStream::from_std(socket)?;
        let wire = Wire::new(Transport::Plain(socket), Vec::new());
        drop(entered);

        let limits = Arc::new(config.handler("echo").session.clone());
        let registration = (shared.sessions).register(&context.handler, 1, limits.outbound());
        let mailbox = registration.mailbox().clone();
        let request = RequestTable::new(RequestParts {
            id: mailbox.id,
            head: Head::parse(HEAD.into(), 1)?,
            path: "/echo".to_owned(),
            query: Vec::new(),
            host: "localhost".to_owned(),
            origin: String::new(),
            remote_addr: String::new(),
            user: String::new(),
            client_addr: None,
            protocols: Vec::new(),
            params: Vec::new(),
            tls: None,
        });
        let controls = Controls::new(wire, limits, mailbox);
        let mut conn = HostConn::new(request.id(), String::new(), context, controls);
        let (instance, _) = loaded.open(&mut conn, &request, loaded.attempt(context));
        Ok(BorderBench {
            instance: instance.ok_or("the handler refuses the session")?,
            conn,
            peer,
            _registration: registration,
            _runtime: runtime,
        })
    }

    /// How long the plugin takes for some messages. Each is a call of its `message`, which calls this server's `send`.
    pub fn through_the_table(&mut self, messages: u32, payload: &[u8]) -> Duration {
        let mut delivery = (self.instance.deliver(&mut self.conn)).expect("`message` is there");
        let began = Instant::now();
        for _ in 0..messages {
            let outcome = delivery.message(abi::BINARY, payload);
            assert_eq!(outcome, CallbackOutcome::Continue);
        }
        let took = began.elapsed();
        drop(delivery);
        self.leave(messages, payload);
        took
    }

    /// How long a handler takes that is a function of this program, and calls `send` as another function of it.
    pub fn directly(&mut self, messages: u32, payload: &[u8]) -> Duration {
        self.call(echo::<false>, messages, payload)
    }

    /// How long a handler takes that is a function of this program, with `send` inlined into it.
    pub fn in_one(&mut self, messages: u32, payload: &[u8]) -> Duration {
        self.call(echo::<true>, messages, payload)
    }

    fn call(&mut self, handler: BuiltInHandler, messages: u32, payload: &[u8]) -> Duration {
        let watched = watch(self.conn.context, Callback::Message);
        let controls = &mut self.conn.controls;
        // The compiler must not know the function that the loop calls, as it does not for a plugin.
        let on_message = black_box(handler);
        let began = Instant::now();
        for _ in 0..messages {
            watched.renew();
            let outcome = on_message(controls, Message::Binary(payload));
            assert_eq!(outcome, CallbackOutcome::Continue);
        }
        let took = began.elapsed();
        drop(watched);
        self.leave(messages, payload);
        took
    }

    /// Sends the echoes to the peer, and checks them.
    fn leave(&mut self, messages: u32, payload: &[u8]) {
        self.conn.controls.wire.flush();
        let frame = [&[0x82, payload.len() as u8], payload].concat();
        let mut received = vec![0; frame.len() * messages as usize];
        (self.peer.read_exact(&mut received)).expect("the socket has room for them");
        assert!(received.chunks(frame.len()).all(|echo| *echo == *frame));
    }
}

/// A handler that is part of the program.
type BuiltInHandler = fn(&mut Controls, Message<'_>) -> CallbackOutcome;

/// What `echo_wsh` does with a message.
fn echo<const IN_ONE: bool>(controls: &mut Controls, message: Message<'_>) -> CallbackOutcome {
    let kind = match message {
        Message::Text(_) => abi::TEXT | abi::TRUSTED_UTF8,
        Message::Binary(_) => abi::BINARY,
    };
    // GONE is an answer when the session closes.
    let _ = if IN_ONE {
        controls.send(kind, message.as_bytes())
    } else {
        send(controls, kind, message.as_bytes())
    };
    if message == "Goodbye" {
        let _ = controls.close(1000, "", Cause::HandlerClosed);
    }
    if controls.may_send() {
        CallbackOutcome::Continue
    } else {
        CallbackOutcome::Done
    }
}

#[inline(never)]
fn send(controls: &mut Controls, kind: u32, payload: &[u8]) -> Result<u64, abi::Status> {
    controls.send(kind, payload)
}

const HEAD: &[u8] = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
