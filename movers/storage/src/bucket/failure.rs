//! What an error of OpenDAL means.

use opendal::ErrorKind;

use crate::Kind;
use crate::remote::Failed;

/// Longer answers of a service are cut: some send pages for browsers.
const LONGEST: usize = 200;

/// The failure that an error is. Only its message is kept: what is around it holds addresses, and Azure's have signatures in them.
#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
pub(super) fn failed(error: opendal::Error) -> Failed {
    let (code, mut why) = said(error.message());
    // What has arrived is not what was sent: it can be sent again.
    let damaged = matches!(code.as_deref(), Some("BadDigest" | "IncompleteBody" | "InvalidDigest"));
    let kind = match (error.kind(), code.as_deref()) {
        _ if damaged => Kind::Unreachable,
        (_, Some("NoSuchBucket" | "ContainerNotFound")) => Kind::NotFound,
        (_, Some("AuthorizationHeaderMalformed")) => {
            why.push_str("; write the bucket's region to AWS_DEFAULT_REGION");
            Kind::Settings
        }
        (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken")) => Kind::Denied,
        (_, Some("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage")) => Kind::Full,
        (ErrorKind::NotFound, _) => Kind::NotFound,
        (ErrorKind::PermissionDenied, _) => Kind::Denied,
        (ErrorKind::ConfigInvalid, _) => Kind::Settings,
        _ if error.message().contains("credential") || error.message().contains("sign") => {
            // The sources of such an error are the places where credentials were looked for.
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            why = cut(&format!("no credentials were found: {source}"));
            Kind::Settings
        }
        (ErrorKind::RateLimited, _) => Kind::Unreachable,
        _ if error.is_temporary() => Kind::Unreachable,
        _ => Kind::Other,
    };
    Failed { kind, passing: kind == Kind::Unreachable, why }
}

/// The code of a service's answer, and what it says. OpenDAL has an answer that it could read as the debug text of a struct with
/// the fields `code` and `message`.
fn said(message: &str) -> (Option<String>, String) {
    let field = |name: &str| {
        let (_, rest) = message.split_once(&format!("{name}: \""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    match (field("code"), field("message")) {
        (Some(code), Some(text)) if !code.is_empty() => {
            let text = cut(&text);
            let why = if text.is_empty() { code.clone() } else { format!("{code}: {text}") };
            (Some(code), why)
        }
        _ => (None, cut(message)),
    }
}

fn cut(text: &str) -> String {
    let text = text.trim();
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_kept_and_where_it_was_asked_is_not() {
        for (kind, temporary, message, expected) in [
            (
                ErrorKind::ConfigInvalid,
                false,
                r#"S3Error { code: "NoSuchBucket", message: "none", resource: "/b" }"#,
                Kind::NotFound,
            ),
            (
                ErrorKind::PermissionDenied,
                false,
                r#"S3Error { code: "InvalidAccessKeyId", message: "who?" }"#,
                Kind::Denied,
            ),
            (ErrorKind::Unexpected, true, "<html>busy</html>", Kind::Unreachable),
            (ErrorKind::Unexpected, false, "strange", Kind::Other),
            (ErrorKind::ConfigInvalid, false, "its certificate is not trusted", Kind::Settings),
        ] {
            let error =
                opendal::Error::new(kind, message).with_context("uri", "https://h/?sig=hush").with_temporary(temporary);
            let failed = failed(error);
            assert_eq!((failed.kind, failed.passing), (expected, temporary), "{message}");
            assert!(!failed.why.contains("hush"), "{}", failed.why);
        }
        assert_eq!(said(r#"E { code: "Busy", message: "" }"#).1, "Busy");
        assert_eq!(cut(&"\u{e9}".repeat(200)).len(), LONGEST + 3);
    }
}
