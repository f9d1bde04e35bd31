//! PURE: where a pair's two ends are, from what was typed: `west/shop/data` and `east/shop`.
//!
//! A context may be named with slashes, as those of several clouds are; a namespace, a claim and an object may not.

use crate::args::Connection;
use crate::error::Error;

/// An end: a name in a namespace, seen through a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The current one where there is none.
    pub(super) context: Option<String>,
    /// The context's own where there is none.
    pub(super) namespace: Option<String>,
    /// Of a source its claim; of a destination the objects' name.
    pub(super) name: Option<String>,
}

/// `[[CONTEXT/]NAMESPACE/]PVC`; what is left out is as for all other commands.
pub(super) fn source(text: &str, connection: &Connection) -> Result<Place, Error> {
    let parts = parts(text, "SOURCE", "[[CONTEXT/]NAMESPACE/]PVC")?;
    let (context, namespace, name) = match parts.as_slice() {
        [name] => (None, None, *name),
        [namespace, name] => (None, Some(*namespace), *name),
        [context @ .., namespace, name] => (Some(context.join("/")), Some(*namespace), *name),
        [] => return Err(Error::Usage("SOURCE is empty".to_owned())),
    };
    Ok(Place {
        context: one("context", context, connection.context.as_ref())?,
        namespace: one("namespace", namespace.map(str::to_owned), connection.namespace.as_ref())?,
        name: Some(name.to_owned()),
    })
}

/// `CONTEXT/NAMESPACE[/NAME]`, one of these contexts.
pub(super) fn destination(text: &str, contexts: &[String]) -> Result<Place, Error> {
    const FORM: &str = "CONTEXT/NAMESPACE or CONTEXT/NAMESPACE/NAME";
    let parts = parts(text, "DESTINATION", FORM)?;
    let known = |parts: &[&str]| contexts.contains(&parts.join("/"));
    let place = |context: &[&str], namespace: &str, name: Option<&str>| Place {
        context: Some(context.join("/")),
        namespace: Some(namespace.to_owned()),
        name: name.map(str::to_owned),
    };
    let whole = match parts.as_slice() {
        [context @ .., namespace] if !context.is_empty() => Some((context, *namespace)),
        _ => None,
    };
    let named = match parts.as_slice() {
        [context @ .., namespace, name] if !context.is_empty() => Some((context, *namespace, *name)),
        _ => None,
    };
    match (whole, named) {
        (Some((long, _)), Some((short, ..))) if known(long) && known(short) => Err(Error::Usage(format!(
            "DESTINATION {text:?} may be of context {:?} or of {:?}: name the object, too, as {FORM} has it",
            long.join("/"),
            short.join("/")
        ))),
        (Some((context, namespace)), _) if known(context) => Ok(place(context, namespace, None)),
        // A context that nobody knows is refused by who looks for it.
        (_, Some((context, namespace, name))) => Ok(place(context, namespace, Some(name))),
        (Some((context, namespace)), None) => Ok(place(context, namespace, None)),
        (None, None) => Err(Error::Usage(format!("DESTINATION {text:?}: write {FORM}"))),
    }
}

fn parts<'a>(text: &'a str, which: &str, form: &str) -> Result<Vec<&'a str>, Error> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(Error::Usage(format!("{which} {text:?}: write {form}")));
    }
    Ok(parts)
}

/// What was said twice must be the same.
fn one(what: &str, inline: Option<String>, flag: Option<&String>) -> Result<Option<String>, Error> {
    match (inline, flag) {
        (Some(inline), Some(flag)) if inline != *flag => {
            Err(Error::Usage(format!("SOURCE names {what} {inline:?}, and --{what} names {flag:?}: leave out one")))
        }
        (inline, flag) => Ok(inline.or_else(|| flag.cloned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(context: Option<&str>, namespace: Option<&str>, name: Option<&str>) -> Place {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Place { context: owned(context), namespace: owned(namespace), name: owned(name) }
    }

    fn connection(context: Option<&str>, namespace: Option<&str>) -> Connection {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Connection { kubeconfig: None, context: owned(context), namespace: owned(namespace) }
    }

    #[test]
    fn what_a_source_leaves_out_is_as_for_other_commands() {
        let none = connection(None, None);
        assert_eq!(source("data", &none).unwrap(), place(None, None, Some("data")));
        assert_eq!(source("shop/data", &none).unwrap(), place(None, Some("shop"), Some("data")));
        assert_eq!(source("west/shop/data", &none).unwrap(), place(Some("west"), Some("shop"), Some("data")));
        let flags = connection(Some("west"), Some("shop"));
        assert_eq!(source("data", &flags).unwrap(), place(Some("west"), Some("shop"), Some("data")));
        assert_eq!(source("west/shop/data", &flags).unwrap(), place(Some("west"), Some("shop"), Some("data")));
    }

    #[test]
    fn a_source_that_is_said_twice_and_differently_is_refused() {
        for (context, namespace, says) in [(Some("east"), None, "--context"), (None, Some("bar"), "--namespace")] {
            let error = source("west/shop/data", &connection(context, namespace)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_context_may_have_slashes_in_its_name() {
        let cloud = "arn:aws:eks:eu-central-1:1234:cluster/west".to_owned();
        let text = format!("{cloud}/shop/data");
        assert_eq!(source(&text, &connection(None, None)).unwrap(), place(Some(&cloud), Some("shop"), Some("data")));
        let known = [cloud.clone(), "east".to_owned()];
        assert_eq!(destination(&text, &known).unwrap(), place(Some(&cloud), Some("shop"), Some("data")));
        assert_eq!(destination(&format!("{cloud}/shop"), &known).unwrap(), place(Some(&cloud), Some("shop"), None));
        assert_eq!(destination("east/shop", &known).unwrap(), place(Some("east"), Some("shop"), None));
    }

    #[test]
    fn what_may_mean_two_contexts_is_asked_about() {
        let known = ["a".to_owned(), "a/b".to_owned()];
        let error = destination("a/b/c", &known).unwrap_err();
        assert!(error.to_string().contains("context \"a/b\" or of \"a\""), "{error}");
        assert_eq!(destination("a/b/c/d", &known).unwrap(), place(Some("a/b"), Some("c"), Some("d")));
    }

    #[test]
    fn what_is_no_place_is_refused_with_its_form() {
        for text in ["", "/", "a//b", "a/b/"] {
            assert!(source(text, &connection(None, None)).is_err(), "{text}");
            assert!(destination(text, &["a".to_owned()]).is_err(), "{text}");
        }
        let error = destination("shop", &["a".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("CONTEXT/NAMESPACE/NAME"), "{error}");
    }
}
