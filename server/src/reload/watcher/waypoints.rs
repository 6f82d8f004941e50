//! The names on the way to a path. A change of any of them can change what the path leads to.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Each name on the way to an absolute path, links followed, in the directory that it really lies in. Of
/// the names in the root directory only links are included: no deployment renames `/srv`.
pub(crate) fn waypoints(path: &Path) -> BTreeSet<PathBuf> {
    let mut names = BTreeSet::new();
    let mut left = Vec::new();
    push(&mut left, path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        let name = match part {
            Part::Root => {
                at = PathBuf::from("/");
                continue;
            }
            Part::Up => {
                at.pop();
                continue;
            }
            Part::Name(name) => at.join(name),
        };
        match fs::read_link(&name) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                push(&mut left, &target);
                names.insert(name);
            }
            // A name that is not there may appear.
            _ => {
                if at != Path::new("/") {
                    names.insert(name.clone());
                }
                at = name;
            }
        }
    }
    names
}

/// One step of a path.
enum Part {
    Root,
    Up,
    Name(OsString),
}

/// Puts the steps of a path before those that are left. The last of the list is the next step.
fn push(left: &mut Vec<Part>, path: &Path) {
    let parts = path.components().rev();
    left.extend(parts.filter_map(|part| match part {
        Component::RootDir => Some(Part::Root),
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Name(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    }));
}

/// The number of links that the kernel follows.
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    #[test]
    fn each_link_and_each_directory_on_the_way_is_one() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/7/handlers")).unwrap();
        symlink("releases/7", root.join("next")).unwrap();
        symlink(root.join("next"), root.join("current")).unwrap();
        symlink("../../..", root.join("releases/7/up")).unwrap();

        let below = |path: &str| -> Vec<String> {
            let found = waypoints(&root.join(path)).into_iter();
            let below = found.filter_map(|name| name.strip_prefix(&root).ok().map(Path::to_owned));
            below
                .map(|name| name.display().to_string())
                .filter(|name| !name.is_empty())
                .collect()
        };

        let all = [
            "current",
            "next",
            "releases",
            "releases/7",
            "releases/7/handlers",
        ];
        assert_eq!(below("current/handlers"), all);
        assert_eq!(
            below("releases/7/gone/handlers"),
            [
                "releases",
                "releases/7",
                "releases/7/gone",
                "releases/7/gone/handlers"
            ]
        );
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(below("loop/handlers"), ["loop", "loop/handlers"]);
    }
}
