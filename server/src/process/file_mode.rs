//! Whether a file that should be private is.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A sentence if every user of the machine can change or read the file.
pub(crate) fn exposure(path: &Path, metadata: &Metadata) -> Option<String> {
    let others = |bit: u32| metadata.mode() & bit != 0;
    let what = match (others(0o002), others(0o004)) {
        (true, _) => "changed",
        (false, true) => "read",
        (false, false) => return None,
    };
    let path = path.display();
    Some(format!(
        "`{path}` can be {what} by every user of this machine; `chmod o= {path}` takes that from them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_every_user_can_do_with_a_file_is_said_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "").unwrap();
        for (mode, what) in [
            (0o600, None),
            (0o640, None),
            (0o660, None),
            (0o644, Some("read")),
            (0o602, Some("changed")),
            (0o666, Some("changed")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let expected = what.map(|what| {
                let path = path.display();
                format!(
                    "`{path}` can be {what} by every user of this machine; `chmod o= {path}` takes that from them"
                )
            });
            let said = exposure(&path, &fs::metadata(&path).unwrap());
            assert_eq!(said, expected, "{mode:o}");
        }
    }
}
