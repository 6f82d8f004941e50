//! The values that a handler keeps, by keys.

use std::time::Duration;

use crate::{
    abi::{self, Status, answer::ANY_VERSION},
    asks::{
        asker::{Asker, ListAsker, Page, Read},
        pages::PAGE_ITEMS_MAX,
        results::{self, Entries, Entry, Next},
    },
    border::answer::AnswerTable,
    error::rule::Rule,
};

/// The values that a handler keeps, each under a key of 1 to 255 bytes. They belong to the handler's name: they outlive
/// its sessions and its generations, and handlers of other names do not see them.
///
/// Each style has the functions below, and gets the answer in its own way:
///
/// | | by | `get` returns |
/// |---|---|---|
/// | events | [`conn.store(token)`](crate::Conn::store) | `Result<(), Refused>`: whether it was asked. [`on_answer`](crate::Session::on_answer) gets the answer |
/// | async | [`conn.store()`](crate::AsyncConn::store) | an [`Ask`](crate::Ask) of `Option<Entry>`, to be awaited |
/// | blocking | [`conn.store()`](crate::BlockingConn::store) | `Result<Option<Entry>, Refused>`: the call waits |
/// | any thread | [`wsh::store()`](crate::store()) | an [`Ask`](crate::Ask) of `Option<Entry>`, to be awaited or waited for |
///
/// What a session asks of its store is carried out in the order of the calls, as is what one thread asks: a `get` after a
/// `put` reads what was put, also if neither was waited for. Between sessions and threads there is no order.
///
/// Each change of a key gives its value a higher version, also after a deletion. A version is opaque: versions are counted
/// over all keys and all handlers, so the first version of a key is not 1, and versions of a key have holes. With a version
/// a value is changed only if no other session has changed it meanwhile:
///
/// ```
/// use wsh::{Refused, prelude::*};
///
/// async fn visits(conn: &mut AsyncConn) -> Result {
///     let visits = loop {
///         let (count, version) = match conn.store().get("visits").await? {
///             Some(entry) => (entry.json::<u64>()?, entry.version),
///             None => (0, 0),
///         };
///         match conn.store().put_json_if("visits", &(count + 1), version).await {
///             Ok(_) => break count + 1,
///             Err(Refused::Conflict { .. }) => {} // another session was faster
///             Err(other) => return Err(other.into()),
///         }
///     };
///     conn.send(format!("visit {visits}")).await?;
///     Ok(())
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(async visits));
/// # assert_eq!(server.connect().receive().unwrap(), "visit 1");
/// # assert_eq!(server.connect().receive().unwrap(), "visit 2");
/// ```
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// fn names(conn: BlockingConn) -> Result {
///     let store = conn.store();
///     let version = store.put("name", "ann")?;
///     let version = store.put_if("name", b"ben", version)?;
///     store.put_json("age", &41)?;
///     store.delete_if("name", version)?;
///     store.delete("age")?;
///     let is_first = conn.store().ttl(Duration::from_secs(60)).create("lock", "mine").is_ok();
///     for entry in store.list("", None, 100)?.entries {
///         conn.send(format!("{} {is_first}", entry.key))?;
///     }
///     Ok(())
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(blocking names));
/// # assert_eq!(server.connect().receive().unwrap(), "lock true");
/// # assert_eq!(server.connect().receive().unwrap(), "lock false");
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is asked"]
pub struct Store<A> {
    asker: A,
    ttl_ms: u64,
}

impl<A: Asker> Store<A> {
    pub(crate) fn new(asker: A) -> Self {
        Store { asker, ttl_ms: 0 }
    }

    /// Keeps what is put by the returned value for this long, and not until it is deleted. A later put without it keeps
    /// the value until it is deleted.
    ///
    /// The time counts from when the put is carried out, in milliseconds, and after it the key has no value. The server's
    /// clock is exact to some 10 ms, so a value may end that much earlier or later. Where the machine has no CPU time to
    /// spare, it may be tenths of a second. In [`test`](mod@crate::test) it is exact.
    pub fn ttl(self, time_to_live: Duration) -> Self {
        // 0 would be for ever.
        let ttl_ms = crate::styles::events::conn::whole_ms(time_to_live).max(1);
        Store { ttl_ms, ..self }
    }

    /// Asks for a value: `None` if there is none.
    pub fn get(&self, key: &str) -> A::Answer<Option<Entry>> {
        self.asker.ask(
            Read(results::entry),
            |call| call.host.store_get(call.id, call.token, key),
            |_| Rule::key(key),
        )
    }

