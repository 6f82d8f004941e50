//! A wait of an opening handshake, which occupies no thread: it uses the host's `wake_after`.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::border::runtime::{self, Runtime};

/// A wait inside [`Handshake::later`](crate::Handshake::later); see
/// [`Request::sleep`](crate::Request::sleep).
///
/// ```
/// # use std::time::Duration;
/// # use wsh::prelude::*;
/// fn check(request: &Request, _: &mut Response) -> Result<Handshake> {
///     let pause = request.sleep(Duration::from_secs(2));
///     Ok(Handshake::later(async move {
///         pause.await;
///         Ok(Handshake::accept())
///     }))
/// }
/// # async fn quiet(_: &mut AsyncConn) -> Result { Ok(()) }
/// # let server = wsh::test::serve(wsh::descriptor!(async quiet, handshake = check));
/// # let mut opening = server.request("/").begin();
/// # assert!(opening.is_pending());
/// # server.advance(Duration::from_secs(2));
/// # assert!(!opening.is_pending());
/// ```
#[derive(Debug)]
#[must_use = "a wait does nothing unless it is awaited"]
pub struct Sleep {
    runtime: Option<&'static Runtime>,
    id: u64,
    /// When the wait ends, in milliseconds of the host's clock.
    until_ms: u64,
    alarm: Arc<Alarm>,
}

/// The one alarm of a handshake, which all its waits share.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// When the alarm rings, in milliseconds of the host's clock.
    at_ms: AtomicU64,
}

impl Default for Alarm {
    fn default() -> Self {
        Alarm {
            at_ms: AtomicU64::new(u64::MAX),
        }
    }
}

impl Alarm {
    /// A wait of the handshake `id` that begins now.
    pub(crate) fn sleep(self: Arc<Self>, id: u64, duration: Duration) -> Sleep {
        Sleep {
            runtime: runtime::current(),
            id,
            until_ms: now_ms().saturating_add(crate::styles::events::conn::whole_ms(duration)),
            alarm: self,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let now = now_ms();
        let Some(runtime) = self.runtime.filter(|_| now < self.until_ms) else {
            return Poll::Ready(());
        };
        // The earliest wait sets the alarm. When it has rung, every wait that goes on is polled and sets it again.
        let set = self.alarm.at_ms.load(Ordering::Relaxed);
        if set <= now || self.until_ms < set {
            self.alarm.at_ms.store(self.until_ms, Ordering::Relaxed);
            // GONE: the client has left, and the handshake is over.
            let _ = runtime.host.wake_after(self.id, self.until_ms - now);
        }
        Poll::Pending
    }
}

fn now_ms() -> u64 {
    u64::try_from(runtime::clock().as_millis()).unwrap_or(u64::MAX)
}
