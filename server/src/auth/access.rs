//! The rules of who may have what, and the paths that they are for.

/// Who may have what lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every peer; what a request says of its user is not looked at.
    Open,
    /// Every user and every holder of a token.
    Required,
    /// The users and tokens of these names.
    Users(Vec<String>),
}

impl Access {
    /// Whether the user of this name may enter.
    pub(crate) fn admits(&self, user: &str) -> bool {
        match self {
            Access::Open | Access::Required => true,
            Access::Users(users) => users.iter().any(|listed| listed == user),
        }
    }
}

/// The rules for paths. The longest pattern that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathRules<R = Access>(Vec<PathRule<R>>);

/// A rule, and the paths that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathRule<R> {
    /// The path without slashes at its end. Of `/*` it is empty.
    path: String,
    /// Whether it is for everything below the path too.
    is_prefix: bool,
    rule: R,
}

/// Why a text is the pattern of no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternRefusal {
    NotOne,
    /// It means what the pattern of another rule means, which was added as so many-th.
    Duplicate {
        of: usize,
    },
}

impl<R> Default for PathRules<R> {
    fn default() -> PathRules<R> {
        PathRules(Vec::new())
    }
}

impl<R> PathRules<R> {
    /// Adds the rule of a pattern: a path, or `/chat/*` for `/chat` and all below it.
    ///
    /// # Errors
    ///
    /// It does not begin with `/`, has `*` in another place, or `?` or `#`; or it is the pattern of another rule.
    pub(crate) fn add(&mut self, pattern: &str, rule: R) -> Result<(), PatternRefusal> {
        let (path, is_prefix) = match pattern.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (pattern, false),
        };
        let begins = pattern.starts_with('/');
        if !begins || path.contains(['*', '?', '#']) || path.chars().any(char::is_control) {
            return Err(PatternRefusal::NotOne);
        }
        let path = plain(path);
        let is_of_both = |rule: &PathRule<R>| rule.path == path && rule.is_prefix == is_prefix;
        if let Some(of) = self.0.iter().position(is_of_both) {
            return Err(PatternRefusal::Duplicate { of });
        }
        self.0.push(PathRule {
            path,
            is_prefix,
            rule,
        });
        Ok(())
    }

    /// Each rule with its pattern, in the order added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, &R)> {
        self.0.iter().map(|rule| (rule.pattern(), &rule.rule))
    }

    /// The rule for a path, which is percent-decoded, and its pattern.
    pub(crate) fn find(&self, path: &str) -> Option<(String, &R)> {
        let longest = self.longest(path);
        longest.map(|rule| (rule.pattern(), &rule.rule))
    }

    fn longest(&self, path: &str) -> Option<&PathRule<R>> {
        if self.0.is_empty() {
            return None;
        }
        let path = plain(path);
        let matching = self.0.iter().filter(|rule| rule.matches(&path));
        // A path itself comes before all below it.
        matching.max_by_key(|rule| (rule.path.len(), !rule.is_prefix))
    }
}

impl PathRules<Access> {
    /// The rule for a path, which is percent-decoded. Without one the path is `Required`.
    pub(crate) fn access(&self, path: &str) -> &Access {
        self.longest(path)
            .map_or(&Access::Required, |rule| &rule.rule)
    }
}

impl<R> PathRule<R> {
    /// The pattern, without superfluous slashes.
    fn pattern(&self) -> String {
        match (&*self.path, self.is_prefix) {
            ("", false) => "/".to_owned(),
            (path, false) => path.to_owned(),
            (path, true) => format!("{path}/*"),
        }
    }

    fn matches(&self, path: &str) -> bool {
        match path.strip_prefix(&*self.path) {
            Some("") => true,
            Some(rest) => self.is_prefix && rest.starts_with('/'),
            None => false,
        }
    }
}

/// The path without superfluous slashes, which the lookup of a file passes over too. Otherwise `//admin` would
/// not be `/admin`.
fn plain(path: &str) -> String {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold(String::new(), |plain, name| plain + "/" + name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(user: &str) -> Access {
        Access::Users(vec![user.to_owned()])
    }

    #[test]
    fn the_longest_pattern_decides_and_a_slash_more_changes_nothing() {
        let mut rules: PathRules = PathRules::default();
        assert_eq!(rules.add("/public/*", Access::Open), Ok(()));
        assert_eq!(rules.add("/public/staff/*", only("ann")), Ok(()));
        assert_eq!(rules.add("/public/staff/menu.html", Access::Open), Ok(()));
        assert_eq!(rules.add("/x/*", only("below")), Ok(()));
        assert_eq!(rules.add("/x", only("itself")), Ok(()));

        for (path, expected) in [
            ("/", Access::Required),
            ("/publicly", Access::Required),
            ("/public", Access::Open),
            ("/public/", Access::Open),
            ("//public///a", Access::Open),
            ("/public/staff", only("ann")),
            ("/public/staff/", only("ann")),
            ("/public//staff/a", only("ann")),
            ("//public/staff/a", only("ann")),
            ("/public/staff/menu.html", Access::Open),
            ("/public/staff/menu.html/", Access::Open),
            ("/public/staff/menu.html/x", only("ann")),
            ("/public/staffing", Access::Open),
            ("/x", only("itself")),
            ("/x/y", only("below")),
        ] {
            assert_eq!(*rules.access(path), expected, "{path}");
        }
    }

    #[test]
    fn a_rule_for_all_paths_takes_the_place_of_the_default() {
        let mut rules: PathRules = PathRules::default();
        assert_eq!(*rules.access("/x"), Access::Required);
        assert_eq!(rules.add("/*", Access::Open), Ok(()));
        assert_eq!(*rules.access("/x"), Access::Open);
        assert_eq!(*rules.access("/"), Access::Open);
        assert_eq!(rules.add("/a", Access::Required), Ok(()));
        assert_eq!(*rules.access("/a/"), Access::Required);
        assert_eq!(rules.add("//b/*", Access::Required), Ok(()));
        let patterns: Vec<String> = rules.iter().map(|(pattern, _)| pattern).collect();
        assert_eq!(patterns, ["/*", "/a", "/b/*"]);
    }

    #[test]
    fn a_pattern_that_would_mean_something_else_than_it_says_is_none() {
        for pattern in ["", "a", "*", "a/*", "/a*", "/*/a", "/a?b", "/a#b", "/a\n"] {
            let added = PathRules::default().add(pattern, Access::Open);
            assert_eq!(added, Err(PatternRefusal::NotOne), "{pattern:?}");
        }
    }

    #[test]
    fn two_spellings_of_one_path_are_one_rule() {
        let mut rules: PathRules = PathRules::default();
        for (pattern, expected) in [
            ("/a", Ok(())),
            ("/a/*", Ok(())),
            ("/*", Ok(())),
            ("/", Ok(())),
            ("/a/", Err(PatternRefusal::Duplicate { of: 0 })),
            ("//a", Err(PatternRefusal::Duplicate { of: 0 })),
            ("//a//*", Err(PatternRefusal::Duplicate { of: 1 })),
            ("//*", Err(PatternRefusal::Duplicate { of: 2 })),
            ("//", Err(PatternRefusal::Duplicate { of: 3 })),
            ("/b", Ok(())),
        ] {
            assert_eq!(rules.add(pattern, Access::Open), expected, "{pattern}");
        }
    }

    #[test]
    fn a_list_admits_the_users_that_it_names() {
        assert!(Access::Required.admits("ann"));
        assert!(only("ann").admits("ann"));
        for other in ["bob", "", "Ann", "ann "] {
            assert!(!only("ann").admits(other), "{other:?}");
        }
    }
}
