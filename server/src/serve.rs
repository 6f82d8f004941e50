//! The whole server, from its configuration to its last session: binds, loads, accepts, drains.

mod closing_plan;
mod drain;
mod memory_limit;
mod run_as;
mod supervision;
pub mod upgrade;
mod urls;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use self::supervision::Supervision;
pub use self::upgrade::Upgrade;
use self::upgrade::{Predecessor, Program};
use self::urls::Urls;
use crate::admin::port::AdminPort;
use crate::admin::socket::{AdminListener, AdminSocketError};
use crate::admin::upgrade::BeginUpgrade;
use crate::admin::{Admin, network};
use crate::auth;
use crate::border::watchdog;
use crate::config::document_root::{self, NoPages};
use crate::config::{AdminSocket, Config, Endpoint};
use crate::connection::admission::Admission;
use crate::connection::authentication::Authenticator;
use crate::connection::listener::binding::ListenError;
use crate::connection::listener::remaking;
use crate::connection::listener::socket_file::GiveFileError;
use crate::connection::listener::{ListenerEnd, Listeners};
use crate::connection::overlay::Overlay;
use crate::connection::refusal_log::RefusalLog;
use crate::connection::server::Server;
use crate::connection::stopping::Stopping;
use crate::http::target::encode_path;
use crate::last_resort;
use crate::logging::LogFileError;
use crate::process::identity::{Identity, IdentityError};
use crate::process::passed_sockets::PassedSocket;
use crate::process::pid_file::{PidFile, PidFileError, PidFileOf};
use crate::reload::{Control, Relisten, Reread, Rereading, StartError};
use crate::runtime::memory;
use crate::runtime::wakes;
use crate::sessions::mailbox::dismissal::Dismissal;
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
    admin_port: Arc<AdminPort>,
    upgrade: Option<Arc<Upgrade>>,
    pid_file: Option<PidFile>,
    stop: watch::Sender<bool>,
}

/// Why a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was told to.
    Told,
    /// Another process has taken its place, and has its sockets.
    Upgraded,
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
    /// The file with the number of the process cannot be written.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The server cannot become the user of the configuration.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file of a Unix socket cannot be given to that user.
    #[error(transparent)]
    GiveFile(GiveFileError),
    /// That user cannot write a log file of the configuration.
    #[error(transparent)]
    LogFile(#[from] LogFileError),
    /// The system has no thread left.
    #[error("cannot start: {0}")]
    Thread(std::io::Error),
}

