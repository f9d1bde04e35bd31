//! What can go wrong: which object and field, whose turn it is, and the exit code that a script sees.

use std::fmt;

use kube::core::Status;

use crate::cluster::Scope;
use crate::object::Kind;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the kubeconfig: {0}; set KUBECONFIG or --kubeconfig to one that can be read")]
    Kubeconfig(String),
    #[error("there is no context {name:?} in the kubeconfig; it has {known}")]
    UnknownContext { name: String, known: String },
    #[error("cannot reach the API server of context {context:?}: {why}")]
    Unreachable { context: String, why: String },
    #[error(
        "the cluster of context {context:?} has no {kind}: neither Doppel nor VolSync is installed there; kubectl apply -k deploy/ installs Doppel"
    )]
    NotInstalled { context: String, kind: Kind },
    #[error("you may not {action} (context {context:?}): {why}; ask for that right, or use another context")]
    Forbidden { action: Action, context: String, why: String },
    #[error("the API server of context {context:?} does not know who you are: {why}; log in again")]
    Unauthorized { context: String, why: String },
    #[error("{0}")]
    Usage(String),
    #[error(
        "there is no namespace {namespace:?} (context {context:?}); kubectl --context {context} create namespace {namespace} makes one"
    )]
    NoNamespace { namespace: String, context: String },
    #[error("{object} is not this pair's: {why}")]
    NotOurs { object: String, why: String },
    #[error("there is no {what} {name:?} {scope} (context {context:?}); {remedy}")]
    NotFound { what: String, name: String, scope: Scope, context: String, remedy: String },
    #[error(
        "namespace {namespace:?} has both a ReplicationSource and a ReplicationDestination {name:?}; say which: --kind source or --kind destination"
    )]
    Ambiguous { namespace: String, name: String },
    #[error("{0} is paused, so nothing would run: set spec.paused to false first")]
    Paused(String),
    #[error("{0} is left to a provider outside of this operator (spec.external), which decides when to synchronize")]
    External(String),
    #[error("{object} was changed by somebody else again and again; try once more")]
    Busy { object: String },
    #[error("{object} was deleted meanwhile")]
    Deleted { object: String },
    #[error("{object}: the synchronization failed: {why}")]
    SyncFailed { object: String, why: String },
    #[error("{object}: {what} after {limit}; {now}")]
    TimedOut { object: String, what: &'static str, limit: String, now: String },
    #[error("interrupted: {0}")]
    Interrupted(String),
    #[error("{object}: {why}")]
    Refused { object: String, why: String },
    #[error("cannot {action} (context {context:?}): {why}")]
    Api { action: Action, context: String, why: String },
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

/// What the program exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// It could not be done.
    Failed = 1,
    /// What was typed cannot be carried out. clap exits with the same.
    Usage = 2,
    /// A synchronization failed.
    SyncFailed = 3,
    /// It was not done in time.
    TimedOut = 4,
    /// An object, or the whole API, is not there.
    NotFound = 5,
    /// The right to do it is missing.
    Forbidden = 6,
    /// An object of a needed name is somebody else's.
    NotOurs = 7,
    /// Ctrl-C, as shells report it.
    Interrupted = 130,
}

