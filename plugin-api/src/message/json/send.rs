//! Sending JSON: by every kind of connection, by handle and by topic.

use serde_core::Serialize;

use super::{with_text, write};
use crate::{
    error::Refused,
    handle::{self, Handle},
    styles::{
        asynchronous::{conn::AsyncConn, send::Sent},
        blocking::conn::BlockingConn,
        events::conn::Conn,
    },
};

impl Conn {
    /// Sends a value as JSON, in a text message. Answers how many bytes are [buffered](Self::buffered), this message
    /// included.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn on_message(conn: &mut Conn) -> Result {
    /// conn.send_json(&("seen", 3))?; // ["seen",3]
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the value cannot be written as JSON, such as a map whose keys are no strings; the log has the
    /// reason. Otherwise those of [`send`](Self::send).
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<u64, Refused> {
        with_text(value, |text| self.send(text))
    }

    /// Sends a value as JSON, in a text message, to every subscriber of a topic, this session included if it is one.
    /// Answers how many subscribers this server has, as last known.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn on_message(conn: &mut Conn) -> Result {
    /// conn.publish_json("weather", &("temperature", 21.5))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`send_json`](Self::send_json) and of [`publish`](crate::publish).
    pub fn publish_json<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        value: &T,
    ) -> Result<u64, Refused> {
        with_text(value, |text| self.publish(topic, text))
    }
}

impl<S> AsyncConn<S> {
    /// Sends a value as JSON, in a text message. The answer is to be awaited, like that of [`send`](Self::send).
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// The answer is [`Refused::Invalid`] if the value cannot be written as JSON, such as a map whose keys are no strings.
    /// The log has the reason.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// async fn count(conn: &mut AsyncConn) -> Result {
    ///     let mut seen = 0;
    ///     while conn.recv().await.is_some() {
    ///         seen += 1;
    ///         conn.send_json(&("seen", seen)).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async count);
    /// ```
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Sent<'_, String> {
        match write(value) {
            Ok(text) => self.send(text),
            Err(refused) => Sent::told(self.session(), &self.channel, Err(refused)),
        }
    }

    /// Sends a value as JSON, in a text message, to every subscriber of a topic, this session included if it is one.
    /// Answers how many subscribers this server has, as last known.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # async fn count(conn: &mut AsyncConn) -> Result {
    /// conn.publish_json("weather", &("temperature", 21.5))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Conn::publish_json`].
    pub fn publish_json<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        value: &T,
    ) -> Result<u64, Refused> {
        with_text(value, |text| self.publish(topic, text))
    }
}

impl BlockingConn {
    /// Sends a value as JSON, in a text message. The call waits like [`send`](Self::send).
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// fn count(conn: BlockingConn) -> Result {
    ///     for (seen, _message) in conn.enumerate() {
    ///         conn.send_json(&("seen", seen + 1))?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(blocking count);
    /// ```
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the value cannot be written as JSON, such as a map whose keys are no strings; the log has the
    /// reason. Otherwise those of [`send`](Self::send).
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Refused> {
        self.send(write(value)?)
    }

    /// Sends a value as JSON, in a text message, to every subscriber of a topic, this session included if it is one.
    /// Answers how many subscribers this server has, as last known.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn count(conn: BlockingConn) -> Result {
    /// conn.publish_json("weather", &("temperature", 21.5))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Conn::publish_json`].
    pub fn publish_json<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        value: &T,
    ) -> Result<u64, Refused> {
        with_text(value, |text| self.publish(topic, text))
    }
}

impl crate::test::Client {
    /// Sends a value as JSON, in a text message. The message is lost if the session is over.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # #[derive(Default)]
    /// # struct Adder;
    /// impl Session for Adder {
    ///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
    ///         conn.send_json(&message.json::<Vec<i64>>()?.iter().sum::<i64>())?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut client = wsh::test::connect(wsh::descriptor!(Adder));
    /// client.send_json(&[1, 2, 39]);
    /// assert_eq!(client.receive().unwrap().json::<i64>().unwrap(), 42);
    /// ```
    ///
    /// # Panics
    /// The value cannot be written as JSON.
    pub fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) {
        match serde_json::to_string(value) {
            Ok(text) => self.send(text),
            Err(error) => panic!("the value cannot be sent as JSON: {error}"),
        }
    }
}

impl Handle {
    /// Sends a value as JSON, in a text message, which leaves between two callbacks of the session. Answers how many bytes
    /// wait for the peer, as last known.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn on_message(conn: &Conn) -> Result {
    /// let handle = conn.handle();
    /// wsh::spawn(move |_| {
    ///     let _ = handle.send_json(&("worked out", 42));
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the value cannot be written as JSON; the log has the reason. Otherwise those of
    /// [`send`](Self::send).
    pub fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<u64, Refused> {
        with_text(value, |text| self.send(text))
    }
}

/// Sends a value as JSON, in a text message, to every subscriber of a topic of this handler. Any thread may call it.
/// Answers how many subscribers this server has, as last known.
///
/// Needs the feature `serde`, which is on by default.
///
/// ```
/// # fn feed(temperature: f64) -> wsh::Result {
/// wsh::publish_json("weather", &("temperature", temperature))?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Refused::Invalid`]: the value cannot be written as JSON, such as a map whose keys are no strings; the log has the
/// reason. Otherwise those of [`publish`](crate::publish).
pub fn publish_json<T: Serialize + ?Sized>(topic: &str, value: &T) -> Result<u64, Refused> {
    with_text(value, |text| handle::publish(topic, text))
}
