//! A real S3 that pods reach: SeaweedFS on the bridge that joins the clusters and this machine.

use std::fs;
use std::sync::OnceLock;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub(super) use self::peers::{ID, SECRET};
use self::port::free_port;
pub(super) use self::proxy::{Fault, Proxy};
use super::clusters::until;

#[allow(dead_code, unreachable_pub, reason = "the tests of stores use all of it")]
#[path = "../../movers/storage/tests/support/peers.rs"]
mod peers;
#[path = "../../movers/transport/tests/support/port.rs"]
mod port;
#[allow(dead_code, unreachable_pub, reason = "the tests of stores use all of it")]
#[path = "../../movers/storage/tests/support/proxy.rs"]
mod proxy;

/// This machine, for every pod: see `tests/cluster/README.md`.
pub(super) const HOST: &str = "198.18.0.1";

/// The server, at one port in the clear and at another with TLS.
pub(super) struct Store {
    server: peers::Seaweed,
    secure: u16,
    /// The certificate of the authority that vouches for it, in PEM. Nobody trusts that one unless told to.
    pub(super) authority: String,
}

impl Store {
    /// The one of this run. The clusters have to be up: their bridge has the address.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Store> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let secure = free_port();
        let server = peers::Seaweed::start_at(HOST, |folder| {
            fs::write(folder.join("server.crt"), certificate.pem()).unwrap();
            fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
            let port = format!("-s3.port.https={secure}");
            vec![port, "-s3.cert.file=server.crt".to_owned(), "-s3.key.file=server.key".to_owned()]
        });
        Self { server, secure, authority: authority.pem() }
    }

    /// `RESTIC_REPOSITORY` of a repository in a bucket.
    pub(super) fn repository(&self, path: &str) -> String {
        self.server.repository(path)
    }

    /// Someone in between, whom movers take for the server, or reach it through.
    pub(super) fn proxy(&self) -> Proxy {
        Proxy::start_at(HOST, self.server.port)
    }

    /// The same with TLS.
    pub(super) fn secure_repository(&self, path: &str) -> String {
        format!("s3:https://{HOST}:{}/{path}", self.secure)
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, 60, || if condition() { Ok(()) } else { Err("not yet".to_owned()) });
}