impl Error {
    /// The exit code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Kubeconfig(_)
            | Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::Refused { .. }
            | Self::Api { .. }
            | Self::Output(_) => Code::Failed,
            Self::UnknownContext { .. }
            | Self::Usage(_)
            | Self::Ambiguous { .. }
            | Self::Paused(_)
            | Self::External(_) => Code::Usage,
            Self::SyncFailed { .. } => Code::SyncFailed,
            Self::TimedOut { .. } => Code::TimedOut,
            Self::NotInstalled { .. } | Self::NotFound { .. } | Self::NoNamespace { .. } | Self::Deleted { .. } => {
                Code::NotFound
            }
            Self::NotOurs { .. } => Code::NotOurs,
            Self::Forbidden { .. } | Self::Unauthorized { .. } => Code::Forbidden,
            Self::Interrupted(_) => Code::Interrupted,
        }
    }

    /// What a failed call means to the person who asked for it.
    pub(crate) fn of_call(action: Action, context: &str, error: kube::Error) -> Self {
        let context = context.to_owned();
        match error {
            kube::Error::Api(status) => Self::of_status(action, context, &status),
            error @ (kube::Error::Service(_) | kube::Error::HyperError(_)) => {
                Self::Unreachable { context, why: root(&error) }
            }
            error @ kube::Error::Auth(_) => Self::Unauthorized { context, why: root(&error) },
            error => Self::Api { action, context, why: root(&error) },
        }
    }

    fn of_status(action: Action, context: String, status: &Status) -> Self {
        let why = crate::text::one_line(&status.message);
        match status.code {
            401 => Self::Unauthorized { context, why },
            403 => Self::Forbidden { action, context, why },
            404 => match action.what {
                // A list of nothing is empty, and an object that is missed is none to those who get it; only a kind that is not
                // served is not found.
                What::Replications(kind) if matches!(action.verb, "list" | "get") => {
                    Self::NotInstalled { context, kind }
                }
                What::Replications(_) | What::Other(_) => Self::Api { action, context, why },
            },
            _ => Self::Api { action, context, why },
        }
    }
}

/// What was being done, in words that follow "you may not" and "cannot".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    /// The verb.
    pub(crate) verb: &'static str,
    /// To what.
    pub(crate) what: What,
    /// Where.
    pub(crate) scope: Scope,
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Objects of one of the API's kinds.
    Replications(Kind),
    /// Objects of another kind, by its plural.
    Other(&'static str),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = match self.what {
            What::Replications(kind) => kind.plural(),
            What::Other(plural) => plural,
        };
        write!(f, "{} {plural} {}", self.verb, self.scope)
    }
}

/// The innermost cause: what is around it names layers of this program, not of the user's world.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    crate::text::one_line(&innermost.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Error {
        let status = Status { code, message: "said the\nserver".to_owned(), ..Status::default() };
        let what = What::Replications(Kind::Source);
        let action = Action { verb: "list", what, scope: Scope::Namespace("shop".to_owned()) };
        Error::of_call(action, "west", kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_name_that_nothing_has_is_said_with_where_it_was_looked_for() {
        for (scope, expected) in
            [(Scope::Namespace("shop".to_owned()), "in namespace \"shop\""), (Scope::Everywhere, "in all namespaces")]
        {
            let error = Error::NotFound {
                what: "ReplicationSource".to_owned(),
                name: "data".to_owned(),
                scope,
                context: "west".to_owned(),
                remedy: "see kubectl doppel status -A".to_owned(),
            };
            assert!(error.to_string().contains(&format!("\"data\" {expected} (context \"west\")")), "{error}");
            assert_eq!(error.code(), Code::NotFound);
        }
    }

    #[test]
    fn a_refusal_says_what_was_asked_where_and_what_to_do() {
        for (code, exit, expected) in [
            (
                401,
                Code::Forbidden,
                "the API server of context \"west\" does not know who you are: said the server; log in again",
            ),
            (
                403,
                Code::Forbidden,
                "you may not list replicationsources in namespace \"shop\" (context \"west\"): said the server; ask for that right, or use another context",
            ),
            (
                404,
                Code::NotFound,
                "the cluster of context \"west\" has no ReplicationSource: neither Doppel nor VolSync is installed there; kubectl apply -k deploy/ installs Doppel",
            ),
            (
                500,
                Code::Failed,
                "cannot list replicationsources in namespace \"shop\" (context \"west\"): said the server",
            ),
        ] {
            let error = refused(code);
            assert_eq!((error.code(), error.to_string().as_str()), (exit, expected));
        }
    }
}
