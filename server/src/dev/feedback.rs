//! Decides whether a build is followed by another one: a build script may write into the watched sources.
//!
//! A file that changes while a build runs was saved by a person, and wants the next build. Or the build
//! itself has written it, and builds would follow one another for ever. Where code of the build may have
//! written it, only another build tells: a person does not save during each of three builds, of which
//! the last begins after a while of quiet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::sources::Changes;

/// Why a build begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildCause {
    /// Something changed while no build ran, or it is the first build.
    Saved,
    /// A file changed while a build ran that had the cause `Saved`.
    ChangedInBuild,
    /// A file changed while a build ran that had the cause `ChangedInBuild`, and none since.
    Doubt,
}

/// What follows a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextBuild {
    Nothing,
    Build(BuildCause),
    BuildWhenQuiet(BuildCause),
    /// The build has written the changed files, which start no build from then on.
    Tell,
}

/// What changed during a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BuildChanges {
    Nothing,
    /// Only files that code of the build may have written.
    Suspects,
    /// Also files that a person has saved.
    Saves,
}

/// What follows a build that had this cause.
fn next(cause: BuildCause, found: BuildChanges) -> NextBuild {
    match (cause, found) {
        (_, BuildChanges::Nothing) => NextBuild::Nothing,
        (_, BuildChanges::Saves) => NextBuild::Build(BuildCause::Saved),
        (BuildCause::Saved, BuildChanges::Suspects) => NextBuild::Build(BuildCause::ChangedInBuild),
        (BuildCause::ChangedInBuild, BuildChanges::Suspects) => {
            NextBuild::BuildWhenQuiet(BuildCause::Doubt)
        }
        (BuildCause::Doubt, BuildChanges::Suspects) => NextBuild::Tell,
    }
}

/// Questions about a file that changed during a build.
pub(crate) struct Questions<'a> {
    /// Whether a build may come out differently because of the file.
    pub(crate) matters: &'a dyn Fn(&Path) -> bool,
    /// Whether the build that is over may have come out differently because of it.
    pub(crate) was_built: &'a dyn Fn(&Path) -> bool,
    /// Whether code of the build that is over may have written it.
    pub(crate) is_suspect: &'a dyn Fn(&Path) -> bool,
}

/// Tells the changes of a person from those that builds make themselves.
#[derive(Debug)]
pub(crate) struct Feedback {
    /// Why the last build began, or the one that runs now.
    cause: BuildCause,
    next: NextBuild,
    /// When the last build was over.
    since: Instant,
    /// How many builds have followed one another since a file changed while none ran.
    in_a_row: u32,
    /// The changes during the last build, which are not built yet.
    held: Changes,
    /// The files that builds write.
    generated: BTreeSet<PathBuf>,
}

impl Feedback {
    pub(crate) fn new() -> Feedback {
        Feedback {
            cause: BuildCause::Saved,
            next: NextBuild::Nothing,
            since: Instant::now(),
            in_a_row: 0,
            held: Changes::default(),
            generated: BTreeSet::new(),
        }
    }

    /// Notes the end of a build, and what changed during it. Answers the files that turn out to be written
    /// by builds.
    pub(crate) fn end_build(
        &mut self,
        mut changes: Changes,
        ask: &Questions<'_>,
        now: Instant,
    ) -> Vec<PathBuf> {
        let changed: BTreeSet<&PathBuf> = changes.changed.iter().collect();
        // A file that this build left alone is a person's from now on.
        self.generated
            .retain(|file| changed.contains(file) || !(ask.was_built)(file));
        changes
            .changed
            .retain(|file| (ask.matters)(file) && !self.generated.contains(file));
        // Saving an unchanged file during a build asks for nothing; after the build it asks for another try.
        changes.saved_again.clear();
        let is_suspect = |file: &PathBuf| self.in_a_row >= IN_A_ROW_MAX || (ask.is_suspect)(file);
        let found = match changes.changed.as_slice() {
            [] => BuildChanges::Nothing,
            changed if changed.iter().all(is_suspect) => BuildChanges::Suspects,
            _ => BuildChanges::Saves,
        };
        self.next = next(self.cause, found);
        self.since = now;
        self.held = changes;
        match self.next {
            NextBuild::Tell => {
                let told = std::mem::take(&mut self.held).changed;
                self.generated.extend(told.iter().cloned());
                told
            }
            _ => Vec::new(),
        }
    }

    /// Answers what to build now. `since` has changed since the last build was over.
    pub(crate) fn begin_build(&mut self, since: Changes, now: Instant) -> Changes {
        let has_saves = !since.changed.is_empty() || !since.saved_again.is_empty();
        self.cause = match self.next {
            _ if has_saves => BuildCause::Saved,
            NextBuild::Build(cause) => cause,
            NextBuild::BuildWhenQuiet(cause) if self.wait(now).is_none() => cause,
            NextBuild::BuildWhenQuiet(_) | NextBuild::Nothing | NextBuild::Tell => return since,
        };
        self.in_a_row = if has_saves { 0 } else { self.in_a_row + 1 };
        self.next = NextBuild::Nothing;
        std::mem::take(&mut self.held).and(since)
    }

    /// How long until a build is due although nothing changes.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let left = QUIET.saturating_sub(now.saturating_duration_since(self.since));
        let is_waiting = matches!(self.next, NextBuild::BuildWhenQuiet(_)) && !left.is_zero();
        is_waiting.then_some(left)
    }
}

