//! A whole list that comes in pages: all members of a topic, or all values under a prefix.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use crate::{
    asks::{
        ask::Ask,
        asker::{AskPage, Page},
        results::Next,
    },
    error::{Refused, Result, rule::Rule},
};

/// All items of a list, of which one page after the other is asked for, such as by
/// [`AsyncConn::members`](crate::AsyncConn::members). The first page is asked for already.
///
/// It is awaited. A thread of [`spawn()`](crate::spawn()) may also [`wait`](Self::wait) for it:
///
/// ```
/// use wsh::prelude::*;
///
/// async fn lobby(conn: &mut AsyncConn) -> Result {
///     conn.enter("lobby", "ann").await?;
///     let here = conn.members("lobby").await?.len(); // in an async function
///     let handle = conn.handle();
///     wsh::spawn(move |_| {
///         let members = wsh::members("lobby").wait(); // on a thread
///         let names: Vec<_> = members.iter().flatten().map(|it| it.text()).collect();
///         let _ = handle.send(format!("{here}: {}", names.join(" ")));
///         let _ = wsh::members("lobby").wait_timeout(std::time::Duration::from_secs(1));
///     })?;
///     while conn.recv().await.is_some() {}
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async lobby));
/// # assert_eq!(client.receive().unwrap(), "1: ann");
/// ```
///
/// What changes between two pages may be in the list or not. What is there from the first page to the last comes exactly
/// once.
///
/// The answer is refused where a page is. A list of more than 1,048,576 items is
/// [`Refused::TooBig`]; its pages can be asked for one by one.
#[derive(Debug)]
#[must_use = "it is awaited or waited for"]
pub struct AskAll<A, T> {
    asker: A,
    of: Box<str>,
    ask_page: AskPage<A, Ask<Page<T>>>,
    /// The page that is asked for.
    page: Ask<Page<T>>,
    /// The items of the pages before it.
    found: Vec<T>,
}

impl<A, T: Send + 'static> AskAll<A, T> {
    pub(crate) fn new(asker: A, of: &str, ask_page: AskPage<A, Ask<Page<T>>>) -> AskAll<A, T> {
        AskAll {
            page: ask_page(&asker, of, None),
            asker,
            of: of.into(),
            ask_page,
            found: Vec::new(),
        }
    }

    /// Waits for all pages on this thread, like [`Ask::wait`].
    ///
    /// # Errors
    /// Those of [`Ask::wait`]. [`Refused::TooBig`]: the list is too long.
    pub fn wait(self) -> Result<Vec<T>, Refused> {
        self.wait_until(None)
    }

    /// Like [`wait`](Self::wait), but gives up after a while. The time is for all pages together.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]: not all pages came in time. Otherwise those of [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Vec<T>, Refused> {
        // A deadline past the range of the clock never comes.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(self, deadline: Option<Instant>) -> Result<Vec<T>, Refused> {
        let (mut page, mut found) = (self.page, self.found);
        while let Some(next) = add(&mut found, page.wait_until(deadline)?)? {
            page = (self.ask_page)(&self.asker, &self.of, Some(&next));
        }
        Ok(found)
    }
}

// Nothing in it is pinned.
impl<A, T> Unpin for AskAll<A, T> {}

impl<A, T: Send + 'static> Future for AskAll<A, T> {
    type Output = Result<Vec<T>, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let page = ready!(Pin::new(&mut self.page).poll(cx))?;
            match add(&mut self.found, page)? {
                Some(next) => self.page = (self.ask_page)(&self.asker, &self.of, Some(&next)),
                None => return Poll::Ready(Ok(mem::take(&mut self.found))),
            }
        }
    }
}

/// Adds a page to what was found. Answers where the next page begins, if there is one.
pub(crate) fn add<T>(found: &mut Vec<T>, page: Page<T>) -> Result<Option<Next>, Refused> {
    if found.len() + page.items.len() > LIST_ITEMS_MAX {
        return Err(Refused::TooBig(Rule::long_list()));
    }
    found.extend(page.items);
    Ok(page.next)
}

/// As many items as the server puts into one page.
pub(crate) const PAGE_ITEMS_MAX: u64 = 1_024;
/// The longest list that is put together. The limits of a server's configuration bound its bytes.
const LIST_ITEMS_MAX: usize = 1_048_576;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_an_end_is_refused_before_it_takes_all_memory() {
        let mut found = Vec::new();
        let page = || Page {
            items: vec![(); 1_024],
            next: Next::new(b"more"),
        };

        for _ in 0..1_024 {
            assert!(add(&mut found, page()).unwrap().is_some());
        }

        let refused = add(&mut found, page()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`list` has too many items for one answer, wanted at most 1048576, or a page at a time"
        );
    }
}
