//! The names that a handler can have: a name is a path of the server, a file and a crate.

use std::path::Path;

use super::SDK;

/// Why a handler cannot have a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// The name is not a word that a file, a path and a crate can have.
    #[error(
        "`{found}` cannot be the name of a handler: wanted a lowercase letter, then lowercase letters, \
         digits and `_`, {NAME_BYTES_MAX} in all at most, such as `{}`",
        suggestion(found)
    )]
    NotAWord {
        /// The name.
        found: String,
    },
    /// The directory is that of the SDK.
    #[error(
        "`wsh` cannot be the directory of a handler: what handlers beside it are built with lies there; \
         choose another name, such as `wsh_wsh`"
    )]
    OfTheSdk,
}

/// The name of the handler in the directory `path`. The directory's name may end in `_wsh`.
pub(crate) fn name_of(path: &Path) -> Result<String, NameFault> {
    let last = path.file_name().unwrap_or(path.as_os_str());
    let last = last.to_string_lossy();
    if last == SDK {
        return Err(NameFault::OfTheSdk);
    }
    let name = last.strip_suffix("_wsh").unwrap_or(&last);
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(NameFault::NotAWord {
            found: name.to_owned(),
        })
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
}

/// The name that was probably meant.
fn suggestion(found: &str) -> String {
    let lowercase = found.to_ascii_lowercase();
    let name: String = lowercase
        .chars()
        .map(|char| {
            if char == '-' || char == ' ' {
                '_'
            } else {
                char
            }
        })
        .filter(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || *char == '_')
        .skip_while(|char| !char.is_ascii_lowercase())
        .take(NAME_BYTES_MAX)
        .collect();
    if is_name(&name) {
        name
    } else {
        "hello".to_owned()
    }
}

/// A plugin has 64 bytes for its name with `_wsh`, a zero byte at the end of them.
const NAME_BYTES_MAX: usize = 59;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path_is_the_name() {
        for (path, name) in [
            ("hello", "hello"),
            ("hello/", "hello"),
            ("handlers/hello_2", "hello_2"),
            ("/srv/echo_wsh", "echo"),
            // A keyword is a good name, since the crate is called `…_wsh`.
            ("async", "async"),
            ("std", "std"),
            ("wsh_wsh", "wsh"),
        ] {
            assert_eq!(name_of(Path::new(path)), Ok(name.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_one_that_is() {
        for (path, meant) in [
            ("mine/wsh", "`wsh_wsh`"),
            ("my-hello", "`my_hello`"),
            ("Hello", "`hello`"),
            ("2nd", "`nd`"),
            ("_wsh", "`hello`"),
            ("héllo", "`hllo`"),
            ("a b", "`a_b`"),
            ("", "`hello`"),
            (".", "`hello`"),
            ("..", "`hello`"),
            ("x.y", "`xy`"),
        ] {
            let fault = name_of(Path::new(path)).unwrap_err().to_string();
            assert!(fault.ends_with(meant), "{path}: {fault}");
        }
        assert_eq!(
            name_of(Path::new("handlers/my-hello"))
                .unwrap_err()
                .to_string(),
            "`my-hello` cannot be the name of a handler: wanted a lowercase letter, then lowercase \
             letters, digits and `_`, 59 in all at most, such as `my_hello`"
        );
        assert!(name_of(Path::new(&"x".repeat(59))).is_ok());
        assert!(name_of(Path::new(&"x".repeat(60))).is_err());
    }
}
