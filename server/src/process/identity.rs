//! The user and the group that the server becomes, if it is started as root and is to run as another user.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, seteuid, setgroups, setresgid, setresuid,
};

/// A user with the groups that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    user: Uid,
    group: Gid,
    /// All groups, the first one among them.
    groups: Vec<Gid>,
}

/// Why the server cannot run as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// `user` names none.
    #[error(
        "there is no user `{found}` on this machine; `user` wants a name or a number of /etc/passwd"
    )]
    NoUser {
        /// The value of the key.
        found: String,
    },
    /// `group` names none.
    #[error(
        "there is no group `{found}` on this machine; `group` wants a name or a number of /etc/group"
    )]
    NoGroup {
        /// The value of the key.
        found: String,
    },
    /// `user` is a number that belongs to no entry, so that no group belongs to it.
    #[error("the user `{found}` has no entry in /etc/passwd, so `group` must say its group")]
    NoGroupOfUser {
        /// The value of the key.
        found: String,
    },
    /// There is a `group` and no `user`.
    #[error("`group` is `{found}` and `user` is missing; set both, or neither")]
    GroupAlone {
        /// The value of the key.
        found: String,
    },
    /// Only root can become another user.
    #[error(
        "the server runs as {found} and cannot become {wanted}; start it as root, or as {wanted}, or without `user` and `group`"
    )]
    NotRoot {
        /// The user and the group of the process.
        found: String,
        /// Those of the configuration.
        wanted: String,
    },
    /// The system does not answer.
    #[error("cannot look up `{found}` among the users and groups of this machine: {source}")]
    NotKnown {
        /// The value of the key.
        found: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The system refuses it to root.
    #[error("cannot become {wanted}: {call}: {source}")]
    Refused {
        /// The user and the group.
        wanted: String,
        /// The function of the system.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// Root's rights would come back.
    #[error(
        "the process runs as {wanted} and can still become root; its securebits are not the usual ones"
    )]
    Kept {
        /// The user and the group.
        wanted: String,
    },
}

impl Identity {
    /// The identity to become by the keys `user` and `group`; `None` if there are none, or the process has it already.
    ///
    /// # Errors
    ///
    /// There is no such user or group, or the process is not root and so cannot become it.
    pub fn wanted(
        user: Option<&str>,
        group: Option<&str>,
    ) -> Result<Option<Identity>, IdentityError> {
        let Some(found) = user else {
            return match group {
                Some(found) => Err(IdentityError::GroupAlone {
                    found: found.to_owned(),
                }),
                None => Ok(None),
            };
        };
        let identity = Identity::find(found, group)?;
        if (geteuid(), getegid()) == (identity.user, identity.group) {
            return Ok(None);
        }
        if !geteuid().is_root() {
            return Err(IdentityError::NotRoot {
                found: format!("user {} and group {}", geteuid(), getegid()),
                wanted: identity.described(),
            });
        }
        Ok(Some(identity))
    }

    fn find(found: &str, group: Option<&str>) -> Result<Identity, IdentityError> {
        let unknown = |found: &str| {
            let found = found.to_owned();
            move |errno: Errno| IdentityError::NotKnown {
                found,
                source: errno.into(),
            }
        };
        // A name may consist of digits, and goes before the number then.
        let mut entry = entry(User::from_name(found)).map_err(unknown(found))?;
        let number = found.parse().ok().map(Uid::from_raw);
        if let (None, Some(number)) = (&entry, number) {
            entry = self::entry(User::from_uid(number)).map_err(unknown(found))?;
        }
        let user = entry.as_ref().map(|entry| entry.uid).or(number);
        let Some(user) = user else {
            return Err(IdentityError::NoUser {
                found: found.to_owned(),
            });
        };
        let group = match (group, &entry) {
            (Some(group), _) => {
                let known = self::entry(Group::from_name(group)).map_err(unknown(group))?;
                let number = || group.parse().ok().map(Gid::from_raw);
                let known = known.map(|entry| entry.gid).or_else(number);
                known.ok_or_else(|| IdentityError::NoGroup {
                    found: group.to_owned(),
                })?
            }
            (None, Some(entry)) => entry.gid,
            (None, None) => {
                return Err(IdentityError::NoGroupOfUser {
                    found: found.to_owned(),
                });
            }
        };
        let name = entry.as_ref().map(|entry| entry.name.clone());
        let groups = match name.as_deref().and_then(|name| CString::new(name).ok()) {
            Some(name) => getgrouplist(&name, group).map_err(unknown(found))?,
            None => vec![group],
        };
        Ok(Identity {
            name: name.unwrap_or_else(|| found.to_owned()),
            user,
            group,
            groups,
        })
    }

    /// Makes every thread of the process run as this user, with these groups and with no other rights, for good.
    ///
    /// # Errors
    ///
    /// The system refuses it. The process may have become a part of it then, and should end.
    pub fn assume(&self) -> Result<(), IdentityError> {
        let refused = |call| {
            move |errno: Errno| IdentityError::Refused {
                wanted: self.described(),
                call,
                source: errno.into(),
            }
        };
        // Groups first: without root's rights they cannot be changed any more. The functions of libc reach all threads.
        setgroups(&self.groups).map_err(refused("setgroups"))?;
        setresgid(self.group, self.group, self.group).map_err(refused("setresgid"))?;
        setresuid(self.user, self.user, self.user).map_err(refused("setresuid"))?;
        if !self.user.is_root() && seteuid(Uid::from_raw(0)).is_ok() {
            return Err(IdentityError::Kept {
                wanted: self.described(),
            });
        }
        Ok(())
    }

    /// The user's name, or its number where it has no name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The numbers of the user and of its group.
    pub fn numbers(&self) -> (u32, u32) {
        (self.user.as_raw(), self.group.as_raw())
    }

    fn described(&self) -> String {
        let Identity {
            name, user, group, ..
        } = self;
        format!("user `{name}` ({user}) with group {group}")
    }
}

/// The entry that was found. By getpwnam_r(3), some errors mean that there is no entry.
fn entry<T>(answer: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match answer {
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_users_and_what_leads_to_none_is_told() {
        let root = Identity::find("root", None).expect("every machine has it");
        assert_eq!(root.numbers(), (0, 0));
        assert_eq!(Identity::find("0", None).expect("its number"), root);
        let bare = Identity::find("4000000000", Some("4000000001")).expect("numbers");
        assert_eq!(bare.numbers(), (4_000_000_000, 4_000_000_001));
        assert_eq!(bare.groups, [Gid::from_raw(4_000_000_001)]);
        for (user, group, expected) in [
            (
                Some("no such"),
                None,
                "there is no user `no such` on this machine; `user` wants a name or a number of /etc/passwd",
            ),
            (
                Some("root"),
                Some("no such"),
                "there is no group `no such` on this machine; `group` wants a name or a number of /etc/group",
            ),
            (
                Some("4000000000"),
                None,
                "the user `4000000000` has no entry in /etc/passwd, so `group` must say its group",
            ),
            (
                None,
                Some("root"),
                "`group` is `root` and `user` is missing; set both, or neither",
            ),
        ] {
            let error = Identity::wanted(user, group).expect_err("it is refused");
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(
            Identity::wanted(None, None).expect("nothing is wanted"),
            None
        );
    }
}
