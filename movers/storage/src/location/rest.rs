//! `rest:` servers.

use url::Url;

use super::{Hidden, LocationError, Settings};

/// A server of restic's own protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The repository's address, without user and password, and with a slash at its end.
    pub url: Url,
    /// Who asks.
    pub user: Option<(String, Hidden)>,
}

const FORM: &str = "rest:https://HOST[:PORT]/[PATH/]";

impl Rest {
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        if place.starts_with("http+unix:") {
            return Err(LocationError::repository(format!("sockets of this machine cannot be reached; write {FORM}")));
        }
        if !place.starts_with("http://") && !place.starts_with("https://") {
            return Err(LocationError::repository(format!("has no http:// or https:// in it; write {FORM}")));
        }
        // The error of the parser does not repeat what it was given, which may hold a password.
        let mut url = Url::parse(place).map_err(|error| LocationError::repository(format!("{error}; write {FORM}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(LocationError::repository(format!("has a ? or # in it; write {FORM}")));
        }
        let typed = decode(url.username())?;
        let password = url.password().map(decode).transpose()?;
        // restic looks at the keys only where the address has neither.
        let user = if typed.is_empty() && password.is_none() {
            settings.pair("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD")?
        } else {
            Some((typed, Hidden(password.unwrap_or_default())))
        };
        // An address with a host always takes these.
        let _ = (url.set_username(""), url.set_password(None));
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self { url, user })
    }
}

fn decode(text: &str) -> Result<String, LocationError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| LocationError::repository("its user or password is not UTF-8 text"))
}
