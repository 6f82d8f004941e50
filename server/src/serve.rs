//! The whole server, from its configuration to its last session: binds, loads, accepts, drains.

mod closing_plan;
mod drain;
mod supervision;
mod urls;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use self::supervision::Supervision;
use self::urls::Urls;
use crate::admin::Admin;
use crate::admin::socket::{AdminListener, AdminSocketError};
use crate::auth;
use crate::border::watchdog;
use crate::config::document_root::{self, NoPages};
use crate::config::{Config, Endpoint};
use crate::connection::admission::Admission;
use crate::connection::authentication::Authenticator;
use crate::connection::listener::Listeners;
use crate::connection::listener::binding::ListenError;
use crate::connection::overlay::Overlay;
use crate::connection::refusal_log::RefusalLog;
use crate::connection::server::Server;
use crate::connection::stopping::Stopping;
use crate::http::target::encode_path;
use crate::last_resort;
use crate::reload::{Control, Relisten, Reread, Rereading, StartError};
use crate::runtime::memory;
use crate::runtime::wakes;
use crate::sessions::mailbox::Dismissal;
use crate::shared::Shared;
use crate::transport::certificates::TlsFault;
use crate::transport::settings::TlsSettings;

/// A server that listens and has loaded its handlers, and accepts no connection yet.
pub struct Serving {
    listeners: Arc<Listeners>,
    server: Arc<Server>,
    shared: Arc<Shared>,
    control: Arc<Control>,
    admin_listener: Option<AdminListener>,
    stop: watch::Sender<bool>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server cannot listen on an address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The handlers directory cannot be served.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The document root of the configuration is no directory that can be read.
    #[error(transparent)]
    Pages(#[from] NoPages),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The admin socket of the configuration cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminSocketError),
    /// The system has no thread left.
    #[error("cannot start: {0}")]
    Thread(std::io::Error),
}

impl Serving {
    /// Binds every address and loads every handler. `reread` reads the configuration again when its file has
    /// changed. `overlay`, for `wshd dev`, is what pages are told.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, or the handlers directory or the document root is not there. A handler that cannot
    /// be loaded is refused in the log and fails nothing.
    pub fn start(
        config: Config,
        reread: Reread,
        overlay: Option<Arc<Overlay>>,
    ) -> Result<Serving, ServeError> {
        match &config.file {
            Some(file) => info!(file = %file.display(), "configuration read"),
            None => info!("no configuration file, the defaults hold"),
        }
        document_root::check(&config)?;
        for remark in config.tls.remarks(&config.listen) {
            warn!(error = %remark, "TLS may not be what is meant");
        }
        if config.auth.is_some() {
            auth::tell(config.auth.as_deref());
        }
        // A busy port is an error before any handler runs.
        let listeners = Arc::new(Listeners::open(&config)?);
        let admin_listener = AdminListener::bind(&config)?;
        let tls = TlsSettings::read(&config)?;
        tls.tell();
        let connections_max = config.limits.connections_max;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let shared = Shared::new(config.clone());
        shared.descriptors.tell_if_short(connections_max);
        // This must come before any code of a plugin runs.
        last_resort::watch().map_err(ServeError::Thread)?;
        let rereading = Rereading {
            reread,
            relisten: relisten(listeners.clone(), tls.clone()),
        };
        let starting = Supervision::of_start();
        let control = Control::start(config.clone(), shared.clone(), tls.clone(), rereading)?;
        drop(starting);
        let (stop, stopping) = Stopping::new();
        let server = Server {
            router: control.router(),
            node: shared.node.clone(),
            sessions: shared.sessions.clone(),
            meters: shared.meters.clone(),
            config,
            tls,
            admission: Admission::new(shared.descriptors.clone(), shared.meters.clone()),
            readiness: shared.readiness.clone(),
            authenticator: Arc::new(Authenticator::new()),
            refusals: RefusalLog::new(shared.meters.clone()),
            is_loopback_only: listeners.is_loopback_only(),
            overlay,
            stopping,
        };
        Ok(Serving {
            listeners,
            server: Arc::new(server),
            shared,
            control: Arc::new(control),
            admin_listener,
            stop,
        })
    }

    /// The port that answers `localhost`; 0 if the server listens on Unix sockets only.
    pub fn port(&self) -> u16 {
        let endpoints = self.listeners.endpoints();
        let mut addresses = endpoints.iter().filter_map(Endpoint::address);
        addresses.next().map_or(0, |address| address.port())
    }