impl Serving {
    /// Binds every address, but for the sockets that were `passed`, and loads every handler. `reread` reads the
    /// configuration again when its file has changed. `overlay`, for `wshd dev`, is what pages are told. With
    /// `takes_over`, another server runs until [`take_over`](Self::take_over), which is to follow.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, or the handlers directory or the document root is not there. A handler that cannot
    /// be loaded is refused in the log and fails nothing.
    pub fn start(
        config: Config,
        reread: Reread,
        overlay: Option<Arc<Overlay>>,
        mut passed: Vec<PassedSocket>,
        takes_over: bool,
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
        let admin_port = Arc::new(AdminPort::take_from(&mut passed));
        // A busy port is an error before any handler runs.
        let listeners = Arc::new(Listeners::open(&config, passed)?);
        // A path that the server chooses depends on its user.
        let is_chosen = config.admin_socket == AdminSocket::Automatic;
        let mut admin_listener = match is_chosen {
            true => None,
            false => AdminListener::bind(&config, takes_over)?,
        };
        let tls = TlsSettings::read(&config)?;
        // Another process has it until this one takes over.
        let pid_file = config.pid_file.as_ref().filter(|_| !takes_over);
        let pid_file = pid_file.map(|path| PidFile::write(path, PidFileOf::New));
        let pid_file = pid_file.transpose()?;
        // What needs root is done, and no code of a plugin has run.
        if overlay.is_none() {
            match Identity::wanted(config.user.as_deref(), config.group.as_deref())? {
                Some(identity) => {
                    run_as::begin(&identity, &config, &listeners, admin_listener.as_ref())?;
                }
                None => run_as::tell_root(&config),
            }
        }
        if is_chosen {
            admin_listener = AdminListener::bind(&config, takes_over)?;
        }
        tls.set_has_listener(listeners.endpoints().iter().any(Endpoint::is_tls));
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
        // The manager listens to the server that runs until then.
        let starting = (!takes_over).then(Supervision::of_start);
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
            tls_handshakes: shared.tls_handshakes.clone(),
            admission: Admission::new(shared.descriptors.clone(), shared.meters.clone()),
            readiness: shared.readiness.clone(),
            overload: shared.overload.clone(),
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
            admin_port,
            upgrade: None,
            pid_file,
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

    /// The means to replace this server by `program` while it serves. `drain` has [`run`](Self::run) told of it.
    pub fn upgrade(
        &mut self,
        program: Program,
        drain: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Upgrade> {
        let config = self.server.config.clone();
        let router = self.server.router.clone();
        let (listeners, admin_port) = (self.listeners.clone(), self.admin_port.clone());
        let upgrade = Upgrade::new(program, listeners, admin_port, router, config, drain);
        self.upgrade = Some(upgrade.clone());
        upgrade
    }

    /// Takes the place of the server that has started this process, with its sockets and their files.
    pub fn take_over(&mut self, predecessor: Predecessor) {
        let names = self.server.router.names();
        let names = names.iter().map(|name| name.to_string());
        let made_meanwhile = predecessor.take_over(names);
        let config = self.server.config.load_full();
        self.listeners.take_over(made_meanwhile, &config);
        if let Some(listener) = &mut self.admin_listener {
            listener.take_place();
        }
        let path = self.server.config.load().pid_file.clone();
        if let Some(path) = path {
            match PidFile::write(&path, PidFileOf::Successor) {
                Ok(file) => self.pid_file = Some(file),
                Err(error) => warn!(%error, "`pid_file` does not have the number of this process"),
            }
        }
        // Now an operator finds this process.
        drop(predecessor);
    }

    /// Shuts the handlers down of a server that is not to serve, and removes the copies of their files.
    pub fn give_up(self) {
        self.control.stop();
    }

    /// Accepts connections until `stop` ends, and for `stop_delay_ms` more. Then closes every session with 1001 and waits
    /// for all of them, for a bounded time. With another process in its place, it accepts nothing more at once, serves
    /// the requests that it has, and closes sessions with 1012.
    pub async fn run(mut self, stop: impl Future<Output = StopReason>) {
        let workers = watchdog::start(tokio::runtime::Handle::current());
        wakes::start(&tokio::runtime::Handle::current());
        let server = self.server.clone();
        let counted = server.clone();
        let runtime = tokio::runtime::Handle::current();
        memory::start(runtime.clone(), workers, move || counted.admission.taken());
        let give_back = move || memory::give_back(&runtime, workers);
        memory_limit::start(self.server.clone(), self.shared.clone(), give_back);
        let shared = self.shared.clone();
        tokio::spawn(async move { shared.timer_wheel.run(&shared.sessions).await });
        self.shared.run_pacers(workers);
        let sessions = self.shared.sessions.clone();
        tokio::spawn(async move { sessions.run_alarms().await });
        let (alive, mut ended) = mpsc::channel(1);
        let admin_listener = self.admin_listener.take();
        let begin_upgrade = self
            .upgrade
            .take()
            .map(|upgrade| -> BeginUpgrade { Box::new(move |asker| upgrade.ask(Some(asker))) });
        let admin = Admin::new(
            self.server.clone(),
            self.shared.clone(),
            self.control.clone(),
            self.listeners.clone(),
            admin_listener.as_ref().map(|it| it.path().to_owned()),
            self.admin_port.clone(),
            begin_upgrade,
        );
        // Both are there until the end, so that an operator can see a stop.
        tokio::spawn(network::run(admin.clone()));
        let (end_admin, admin_ends) = oneshot::channel();
        let admin_socket = admin_listener.map(|it| tokio::spawn(it.run(admin, admin_ends)));
        let urls = Urls::of(self.listeners.endpoints().iter());
        let has_pages = self.has_pages();
        let connections = alive.downgrade();
        // First: a client that has read in the log that the server listens may ask at once whether it is ready.
        self.shared.readiness.begin_serving();
        self.listeners.begin(self.server.clone(), alive);
        tokio::spawn(remaking::run(self.listeners.clone()));
        let router = self.server.router.clone();
        let supervision = Supervision::of_life(self.shared.clone(), router);
        for handler in self.server.router.names() {
            let path = encode_path(&format!("/{handler}"));
            info!(%handler, url = %format_args!("{}{path}", urls.sessions), "handler answers");
        }
        if has_pages {
            info!(url = %format_args!("{}/", urls.pages), "pages");
        }

        let reason = stop.await;
        match reason {
            StopReason::Told => supervision.tell_stop(),
            // It is the other process that the manager listens to.
            StopReason::Upgraded => drop(supervision),
        }
        self.shared.readiness.begin_draining();
        match reason {
            StopReason::Told => {
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
                // Those that wait to be accepted are answered, for the end of their socket would reset them.
                let end = self.listeners.end(ListenerEnd::WhenEmpty);
                let _ = tokio::time::timeout(LISTENERS_END, end).await;
                drain::drain(Dismissal::STOPPING, &self.shared, &server, &mut ended).await;
            }
            StopReason::Upgraded => {
                let _ =
                    tokio::time::timeout(LISTENERS_END, self.listeners.end(ListenerEnd::AtOnce))
                        .await;
                // Requests that this process has accepted have no other one to go to.
                let answered = async {
                    drain::answer_all(&connections, &self.shared, &server).await;
                    self.stop.send_replace(true);
                };
                let drained =
                    drain::drain(Dismissal::RESTARTING, &self.shared, &server, &mut ended);
                tokio::join!(answered, drained);
            }
        }
        // This blocks while plugins shut down. The runtime has nothing else to do.
        if !self.control.stop() {
            warn!("the thread that loads handlers does not end, leaving without it");
        }
        // The process may leave before the runtime drops its tasks, and the file of the socket would stay.
        let _ = end_admin.send(());
        if let Some(socket) = admin_socket {
            let _ = socket.await;
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
                return Some(error.to_string());
            }
        }
        match listeners.apply(config) {
            Ok(()) => {
                tls.set_has_listener(listeners.endpoints().iter().any(Endpoint::is_tls));
                None
            }
            Err(error) => {
                error!(
                    %error,
                    "the addresses stay as they were, until the configuration is read again"
                );
                Some(error.to_string())
            }
        }
    })
}

/// What a stop may take besides the time for sessions: for plugins, for the log, and some to spare.
const STOP_REST: Duration = Duration::from_secs(10);
/// How long the listeners may take to close.
const LISTENERS_END: Duration = Duration::from_millis(500);
