//! Why a plugin's file is not loaded, in one sentence for an operator.
//!
//! Each variant carries what was found and says what was wanted. The sentence begins with the file's name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wsh::abi::{ABI_MAJOR, ABI_MINOR};

use super::step::{End, Step};
use super::trust::Writer;
use crate::process::regular_file::NotRead;

/// Why a plugin is refused. The generation that serves goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the file is empty")]
    Empty,
    #[error("the file is cut off: its headers speak of {wanted} bytes, {found} are there")]
    CutOff { found: u64, wanted: u64 },
    #[error("it is not a shared library: it begins with `{beginning}`")]
    NotALibrary { beginning: String },
    #[error("it is {found}, wanted is a regular file")]
    NotAFile { found: &'static str },
    #[error("it has {found} bytes, at most {max} are read")]
    TooLarge { found: u64, max: u64 },
    #[error(
        "a part of it is missing: from byte {at} on there are 4096 zeros where no zeros can be; copy it again"
    )]
    Hole { at: u64 },
    #[error("it is malformed: {0}")]
    Malformed(String),
    #[error("it is {found}, this server loads {wanted}")]
    ForeignFormat {
        found: &'static str,
        wanted: &'static str,
    },
    #[error("it is compiled for {found}, this machine is {wanted}")]
    ForeignMachine { found: String, wanted: &'static str },
    #[error(
        "it exports no `WSH_HANDLER`; a handler crate ends with `wsh::handler!(…)`, a C handler with `WSH_DEFINE(…)`"
    )]
    NoSymbol,
    #[error(
        "its `WSH_HANDLER` is not a descriptor: it begins with `{found}`; rebuild it against wsh 1"
    )]
    NoDescriptor { found: String },
    #[error(
        "it speaks ABI {major}.{minor}, this server speaks ABI {ABI_MAJOR}.x; rebuild it against wsh {ABI_MAJOR}"
    )]
    OtherMajor { major: u32, minor: u32 },
    #[error(
        "it needs ABI {major}.{needs} or newer, this server speaks ABI {ABI_MAJOR}.{ABI_MINOR}; update the server"
    )]
    NeedsNewer { major: u32, needs: u32 },
    #[error("its {table} has {found} bytes, in ABI 1.0 it had {wanted}")]
    ShortTable {
        table: &'static str,
        found: u32,
        wanted: usize,
    },
    #[error("its vtable has no `{0}`, which every handler must have")]
    NoFunction(&'static str),
    #[error(
        "it is compiled with `panic = \"abort\"`, so a panic would end the server; build it with `panic = \"unwind\"`"
    )]
    PanicAbort,
    #[error(
        "its symbol `{symbol}` is unique in the process, so a new generation would share it with the old one; build it with `-fno-gnu-unique`"
    )]
    UniqueSymbol { symbol: String },
    #[error("{}", writable(path, *mode, by))]
    Writable {
        path: PathBuf,
        mode: u32,
        by: Writer,
    },
    #[error(
        "`{path}` belongs to user {owner}, wanted is user {wanted}, which the server runs as, or root; \
         `chown {wanted} {path}` mends that, {OR_TRUST}", path = path.display()
    )]
    ForeignOwner {
        path: PathBuf,
        owner: u32,
        wanted: u32,
    },
    #[error("it leads to `{}`, outside the handlers directory; `--allow-handlers-outside-root-dir` allows that", to.display())]
    Outside { to: PathBuf },
    #[error("`{route}` is answered by `{}` already", by.display())]
    RouteTaken { route: String, by: PathBuf },
    #[error("its name is not UTF-8, so no path leads to it")]
    Unnamed,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("it cannot be staged: {0}")]
    Unstaged(String),
    #[error("the system has no thread for it: {0}")]
    NoThread(String),
    #[error("{0}")]
    Unopened(String),
    #[error("the system gave its copy the image of an older generation; rename the file")]
    StaleImage,
    #[error(
        "fewer than {wanted} of the process's thread keys are left, and running out of them would end the server; restart it"
    )]
    NoThreadKeys { wanted: usize },
    #[error("its `{callback}` failed: {why}")]
    Failed { callback: &'static str, why: String },
    #[error("{}", late(*step, *limit))]
    Late { step: Step, limit: Duration },
    /// A refusal in its trial, in the words that the trial has written.
    #[error("{0}")]
    Unfit(String),
    /// It ended the process of its trial, which would have been the server.
    #[error("{}", died(*step, *end, words.as_deref()))]
    Died {
        step: Step,
        end: End,
        words: Option<String>,
    },
    /// No trial is possible now. A later one may be.
    #[error("it cannot be tried: {0}")]
    Untried(String),
    /// The constructors of this other handler hold the dynamic linker.
    #[error(
        "the constructors of handler `{0}` still run, and no other plugin can be opened meanwhile; restart the server if they hang"
    )]
    LinkerHeld(String),
    /// The helper process was lost while its trial was the only one under way.
    #[error("its trial stops or ends the process that tries plugins")]
    LosesHelper,
    /// So many of its trials have lost the helper process.
    #[error(
        "each of {trials} trials of it stopped or ended the process that tries plugins, which is not its own; mend it, a new file is tried"
    )]
    LostHelper { trials: u32 },
    #[error(
        "it needs another version of `{name}` than the one that this process has loaded, and a process has one of each name; restart the server"
    )]
    OtherLibrary { name: String },
}

