//! Whose code is run: only that of the server's own user and of root, unless the operator trusts all users.
//!
//! A file or directory that another user can write counts as that user's code.

mod acl;

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use tracing::warn;

use self::acl::{Acl, Grantee};
use super::refusal::Refusal;
use crate::config::Trust;
use crate::process::regular_file::{self, Links, is_absence};

/// Decides about files during one walk over them.
#[derive(Debug)]
pub(crate) struct Guard {
    trust: Trust,
    server: Uid,
    /// Answers for a group and an owner, kept because a thousand files mostly have one of each.
    groups: HashMap<(Gid, Uid), Option<Writer>>,
}

impl Guard {
    pub(crate) fn new(trust: Trust) -> Guard {
        Guard {
            trust,
            server: geteuid(),
            groups: HashMap::new(),
        }
    }

    /// Refuses the file or directory at `path` if another user than the server's and root can change it.
    ///
    /// # Errors
    ///
    /// The system does not say which users can change it.
    pub(crate) fn check(
        &mut self,
        path: &Path,
        metadata: &Metadata,
    ) -> io::Result<Result<(), Refusal>> {
        if self.trust == Trust::Any {
            return Ok(Ok(()));
        }
        let owner = Uid::from_raw(metadata.uid());
        if owner != self.server && !owner.is_root() {
            return Ok(Err(Refusal::ForeignOwner {
                path: path.into(),
                owner: owner.as_raw(),
                wanted: self.server.as_raw(),
            }));
        }
        let Some(by) = self.writer(path, metadata, owner)? else {
            return Ok(Ok(()));
        };
        Ok(Err(Refusal::Writable {
            path: path.into(),
            mode: metadata.mode() & 0o7777,
            by,
        }))
    }

    /// A user or group that can write it, besides its owner, the server's user and root.
    fn writer(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        owner: Uid,
    ) -> io::Result<Option<Writer>> {
        let mode = metadata.mode();
        if mode & OTHERS_WRITE != 0 {
            return Ok(Some(Writer::Others));
        }
        // In a file with an ACL these bits are the mask of all entries for users and groups.
        if mode & GROUP_WRITE == 0 {
            return Ok(None);
        }
        let acl = acl::read(path)?;
        let named = acl.iter().flat_map(Acl::writers);
        for grantee in named {
            let name = match grantee {
                Grantee::User(user) if self.may_write(user, owner) => continue,
                Grantee::User(user) => format!("user `{}`", user_name(user)?),
                Grantee::Group(group) => format!("group `{}`", group_name(group)?),
            };
            return Ok(Some(Writer::ByAcl(name)));
        }
        if acl.is_some_and(|acl| !acl.lets_owning_group_write()) {
            return Ok(None);
        }
        let group = Gid::from_raw(metadata.gid());
        if let Some(known) = self.groups.get(&(group, owner)) {
            return Ok(known.clone());
        }
        let found = self.writer_in_group(group, owner)?;
        self.groups.insert((group, owner), found.clone());
        Ok(found)
    }

    /// Who else can write a file of this owner through its group.
    fn writer_in_group(&self, group: Gid, owner: Uid) -> io::Result<Option<Writer>> {
        if group != primary_group(owner)? {
            return Ok(Some(Writer::ForeignGroup));
        }
        Ok(match self.other_member(group, owner)? {
            Some(member) => Some(Writer::GroupWith {
                group: group_name(group)?,
                member,
            }),
            None => None,
        })
    }

    fn may_write(&self, user: Uid, owner: Uid) -> bool {
        user == owner || user == self.server || user.is_root()
    }

    /// A member of the group that is neither the owner nor trusted.
    ///
    /// The system lists the members that were added to a group, and the users of /etc/passwd with their
    /// primary group. Members that another directory service knows are not seen.
    fn other_member(&self, group: Gid, owner: Uid) -> io::Result<Option<String>> {
        let entry = known(Group::from_gid(group))?;
        for member in entry.map_or_else(Vec::new, |entry| entry.mem) {
            let user = known(User::from_name(&member))?;
            // A name without a user may become one's later.
            if user.is_none_or(|user| !self.may_write(user.uid, owner)) {
                return Ok(Some(member));
            }
        }
        let users = match regular_file::read(Path::new(PASSWD), Links::Followed, PASSWD_BYTES_MAX) {
            Ok(read) => read.bytes,
            // A container image without this file has no users.
            Err(regular_file::NotRead::Io(error)) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&users);
        let others = text.lines().filter_map(passwd_entry);
        let mut others =
            others.filter(|(_, user, own)| *own == group && !self.may_write(*user, owner));
        Ok(others.next().map(|(name, ..)| name.to_owned()))
    }
}

/// Warns if everyone who can write a handler's file is trusted.
pub(crate) fn tell(trust: Trust) {
    if trust == Trust::Any {
        warn!(
            "`trust = \"any\"`: each user who can write a handler's file or a directory above it runs code in this server"
        );
    }
}

/// A user or group that can write a file or a directory and should not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Every user.
    Others,
    /// A group that is not the primary one of the owner.
    ForeignGroup,
    /// The owner's primary group, which has another member.
    GroupWith { group: String, member: String },
    /// A user or a group that the POSIX ACL names.
    ByAcl(String),
}

/// The name, the user's number and the primary group's number in a line of /etc/passwd.
fn passwd_entry(line: &str) -> Option<(&str, Uid, Gid)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let user = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some((name, Uid::from_raw(user), Gid::from_raw(group)))
}

/// The primary group of a user. With a umask of 002 every new file is writable by it, and on systems with
/// such a umask no other user is in it.
fn primary_group(user: Uid) -> io::Result<Gid> {
    let entry = known(User::from_uid(user))?;
    // In a container a user may have no entry. The group of such a user has the user's number.
    Ok(entry.map_or(Gid::from_raw(user.as_raw()), |entry| entry.gid))
}

fn user_name(user: Uid) -> io::Result<String> {
    let entry = known(User::from_uid(user))?;
    Ok(entry.map_or_else(|| user.to_string(), |entry| entry.name))
}

fn group_name(group: Gid) -> io::Result<String> {
    let entry = known(Group::from_gid(group))?;
    Ok(entry.map_or_else(|| group.to_string(), |entry| entry.name))
}

/// The entry that was found. By getpwuid_r(3), some errors mean that there is no entry.
fn known<T>(answer: nix::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        Ok(entry) => Ok(entry),
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
const PASSWD: &str = "/etc/passwd";
/// Enough for a machine with a hundred thousand users.
const PASSWD_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_users_file_has_a_name_and_two_numbers() {
        let root = (("root"), Uid::from_raw(0), Gid::from_raw(7));
        assert_eq!(passwd_entry("root:x:0:7:root:/root:/bin/sh"), Some(root));
        for line in ["", "# root", "root:x:0", "root:x:zero:0:", "+@staff::::::"] {
            assert_eq!(passwd_entry(line), None, "{line}");
        }
    }
}