/// How long all is quiet before the third build. A person who saves during each build pauses less.
const QUIET: Duration = Duration::from_secs(2);
/// After so many builds without a pause, every changed file is suspect. Code that is not known to run in
/// the build may write files as well, such as a procedural macro of a registry.
const IN_A_ROW_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(files: &[&str]) -> Changes {
        Changes {
            changed: files.iter().map(PathBuf::from).collect(),
            ..Changes::default()
        }
    }

    fn named(files: &[&str]) -> Vec<PathBuf> {
        changes(files).changed
    }

    /// Ends a build in which each changed file is suspect, or none.
    fn end(
        feedback: &mut Feedback,
        files: &[&str],
        is_suspect: bool,
        now: Instant,
    ) -> Vec<PathBuf> {
        let ask = Questions {
            matters: &|file| !file.ends_with("notes.txt"),
            was_built: &|_| true,
            is_suspect: &|_| is_suspect,
        };
        feedback.end_build(changes(files), &ask, now)
    }

    fn begin(feedback: &mut Feedback, files: &[&str], now: Instant) -> Vec<PathBuf> {
        feedback.begin_build(changes(files), now).changed
    }

    #[test]
    fn only_the_third_build_in_a_row_whose_changes_may_all_be_its_own_is_the_last() {
        let (saved, in_build, doubt) = (
            BuildCause::Saved,
            BuildCause::ChangedInBuild,
            BuildCause::Doubt,
        );
        for (cause, found, expected) in [
            (saved, BuildChanges::Nothing, NextBuild::Nothing),
            (in_build, BuildChanges::Nothing, NextBuild::Nothing),
            (doubt, BuildChanges::Nothing, NextBuild::Nothing),
            (saved, BuildChanges::Suspects, NextBuild::Build(in_build)),
            (
                in_build,
                BuildChanges::Suspects,
                NextBuild::BuildWhenQuiet(doubt),
            ),
            (doubt, BuildChanges::Suspects, NextBuild::Tell),
            (saved, BuildChanges::Saves, NextBuild::Build(saved)),
            (in_build, BuildChanges::Saves, NextBuild::Build(saved)),
            (doubt, BuildChanges::Saves, NextBuild::Build(saved)),
        ] {
            assert_eq!(next(cause, found), expected, "{cause:?} {found:?}");
        }
    }

    #[test]
    fn what_each_build_writes_is_told_once_and_starts_no_build_until_one_leaves_it_alone() {
        let (mut feedback, now) = (Feedback::new(), Instant::now());
        let (feedback, later) = (&mut feedback, now + QUIET);
        let generated = ["src/made.rs"];

        assert_eq!(end(feedback, &generated, true, now), named(&[]));
        assert_eq!(begin(feedback, &[], now), named(&generated));
        assert_eq!(end(feedback, &generated, true, now), named(&[]));
        assert_eq!(begin(feedback, &[], now), named(&[]));
        assert_eq!(feedback.wait(now), Some(QUIET));
        assert_eq!(begin(feedback, &[], later), named(&generated));
        let told = end(feedback, &generated, true, now);
        assert_eq!(told, named(&generated));

        assert_eq!(begin(feedback, &[], later), named(&[]));
        for _ in 0..3 {
            let saved = ["src/lib.rs"];
            assert_eq!(begin(feedback, &saved, later), named(&saved));
            assert_eq!(end(feedback, &generated, true, now), named(&[]), "once");
            assert_eq!(begin(feedback, &[], later), named(&[]));
            assert_eq!(feedback.wait(now), None);
        }
        // A build that leaves the file alone makes it a source like any other.
        assert_eq!(end(feedback, &[], true, now), named(&[]));
        assert_eq!(end(feedback, &generated, true, now), named(&[]));
        assert_eq!(begin(feedback, &[], now), named(&generated));
    }

    #[test]
    fn a_persons_save_during_a_build_is_built_however_many_follow_one_another() {
        let (mut feedback, now) = (Feedback::new(), Instant::now());
        let (feedback, saved) = (&mut feedback, ["src/lib.rs"]);
        for _ in 1..IN_A_ROW_MAX {
            assert_eq!(end(feedback, &saved, false, now), named(&[]));
            assert_eq!(begin(feedback, &[], now), named(&saved));
        }
        // A suspect file waits for quiet, or for the next save.
        for _ in 0..3 {
            assert_eq!(begin(feedback, &["src/other.rs"], now).len(), 1);
            end(feedback, &saved, true, now);
            assert_eq!(begin(feedback, &[], now), named(&saved));
            end(feedback, &saved, true, now);
            assert_eq!(begin(feedback, &[], now), named(&[]));
            let both = begin(feedback, &["src/other.rs"], now);
            assert_eq!(both, named(&["src/lib.rs", "src/other.rs"]));
            end(feedback, &[], true, now);
        }
    }

    #[test]
    fn builds_that_follow_one_another_without_end_come_to_one() {
        let (mut feedback, now) = (Feedback::new(), Instant::now());
        let mut builds = 0;
        for round in 0..100 {
            builds += 1;
            // Another file each time, and no build script is known to have written it.
            let file = format!("src/made{round}.rs");
            if !end(&mut feedback, &[&file], false, now).is_empty() {
                break;
            }
            assert_ne!(begin(&mut feedback, &[], now + QUIET), named(&[]));
        }
        assert_eq!(builds, IN_A_ROW_MAX + 3);
    }

    #[test]
    fn what_no_build_is_made_of_starts_none() {
        let (mut feedback, now) = (Feedback::new(), Instant::now());
        end(&mut feedback, &["notes.txt"], false, now);
        assert_eq!(begin(&mut feedback, &[], now), named(&[]));
    }
}
