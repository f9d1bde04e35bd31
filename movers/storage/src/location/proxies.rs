//! Proxies between here and a store.

use url::Url;

use super::{Hidden, LocationError, Settings};

/// Who passes requests on. Without any it is those that the environment names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For addresses that begin with `http:`.
    pub(crate) http: Option<Hidden>,
    /// For addresses that begin with `https:`.
    pub(crate) https: Option<Hidden>,
    /// Hosts, domains and networks that are reached without one, separated by commas.
    pub(crate) except: Option<String>,
}

impl Proxies {
    /// Reads the keys that are named as the variables of most programs are.
    ///
    /// # Errors
    /// What cannot be used, and what to write instead.
    pub fn parse(settings: &Settings) -> Result<Self, LocationError> {
        let (http, https) = (address("HTTP_PROXY", settings)?, address("HTTPS_PROXY", settings)?);
        Ok(Self { http, https, except: settings.text("NO_PROXY")? })
    }
}

/// Most programs take an address without a scheme for one of HTTP.
fn address(key: &str, settings: &Settings) -> Result<Option<Hidden>, LocationError> {
    let Some(text) = settings.get(key)? else { return Ok(None) };
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(Hidden(text))),
        _ => Err(LocationError::new(key, "is no address of a proxy; write it as http://[USER:PASSWORD@]HOST:PORT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Proxies, String> {
        let settings = Settings::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Proxies::parse(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_proxy_is_an_address_of_http_with_or_without_saying_so() {
        assert_eq!(parse(&[]), Ok(Proxies::default()));
        for (text, address) in
            [("proxy:3128", "http://proxy:3128"), ("https://u:hush@[::1]:3128/", "https://u:hush@[::1]:3128/")]
        {
            let proxies = parse(&[("HTTPS_PROXY", text), ("NO_PROXY", ".svc,10.0.0.0/8\n")]).unwrap();
            assert_eq!(proxies.https.as_ref().map(Hidden::expose), Some(address));
            assert_eq!((proxies.http.as_ref(), proxies.except.as_deref()), (None, Some(".svc,10.0.0.0/8")));
            assert!(!format!("{proxies:?}").contains("hush"));
        }
        for text in ["socks5://hush:1080", "http://", "http://hush:port"] {
            let refused = parse(&[("HTTP_PROXY", text)]).unwrap_err();
            assert!(refused.starts_with("HTTP_PROXY: is no address") && !refused.contains("hush"), "{refused}");
        }
    }
}
