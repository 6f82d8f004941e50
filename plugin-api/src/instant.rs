//! Moments of the host's clock, for waits that end at a deadline.

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

use crate::border::runtime;

/// A moment of the host's clock: the deadline of [`AsyncConn::recv_until`](crate::AsyncConn::recv_until) and
/// [`BlockingConn::recv_until`](crate::BlockingConn::recv_until).
///
/// It is like `std::time::Instant`, but by the clock of the host. In a [`test`](crate::test) time passes when the test
/// lets it, except for blocking functions, whose threads wait in real time. A moment has a meaning in one process only, so
/// it does not belong in a session's state.
///
/// ```
/// use std::time::Duration;
/// use wsh::Instant;
///
/// let began = Instant::now();
/// let deadline = began + Duration::from_secs(1);
/// assert!(deadline > began);
/// assert_eq!(deadline - began, Duration::from_secs(1));
/// assert_eq!(began - deadline, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(Duration);

impl Instant {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        Instant(runtime::clock())
    }

    /// How much time has passed since this moment; zero if it is in the future.
    ///
    /// ```
    /// # use wsh::{Instant, prelude::*};
    /// # fn on_message(conn: &mut Conn, began: Instant) -> Result {
    /// let spoke = format!("{} s after its first word", began.elapsed().as_secs());
    /// conn.send(spoke)?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Instant::now() - *self
    }

    /// How much time is left until this moment; zero if it has passed.
    ///
    /// ```
    /// # use wsh::{Instant, prelude::*};
    /// # fn on_message(conn: &mut Conn, ends: Instant) -> Result {
    /// conn.timer(1, ends.left())?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn left(&self) -> Duration {
        *self - Instant::now()
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// The time between two moments; zero if the second one is later.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