    /// Whether that port speaks TLS.
    pub fn is_tls(&self) -> bool {
        let endpoints = self.listeners.endpoints();
        let first = endpoints.iter().find(|it| it.address().is_some());
        first.is_some_and(Endpoint::is_tls)
    }

    /// Whether pages are served: those of the document root, or those that are part of the program.
    pub fn has_pages(&self) -> bool {
        let config = self.server.config.load();
        config.document_root.is_some() || config.has_built_in_pages()
    }

    /// The control over the road of a change.
    pub fn control(&self) -> Arc<Control> {
        self.control.clone()
    }

    /// A function that says how long a stop may take in all. It is called when the stop begins.
    pub fn stop_limit(&self) -> impl Fn() -> Duration + Send + use<> {
        let server = self.server.clone();
        move || {
            let limits = &server.config.load().limits;
            Duration::from_millis(limits.stop_delay_ms + limits.stop_timeout_ms) + STOP_REST
        }
    }

    /// Accepts connections until `stop` ends, and for `stop_delay_ms` more. Then closes every session with 1001 and waits
    /// for all of them, for a bounded time.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let workers = watchdog::start(tokio::runtime::Handle::current());
        wakes::start(&tokio::runtime::Handle::current());
        let server = self.server.clone();
        let counted = server.clone();
        let runtime = tokio::runtime::Handle::current();
        memory::start(runtime, workers, move || counted.admission.taken());
        let shared = self.shared.clone();
        tokio::spawn(async move { shared.timer_wheel.run(&shared.sessions).await });
        let sessions = self.shared.sessions.clone();
        tokio::spawn(async move { sessions.run_alarms().await });
        let (alive, mut ended) = mpsc::channel(1);
        if let Some(listener) = self.admin_listener.take() {
            let admin = Admin::new(
                self.server.clone(),
                self.shared.clone(),
                self.control.clone(),
                self.listeners.clone(),
                Some(listener.path().to_owned()),
            );
            // It is there until the end, so that an operator can see a stop.
            tokio::spawn(listener.run(admin));
        }
        let urls = Urls::of(self.listeners.endpoints().iter());
        let has_pages = self.has_pages();
        self.listeners.begin(self.server.clone(), alive);
        self.shared.readiness.begin_serving();
        let router = self.server.router.clone();
        let _supervision = Supervision::of_life(self.shared.clone(), router);
        for handler in self.server.router.names() {
            let path = encode_path(&format!("/{handler}"));
            info!(%handler, url = %format_args!("{}{path}", urls.sessions), "handler answers");
        }
        if has_pages {
            info!(url = %format_args!("{}/", urls.pages), "pages");
        }

        stop.await;
        self.shared.readiness.begin_draining();
        let delay_ms = server.config.load().limits.stop_delay_ms;
        if delay_ms > 0 {
            info!(
                delay_ms,
                "not ready any more, accepting until `stop_delay_ms` is over"
            );
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        self.stop.send_replace(true);
        // A client that is told to leave may connect again at once, and must find no listener then.
        let _ = tokio::time::timeout(LISTENERS_END, self.listeners.end()).await;
        drain::drain(Dismissal::STOPPING, &self.shared, &server, &mut ended).await;
        // This blocks while plugins shut down. The runtime has nothing else to do.
        if !self.control.stop() {
            warn!("the thread that loads handlers does not end, leaving without it");
        }
    }
}

/// Has the server listen as a configuration says.
fn relisten(listeners: Arc<Listeners>, tls: Arc<TlsSettings>) -> Relisten {
    Box::new(move |config| {
        let speaks_tls = config.listen.iter().any(Endpoint::is_tls);
        if speaks_tls && tls.current().is_none() {
            // The first certificates come with the first address that needs them.
            let renewal = tls.renew(&config.tls);
            if let Some(error) = renewal.faults.first() {
                error!(%error, "the addresses stay as they were");
                return;
            }
        }
        match listeners.apply(config) {
            Ok(_) => tls.set_has_listener(listeners.endpoints().iter().any(Endpoint::is_tls)),
            Err(error) => error!(
                %error,
                "the addresses stay as they were, until the configuration is read again"
            ),
        }
    })
}

/// What a stop may take besides the time for sessions: for plugins, for the log, and some to spare.
const STOP_REST: Duration = Duration::from_secs(10);
/// How long the listeners may take to close.
const LISTENERS_END: Duration = Duration::from_millis(500);