    /// Keeps a value, in the place of the one before. The answer is its version.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> A::Answer<u64> {
        self.change(key, value.as_ref(), None)
    }

    /// Keeps a value in the place of the one with this version. If that was changed, the answer is
    /// [`Refused::Conflict`](crate::Refused::Conflict) with the version that the value has, and nothing is done. Version 0 is
    /// no value.
    ///
    /// `u64::MAX`, which means any version at the border to the server, is
    /// [`Refused::Invalid`](crate::Refused::Invalid). So a number that came from a peer never puts without a condition.
    pub fn put_if(&self, key: &str, value: impl AsRef<[u8]>, version: u64) -> A::Answer<u64> {
        self.change(key, value.as_ref(), Some(version))
    }

    /// Keeps a value where there is none: [`put_if`](Self::put_if) with version 0.
    pub fn create(&self, key: &str, value: impl AsRef<[u8]>) -> A::Answer<u64> {
        self.change(key, value.as_ref(), Some(0))
    }

    /// Puts a value if that of the key has this version; `None` is any.
    fn change(&self, key: &str, value: &[u8], version: Option<u64>) -> A::Answer<u64> {
        let ttl_ms = self.ttl_ms;
        self.asker.ask(
            Read(results::changed),
            |call| match border_version(version) {
                Ok(version) => {
                    let (id, token) = (call.id, call.token);
                    call.host.store_put(id, token, key, value, version, ttl_ms)
                }
                Err(invalid) => invalid,
            },
            |status| match border_version(version) {
                Ok(_) => Rule::put(status, key, value),
                Err(_) => Rule::version(),
            },
        )
    }

    /// Deletes a value, if there is one. The answer is the version of the deletion, which is a new one also where there was no
    /// value.
    pub fn delete(&self, key: &str) -> A::Answer<u64> {
        self.remove(key, None)
    }

    /// Deletes the value with this version, like [`put_if`](Self::put_if).
    pub fn delete_if(&self, key: &str, version: u64) -> A::Answer<u64> {
        self.remove(key, Some(version))
    }

    /// Deletes a value if it has this version; `None` is any.
    fn remove(&self, key: &str, version: Option<u64>) -> A::Answer<u64> {
        self.asker.ask(
            Read(results::changed),
            |call| match border_version(version) {
                Ok(version) => call.host.store_delete(call.id, call.token, key, version),
                Err(invalid) => invalid,
            },
            |_| match border_version(version) {
                Ok(_) => Rule::key(key),
                Err(_) => Rule::version(),
            },
        )
    }

    /// Asks for the values whose keys begin with `prefix`, at most `limit`, in no promised order. `after` is
    /// [`Entries::next`] of the page before. A key that is there from the first page to the last comes exactly once.
    ///
    /// Where all of them are wanted at once, [`entries`](Self::entries) asks for one page after the other.
    pub fn list(&self, prefix: &str, after: Option<&Next>, limit: u64) -> A::Answer<Entries> {
        page(&self.asker, Read(results::entries), prefix, after, limit)
    }

    /// Like [`put`](Self::put), with the value as JSON.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// A value that JSON cannot say is [`Refused::Invalid`](crate::Refused::Invalid), and the log has the reason.
    #[cfg(feature = "serde")]
    pub fn put_json<T: serde_core::Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> A::Answer<u64> {
        self.change_json(key, value, None)
    }

    /// Like [`put_if`](Self::put_if), with the value as JSON.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// A value that JSON cannot say is [`Refused::Invalid`](crate::Refused::Invalid), and the log has the reason.
    #[cfg(feature = "serde")]
    pub fn put_json_if<T: serde_core::Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        version: u64,
    ) -> A::Answer<u64> {
        self.change_json(key, value, Some(version))
    }

    #[cfg(feature = "serde")]
    fn change_json<T: serde_core::Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        version: Option<u64>,
    ) -> A::Answer<u64> {
        match crate::message::json::write(value) {
            Ok(text) => self.change(key, text.as_bytes(), version),
            Err(_) => self.asker.ask(
                Read(results::changed),
                |_| crate::abi::INVALID,
                |_| Rule::json(),
            ),
        }
    }
}

impl<A: ListAsker> Store<A> {
    /// Asks for all values whose keys begin with `prefix`, in no promised order, and so for one page after the other. In
    /// events, [`list`](Self::list) asks for each page.
    ///
    /// ```
    /// use wsh::prelude::*;
    ///
    /// async fn names(conn: &mut AsyncConn) -> Result {
    ///     conn.store().put("name/1", "ann").await?;
    ///     conn.store().put("name/2", "ben").await?;
    ///     for entry in conn.store().entries("name/").await? {
    ///         conn.send(format!("{} is {}", entry.key, entry.text())).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # let mut client = wsh::test::connect(wsh::descriptor!(async names));
    /// # assert_eq!(client.receive().unwrap(), "name/1 is ann");
    /// # assert_eq!(client.receive().unwrap(), "name/2 is ben");
    /// ```
    ///
    /// The answer is a list of [`Entry`]; [`AskAll`](crate::AskAll) says how it is got, and what is in it if keys change
    /// meanwhile. A list of more than 1,048,576 values is [`Refused::TooBig`](crate::Refused::TooBig). In bytes it is as
    /// long as the store may be: `store_bytes_max`.
    pub fn entries(&self, prefix: &str) -> A::All<Entry> {
        self.asker.ask_all(prefix, |asker, prefix, after| {
            let read = |answer: AnswerTable<'_>| {
                results::entries(answer).map(|page| Page {
                    items: page.entries,
                    next: page.next,
                })
            };
            page(asker, Read(read), prefix, after, PAGE_ITEMS_MAX)
        })
    }
}

fn page<A: Asker, T: Send + 'static>(
    asker: &A,
    read: Read<T>,
    prefix: &str,
    after: Option<&Next>,
    limit: u64,
) -> A::Answer<T> {
    let after = Next::bytes_of(after);
    asker.ask(
        read,
        |call| {
            let (id, token) = (call.id, call.token);
            call.host.store_list(id, token, prefix, after, limit)
        },
        |status| Rule::page_of_keys(status, prefix, limit),
    )
}

/// The version as the border has it, where `None` is any.
///
/// # Errors
/// [`abi::INVALID`]: the number that means any version there, which no value has.
fn border_version(version: Option<u64>) -> Result<u64, Status> {
    match version {
        None => Ok(ANY_VERSION),
        Some(ANY_VERSION) => Err(abi::INVALID),
        Some(version) => Ok(version),
    }
}
