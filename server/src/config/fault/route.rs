//! Why a route of `[routes]` or of a map file cannot be one.

use std::fmt;

use super::did_you_mean;
use crate::config::source::Place;

/// Why a route cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteFault {
    /// The route does not begin with `/`.
    NoSlash,
    /// The route has a query or a fragment, which is no part of a path.
    NotOnlyAPath,
    /// An unclosed brace, or a parameter without a name.
    Parameter,
    /// Two parameters between the same slashes.
    TwoParameters,
    /// A parameter whose name has other characters than letters, digits and `_`.
    ParameterName {
        /// As written.
        name: String,
    },
    /// Two parameters of one name.
    SameParameter {
        /// The name.
        name: String,
    },
    /// A `*` outside of a parameter. Other servers match anything with it.
    Star,
    /// The route is percent-encoded, while paths are compared decoded.
    Encoded {
        /// The decoded route, if it is text.
        meant: Option<String>,
    },
    /// A control character, which no path has.
    Control,
    /// A path that clients normalise to another one before they ask.
    NeverAsked {
        /// The normalised path.
        meant: String,
    },
    /// The route is `/.wshd` or below it, where the server's own documents are.
    TheServersOwn,
    /// A catch-all such as `{*rest}` before the end of the route.
    CatchAll,
    /// Parameters as other servers write them.
    OtherSyntax {
        /// The route as it is written here.
        meant: String,
    },
    /// Another route would answer the same paths.
    Conflict {
        /// The other route.
        with: String,
        /// Where the other route is written.
        place: Option<Place>,
    },
}

impl RouteFault {
    /// Writes the sentence that names the route and says why it cannot be one.
    pub(super) fn tell(&self, route: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteFault::NoSlash => write!(
                f,
                "a route begins with `/`, found `{route}`; did you mean `/{route}`?"
            ),
            RouteFault::NotOnlyAPath => {
                write!(
                    f,
                    "route `{route}` has a query or a fragment; a route is a path only"
                )
            }
            RouteFault::Parameter => write!(
                f,
                "route `{route}` wants parameters like `{{name}}`, and `{{{{` or `}}}}` for a brace of its own"
            ),
            RouteFault::TwoParameters => {
                write!(
                    f,
                    "route `{route}` has two parameters in one segment; there can be one between two slashes"
                )
            }
            RouteFault::ParameterName { name } => write!(
                f,
                "route `{route}` has a parameter `{name}`; a parameter's name has letters, digits and `_`, and says nothing of what it matches"
            ),
            RouteFault::SameParameter { name } => write!(
                f,
                "route `{route}` has two parameters `{name}`; each has a name of its own"
            ),
            RouteFault::Star => write!(
                f,
                "route `{route}` has a `*`, which stands for nothing here; a parameter is `{{name}}`, and `{{*rest}}` is the rest of the path"
            ),
            RouteFault::Encoded { meant } => {
                write!(
                    f,
                    "route `{route}` is percent-encoded; paths are compared when they are decoded"
                )?;
                did_you_mean(f, meant.as_deref())
            }
            RouteFault::Control => write!(
                f,
                "route `{}` has a control character, which a path has not",
                route.escape_debug()
            ),
            RouteFault::NeverAsked { meant } => write!(
                f,
                "route `{route}` is never asked for, clients make `{meant}` of it; did you mean `{meant}`?"
            ),
            RouteFault::TheServersOwn => write!(
                f,
                "route `{route}` is a path of the server's own; none at or below `/.wshd` leads to a handler"
            ),
            RouteFault::CatchAll => {
                write!(
                    f,
                    "route `{route}` has a catch-all like `{{*rest}}` before its end"
                )
            }
            RouteFault::OtherSyntax { meant } => write!(
                f,
                "route `{route}` wants parameters like `{{name}}`, or `{{*rest}}` for the rest of the path; did you mean `{meant}`?"
            ),
            RouteFault::Conflict { with, place } => {
                write!(f, "route `{route}` answers the same paths as `{with}`")?;
                match place {
                    Some(place) => write!(f, " at {place}"),
                    None => Ok(()),
                }
            }
        }
    }
}
