//! The service manager that has started the process, as systemd does, and what it is told (sd_notify(3)).
//!
//! It gives the process the address of a datagram socket. Each datagram has lines such as `READY=1`.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Something that a service manager can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The start, or a reload, is over.
    Ready,
    /// A reload begins. A manager that asked for it compares the time with that of its request.
    Reloading { monotonic: Duration },
    /// The process is about to end.
    Stopping,
    /// What the process does, for people.
    Status(String),
    /// The process does what it is there for.
    Watchdog,
    /// The start or the stop takes so much longer, from now on.
    ExtendTimeout(Duration),
    /// Another process is the one to watch from now on.
    MainPid(u32),
}

/// The way to the service manager.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    // Opened once, so that it can be told of life where no descriptor is free.
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

/// The service manager that waits for word of this process; `None` where there is none.
pub(crate) fn service_manager() -> Option<&'static ServiceManager> {
    let found = MANAGER.get_or_init(|| {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let watchdog = watchdog_of(
            std::env::var("WATCHDOG_USEC").ok().as_deref(),
            std::env::var("WATCHDOG_PID").ok().as_deref(),
            std::process::id(),
        );
        match ServiceManager::at(&name, watchdog) {
            Ok(manager) => Some(manager),
            Err(error) => {
                warn!(socket = %name.display(), %error, "cannot tell the service manager anything");
                None
            }
        }
    });
    found.as_ref()
}

impl ServiceManager {
    /// The manager whose socket has this name. `@` begins an abstract one.
    fn at(name: &OsStr, watchdog: Option<Duration>) -> io::Result<ServiceManager> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(ServiceManager {
            socket,
            address,
            watchdog,
        })
    }

    /// How often at least it wants to hear of life.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells all of this in one datagram.
    pub(crate) fn tell(&self, notices: &[Notice]) {
        if notices.is_empty() {
            return;
        }
        let lines: String = notices.iter().map(|notice| format!("{notice}\n")).collect();
        // Not connected: a manager that starts itself anew makes another socket of this name. While there is none, the
        // server goes on.
        let _ = self.socket.send_to_addr(lines.as_bytes(), &self.address);
    }
}

impl Notice {
    /// The beginning of a reload, now.
    pub(crate) fn reloading_now() -> Notice {
        let now = clock_gettime(ClockId::Monotonic);
        // It does not go below 0.
        let monotonic = Duration::try_from(now).unwrap_or_default();
        Notice::Reloading { monotonic }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Ready => f.write_str("READY=1"),
            Notice::Reloading { monotonic } => {
                write!(f, "RELOADING=1\nMONOTONIC_USEC={}", monotonic.as_micros())
            }
            Notice::Stopping => f.write_str("STOPPING=1"),
            Notice::Status(text) => write!(f, "STATUS={}", text.replace(char::is_control, " ")),
            Notice::Watchdog => f.write_str("WATCHDOG=1"),
            Notice::ExtendTimeout(time) => write!(f, "EXTEND_TIMEOUT_USEC={}", time.as_micros()),
            Notice::MainPid(pid) => write!(f, "MAINPID={pid}"),
        }
    }
}

/// What `WATCHDOG_USEC` and `WATCHDOG_PID` ask of the process `own`. They may be meant for another one, which has
/// started this one.
fn watchdog_of(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_other = pid.is_some_and(|pid| pid.parse() != Ok(own));
    let usec = usec?.parse().ok().filter(|usec| *usec > 0 && !is_other)?;
    Some(Duration::from_micros(usec))
}

// Global, because the variables are those of the process.
static MANAGER: OnceLock<Option<ServiceManager>> = OnceLock::new();

/// A manager that takes nothing holds the server up for so long at most.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notice_is_written_as_the_manual_of_sd_notify_says() {
        let micros = Duration::from_micros;
        for (notice, expected) in [
            (Notice::Ready, "READY=1"),
            (
                Notice::Reloading {
                    monotonic: micros(17),
                },
                "RELOADING=1\nMONOTONIC_USEC=17",
            ),
            (Notice::Stopping, "STOPPING=1"),
            (
                Notice::Status("ready:\nMAINPID=1".to_owned()),
                "STATUS=ready: MAINPID=1",
            ),
            (Notice::Watchdog, "WATCHDOG=1"),
            (
                Notice::ExtendTimeout(Duration::from_secs(15)),
                "EXTEND_TIMEOUT_USEC=15000000",
            ),
            (Notice::MainPid(7), "MAINPID=7"),
        ] {
            assert_eq!(notice.to_string(), expected);
        }
    }

    #[test]
    fn a_socket_may_have_an_abstract_name_and_may_be_made_anew() {
        let name = format!("wshd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let inbox = UnixDatagram::bind_addr(&address).unwrap();
        let manager = ServiceManager::at(OsStr::new(&format!("@{name}")), None).unwrap();
        let heard = |inbox: &UnixDatagram| {
            let mut buffer = [0; 100];
            let length = inbox.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };

        manager.tell(&[Notice::Ready, Notice::Watchdog]);
        assert_eq!(heard(&inbox), "READY=1\nWATCHDOG=1\n");
        drop(inbox);
        manager.tell(&[Notice::Watchdog]);
        let inbox = UnixDatagram::bind_addr(&address).unwrap();
        manager.tell(&[Notice::Stopping]);

        assert_eq!(heard(&inbox), "STOPPING=1\n");
    }

    #[test]
    fn a_watchdog_that_is_meant_for_another_process_is_not_ours() {
        let second = Some(Duration::from_secs(1));
        for (usec, pid, expected) in [
            (Some("1000000"), None, second),
            (Some("1000000"), Some("7"), second),
            (Some("1000000"), Some("8"), None),
            (Some("1000000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(watchdog_of(usec, pid, 7), expected, "{usec:?} {pid:?}");
        }
    }
}
