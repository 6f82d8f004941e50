//! Publications that leave together: each subscriber gets all of them by one system call, or as letters.

use std::sync::Arc;

use super::members::Members;
use crate::buffers::pool::Buffer;
use crate::sessions::mailbox::Mailbox;
use crate::sessions::prepared_message::{Form, PreparedMessage};

/// One message on its way to the subscribers of a topic.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) message: Arc<PreparedMessage>,
    /// The id of the session that does not get it; 0 is none.
    pub(super) except: u64,
}

/// Publications to the same subscribers, and how many of these have them.
#[derive(Debug)]
pub(super) struct Batch {
    publications: Vec<Publication>,
    bytes: usize,
    members: Members,
    served: usize,
}

/// How a publication reaches a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendBy {
    /// By its socket while it sleeps, else as a letter.
    Socket,
    /// As a letter, which costs this thread less and the subscriber's more.
    Letters,
}

impl Batch {
    /// A batch of one publication, in memory that an earlier batch has used.
    pub(super) fn new(first: Publication, members: Members, mut spare: Vec<Publication>) -> Batch {
        let bytes = first.message.plain().len();
        spare.push(first);
        Batch {
            publications: spare,
            bytes,
            members,
            served: 0,
        }
    }

    /// Whether a publication may join: it is for these subscribers, and there is room.
    pub(super) fn takes(&self, next: &Publication, members: &Members) -> bool {
        self.members.are(members)
            && self.bytes + next.message.plain().len() <= LENT_BYTES_MAX
            && self.publications.len() < PUBLICATIONS_MAX
    }

    pub(super) fn push(&mut self, next: Publication) {
        self.bytes += next.message.plain().len();
        self.publications.push(next);
    }

    /// How many publications it has.
    pub(super) fn len(&self) -> usize {
        self.publications.len()
    }

    /// Serves at most `allowance` subscribers more, and takes them off. Answers whether all are served.
    pub(super) fn serve(&mut self, allowance: &mut usize, by: SendBy) -> bool {
        let mut frames = Frames::new(&self.publications);
        while *allowance > 0 && self.served < self.members.len() {
            let now = self.members.run_from(self.served, *allowance);
            for mailbox in now {
                if by == SendBy::Letters || !send_at_once(mailbox, &self.publications, &mut frames)
                {
                    post(mailbox, &self.publications);
                }
            }
            self.served += now.len();
            *allowance -= now.len();
        }
        self.served == self.members.len()
    }

    /// Drops the publications. Answers their memory.
    pub(super) fn clear(&mut self) -> Vec<Publication> {
        self.publications.clear();
        std::mem::take(&mut self.publications)
    }
}

/// Sends all publications to a subscriber that sleeps. False if they have to go as letters.
fn send_at_once(mailbox: &Mailbox, publications: &[Publication], frames: &mut Frames<'_>) -> bool {
    let is_excepted = publications.iter().any(|it| it.except == mailbox.id);
    if !is_excepted
        && let Some(wire) = mailbox.borrow_wire()
        && let Some(bytes) = frames.in_form(wire.form())
    {
        return wire.send(bytes, publications.len());
    }
    false
}

fn post(mailbox: &Mailbox, publications: &[Publication]) {
    for publication in publications {
        if publication.except != mailbox.id {
            mailbox.publish(&publication.message);
        }
    }
}

/// The frames of a batch, one behind the other, in the form that was asked for last.
struct Frames<'a> {
    publications: &'a [Publication],
    /// Not used for a single publication, whose frame lies in its message.
    joined: Buffer,
    form: Option<Form>,
}

impl Frames<'_> {
    fn new(publications: &[Publication]) -> Frames<'_> {
        Frames {
            publications,
            joined: Buffer::default(),
            form: None,
        }
    }

    /// The frames in this form; `None` if they are too long to be sent here.
    fn in_form(&mut self, form: Form) -> Option<&[u8]> {
        let bytes = match self.publications {
            // Before it is compressed, which takes long for a long message.
            [only] if only.message.plain().len() > LENT_BYTES_MAX => return None,
            [only] => only.message.in_form(form),
            _ => self.join(form),
        };
        Some(bytes)
    }

    fn join(&mut self, form: Form) -> &[u8] {
        if self.form != Some(form) {
            if self.joined.capacity() == 0 {
                self.joined = Buffer::small();
            }
            self.joined.clear();
            for publication in self.publications {
                self.joined
                    .extend_from_slice(publication.message.in_form(form));
            }
            self.form = Some(form);
        }
        &self.joined
    }
}

/// More bytes go as letters: their copy into the kernel takes as long as several short messages.
const LENT_BYTES_MAX: usize = 32 * 1024;
/// A batch has at most so many publications.
const PUBLICATIONS_MAX: usize = 256;
