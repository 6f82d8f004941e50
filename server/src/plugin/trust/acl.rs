//! POSIX access control lists (acl(5)): the users and groups that a file names beside its owner and group.
//!
//! The default ACL of a directory is not looked at. It grants nothing by itself, and files that are made
//! in the directory have ACLs of their own.

use std::io;
use std::path::Path;

use nix::unistd::{Gid, Uid};
use rustix::io::Errno;

/// The access ACL of a file that grants more than its mode says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acl(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// A user or a group that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grantee {
    User(Uid),
    Group(Gid),
}

/// The access ACL of the file at a path, links followed. `None` if the file or its file system has none.
pub(super) fn read(path: &Path) -> io::Result<Option<Acl>> {
    // The longest attribute that Linux keeps for a file.
    let mut value = vec![0; 65_536];
    match rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]) {
        Ok(length) => Acl::parse(&value[..length]).map(Some),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Acl {
    /// Parses the kernel's form: a version, and entries of eight bytes.
    fn parse(value: &[u8]) -> io::Result<Acl> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "its ACL is malformed");
        let (version, entries) = value.split_first_chunk().ok_or_else(malformed)?;
        if u32::from_le_bytes(*version) != VERSION || !entries.len().is_multiple_of(8) {
            return Err(malformed());
        }
        let entry = |bytes: &[u8]| Entry {
            tag: u16::from_le_bytes([bytes[0], bytes[1]]),
            permissions: u16::from_le_bytes([bytes[2], bytes[3]]),
            id: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        Ok(Acl(entries.chunks_exact(8).map(entry).collect()))
    }

    /// The users and groups that it names and, by entry and mask, lets write.
    pub(super) fn writers(&self) -> impl Iterator<Item = Grantee> + '_ {
        let may = |entry: &&Entry| self.lets_write(entry);
        self.0
            .iter()
            .filter(may)
            .filter_map(|entry| match entry.tag {
                USER => Some(Grantee::User(Uid::from_raw(entry.id))),
                GROUP => Some(Grantee::Group(Gid::from_raw(entry.id))),
                _ => None,
            })
    }

    /// Whether it lets the file's own group write, by entry and mask.
    pub(super) fn lets_owning_group_write(&self) -> bool {
        let mut entries = self.0.iter();
        entries.any(|entry| entry.tag == GROUP_OBJ && self.lets_write(entry))
    }

    fn lets_write(&self, entry: &Entry) -> bool {
        let mask = self.0.iter().find(|entry| entry.tag == MASK);
        let mask = mask.map_or(WRITE, |mask| mask.permissions);
        entry.permissions & mask & WRITE != 0
    }
}

// linux/posix_acl_xattr.h and linux/posix_acl.h.
const VERSION: u32 = 2;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const WRITE: u16 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;

    const USER_OBJ: u16 = 0x01;
    const OTHER: u16 = 0x20;
    const NO_ID: u32 = u32::MAX;

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        Acl::parse(&value).unwrap()
    }

    #[test]
    fn the_writers_are_those_that_entry_and_mask_let_write() {
        let with = |mask, owning| {
            acl(&[
                (USER_OBJ, 7, NO_ID),
                (USER, 6, 1000),
                (USER, 5, 1001),
                (GROUP_OBJ, owning, NO_ID),
                (GROUP, 2, 50),
                (MASK, mask, NO_ID),
                (OTHER, 0, NO_ID),
            ])
        };
        let (user, group) = (
            Grantee::User(Uid::from_raw(1000)),
            Grantee::Group(Gid::from_raw(50)),
        );
        for (mask, owning, writers, group_writes) in [
            (7, 7, vec![user, group], true),
            (7, 5, vec![user, group], false),
            (5, 7, vec![], false),
            (0, 0, vec![], false),
        ] {
            let acl = with(mask, owning);
            assert_eq!(acl.writers().collect::<Vec<_>>(), writers, "mask {mask}");
            assert_eq!(acl.lets_owning_group_write(), group_writes, "mask {mask}");
        }
    }

    #[test]
    fn what_is_no_acl_is_not_taken_for_one_that_grants_nothing() {
        for value in [
            &b""[..],
            b"\x02\0\0",
            b"\x03\0\0\0",
            b"\x02\0\0\0\x01\0\x07",
        ] {
            assert!(Acl::parse(value).is_err(), "{value:?}");
        }
        assert_eq!(Acl::parse(b"\x02\0\0\0").unwrap(), Acl(Vec::new()));
    }
}
