//! Where a peer is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use doppel_contract::Line;

/// A host and a port. Valid by construction, though nobody knows yet whether the name exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: NonZeroU16,
}

/// A host that cannot be one. The user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address {host}: {rule}")]
pub struct AddressError {
    host: Line,
    rule: &'static str,
}

impl Address {
    /// RFC 1035 section 2.3.4, and what TLS can carry as a server name.
    const LONGEST_HOST: usize = 253;

    /// The host may be a name, an IPv4 or an IPv6 address, the last with or without brackets.
    ///
    /// # Errors
    /// When it is none of these; the message names the rule.
    pub fn new(host: &str, port: NonZeroU16) -> Result<Self, AddressError> {
        let refuse = |rule| Err(AddressError { host: Line::new(format!("{host:?}")), rule });
        let bare = match host.strip_prefix('[') {
            Some(rest) => match rest.strip_suffix(']') {
                Some(bare) if is_ipv6(bare) => bare,
                Some(_) | None => {
                    return refuse("brackets belong around an IPv6 address, and nothing belongs behind them");
                }
            },
            None => host,
        };
        if bare.is_empty() {
            return refuse("is empty; give a host name or an IP address");
        }
        if bare.contains("://") {
            return refuse("is a URL; give the host name or the IP address alone");
        }
        if bare.contains(':') && !is_ipv6(bare) {
            return refuse("is no IPv6 address; a port is given separately");
        }
        if bare.len() > Self::LONGEST_HOST {
            return refuse("is longer than 253 bytes");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if !bare.chars().all(allowed) {
            return refuse("has a character that no host name has; letters, digits, '-', '.' and '_' are allowed");
        }
        Ok(Self { host: bare.to_owned(), port })
    }

    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> NonZeroU16 {
        self.port
    }

    /// The server name of the TLS handshake: stunnel sends the host it was given, also where that is an IP address. An
    /// IPv6 zone means nothing to a peer.
    pub(crate) fn server_name(&self) -> &str {
        self.host.split_once('%').map_or(self.host.as_str(), |(address, _)| address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// An IPv6 address, perhaps with a zone (`fe80::1%eth0`).
fn is_ipv6(host: &str) -> bool {
    let address = match host.split_once('%') {
        Some((_, "")) => return false,
        Some((address, _)) => address,
        None => host,
    };
    address.parse::<Ipv6Addr>().is_ok()
}

/// Whether the host is an address already, so that no name has to be looked up.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str) -> Result<String, String> {
        Address::new(host, NonZeroU16::new(8000).unwrap())
            .map(|address| address.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_addresses_are_hosts() {
        for (host, shown) in [
            ("example.org", "example.org:8000"),
            ("volsync-rsync-tls-dst-a.ns.svc", "volsync-rsync-tls-dst-a.ns.svc:8000"),
            ("under_score", "under_score:8000"),
            ("10.0.0.1", "10.0.0.1:8000"),
            ("::1", "[::1]:8000"),
            ("[fd00::2]", "[fd00::2]:8000"),
            ("fe80::1%eth0", "[fe80::1%eth0]:8000"),
        ] {
            assert_eq!(address(host).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_rule() {
        for (host, rule) in [
            ("", "is empty"),
            ("host:8000", "a port is given separately"),
            ("10.0.0.1:8000", "a port is given separately"),
            ("[::1]:8000", "nothing belongs behind them"),
            ("[host]", "brackets belong around an IPv6 address"),
            ("fe80::1%", "is no IPv6 address"),
            ("https://host", "is a URL"),
            ("a b", "has a character"),
            ("a\nb", "has a character"),
            ("$(id)", "has a character"),
            (&"a".repeat(254), "longer than 253"),
        ] {
            let error = address(host).unwrap_err();
            assert!(error.starts_with("address ") && error.contains(rule), "{host:?}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn the_server_name_of_an_ipv6_address_has_no_zone() {
        let port = NonZeroU16::new(1).unwrap();
        assert_eq!(Address::new("fe80::1%eth0", port).unwrap().server_name(), "fe80::1");
    }
}