impl From<NotRead> for Refusal {
    fn from(error: NotRead) -> Refusal {
        match error {
            NotRead::Io(error) => Refusal::Unreadable(error.to_string()),
            NotRead::NotRegular { found } => Refusal::NotAFile { found },
            NotRead::TooLarge { found, max } => Refusal::TooLarge { found, max },
        }
    }
}

impl Refusal {
    /// The whole sentence, about the file of this name.
    pub(crate) fn sentence(&self, file: &Path) -> String {
        format!("cannot load `{}`: {self}", file.display())
    }

    /// Whether it is no fault of the file, so that the unchanged file may be loaded later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Refusal::Unreadable(_)
            | Refusal::Unstaged(_)
            | Refusal::NoThread(_)
            | Refusal::Untried(_)
            | Refusal::LinkerHeld(_)
            | Refusal::LosesHelper => true,
            // The disk is slow now, or the thread has not begun.
            Refusal::Late { step, .. } => *step == Step::Staging,
            _ => false,
        }
    }

    /// Whether the rest of the file may still be on its way.
    pub(crate) fn may_be_incomplete(&self) -> bool {
        matches!(
            self,
            Refusal::Empty | Refusal::CutOff { .. } | Refusal::Hole { .. }
        )
    }
}

fn late(step: Step, limit: Duration) -> String {
    match step {
        Step::Opening => format!(
            "its constructors were still running after {} (`init_timeout_ms`)",
            time(limit)
        ),
        step => format!(
            "its `{}` did not return within {} (`init_timeout_ms`)",
            step.name(),
            time(limit)
        ),
    }
}

fn died(step: Step, end: End, words: Option<&str>) -> String {
    let sentence = end.sentence(step);
    match words {
        Some(words) => format!("{sentence}; it said `{words}`"),
        None => sentence,
    }
}

/// A time in whole seconds, or in milliseconds.
fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

fn writable(path: &Path, mode: u32, by: &Writer) -> String {
    let path = path.display();
    let (by, mends) = match by {
        Writer::Others => ("others".to_owned(), "chmod o-w"),
        Writer::ForeignGroup => (
            "a group that is not its owner's own".to_owned(),
            "chmod g-w",
        ),
        Writer::GroupWith { group, member } => (
            format!("its group `{group}`, which has `{member}` as a member"),
            "chmod g-w",
        ),
        Writer::ByAcl(name) => (format!("{name} of its ACL"), "setfacl -b"),
    };
    format!(
        "`{path}` is writable by {by} (mode {mode:04o}); `{mends} {path}` mends that, {OR_TRUST}"
    )
}

/// The way out where modes and owners are no protection that is wanted.
const OR_TRUST: &str = "or `trust = \"any\"` if everyone who can write it is trusted";
