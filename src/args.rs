//! What was typed, and what the program uses of it.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::model::pod::MoverImage;
use crate::telemetry::certificate::Source;
use crate::telemetry::scrape::{Readers, ScrapeSettings};

/// Keeps a double of every volume: replicates PersistentVolumeClaims, serving the VolSync API.
#[derive(Debug, Parser)]
#[command(name = "doppel", version, about)]
pub struct Typed {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `doppel` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Operator(Box<OperatorArgs>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
}

/// How the operator runs. Each flag can be given as an environment variable.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// Image of the movers: the one that holds /doppel-mover.
    #[arg(long, env = "MOVER_IMAGE")]
    pub mover_image: String,
    /// Secrets of the operator's namespace with which the movers' image is pulled, separated by commas. Each is copied to
    /// where movers run; not for movers with a ServiceAccount of the user's.
    #[arg(long, env = "MOVER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub mover_image_pull_secrets: Vec<String>,
    /// Namespace of the operator's own Lease, and of its Secrets.
    #[arg(long, env = "POD_NAMESPACE", default_value = "doppel-system")]
    pub namespace: String,
    /// Name under which this instance holds the Lease.
    #[arg(long, env = "POD_NAME", default_value = "doppel")]
    pub identity: String,
    /// Whether to wait for the Lease before acting. Without it only one instance may run.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Address of /healthz and /readyz, which are plain HTTP; ":8081" is that port of every address.
    #[arg(long, env = "HEALTH_PROBE_BIND_ADDRESS", default_value = ":8081", value_parser = address)]
    pub health_probe_bind_address: SocketAddr,
    /// Address of /metrics; ":8443" is that port of every address, "0" serves no metrics.
    #[arg(long, env = "METRICS_BIND_ADDRESS", default_value = ":8443", value_parser = bind_address)]
    pub metrics_bind_address: BindAddress,
    /// Whether metrics are served by HTTPS. Without --metrics-cert-path under a certificate that is made at each start and that
    /// nobody has signed.
    #[arg(long, env = "METRICS_SECURE", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub metrics_secure: bool,
    /// Whether metrics are only for those whom RBAC lets "get" the path /metrics, as the ClusterRole doppel-metrics-reader does.
    /// They show a bearer token, which has to be hidden by HTTPS.
    #[arg(long, env = "METRICS_REQUIRE_RBAC", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub metrics_require_rbac: bool,
    /// Directory with the certificate of the metrics and its key, as PEM files; a Secret of type kubernetes.io/tls can be
    /// mounted there. They are read again every minute.
    #[arg(long, env = "METRICS_CERT_PATH", default_value = "", hide_default_value = true)]
    pub metrics_cert_path: String,
    /// Name of the certificate's file.
    #[arg(long, env = "METRICS_CERT_NAME", default_value = "tls.crt")]
    pub metrics_cert_name: String,
    /// Name of the key's file.
    #[arg(long, env = "METRICS_CERT_KEY", default_value = "tls.key")]
    pub metrics_cert_key: String,
    /// Which log lines to write, as tracing-subscriber's EnvFilter reads it.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// Where to listen, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindAddress {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

fn bind_address(text: &str) -> Result<BindAddress, String> {
    if text == "0" { Ok(BindAddress::Off) } else { address(text).map(BindAddress::At) }
}

/// An address with its port; as in Go, none before the port is every address.
fn address(text: &str) -> Result<SocketAddr, String> {
    let every = |port: &str| Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.parse().ok()?)));
    let read = text.strip_prefix(':').map_or_else(|| text.parse().ok(), every);
    read.ok_or_else(|| "write it as 192.0.2.1:8443, [2001:db8::1]:8443 or :8443".to_owned())
}

impl OperatorArgs {
    /// How scrapes are answered, if they are.
    #[must_use]
    pub fn scrapes(&self) -> Option<ScrapeSettings> {
        let BindAddress::At(address) = self.metrics_bind_address else {
            return None;
        };
        let certificate = self.metrics_secure.then(|| self.certificate());
        let readers = if self.metrics_require_rbac { Readers::ByRbac } else { Readers::Everybody };
        Some(ScrapeSettings { address, certificate, readers })
    }

    fn certificate(&self) -> Source {
        // As in VolSync, an empty path is none.
        if self.metrics_cert_path.is_empty() {
            return Source::SelfSigned(vec![format!("doppel-metrics.{}.svc", self.namespace), "localhost".to_owned()]);
        }
        let folder = PathBuf::from(&self.metrics_cert_path);
        Source::Files { certificate: folder.join(&self.metrics_cert_name), key: folder.join(&self.metrics_cert_key) }
    }

    /// The image that movers are started from.
    #[must_use]
    pub fn image(&self) -> MoverImage {
        let names = self.mover_image_pull_secrets.iter().map(|name| name.trim());
        MoverImage {
            reference: self.mover_image.clone(),
            namespace: self.namespace.clone(),
            // An empty list is one empty word.
            pull_secrets: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<OperatorArgs, clap::Error> {
        let typed = Typed::try_parse_from([&["doppel", "operator", "--mover-image", "m"], flags].concat())?;
        match typed.command {
            Command::Operator(args) => Ok(*args),
            Command::Crds => panic!("not the operator"),
        }
    }

    fn scrapes(flags: &[&str]) -> Option<ScrapeSettings> {
        parse(flags).unwrap().scrapes()
    }

    #[test]
    fn metrics_are_secure_and_for_readers_only_unless_somebody_says_otherwise() {
        let settings = scrapes(&[]).unwrap();
        assert_eq!((settings.address.to_string().as_str(), settings.readers), ("[::]:8443", Readers::ByRbac));
        let names = vec!["doppel-metrics.doppel-system.svc".to_owned(), "localhost".to_owned()];
        assert_eq!(settings.certificate, Some(Source::SelfSigned(names)));
        let open = scrapes(&["--metrics-secure=false", "--metrics-require-rbac=false"]).unwrap();
        assert_eq!((open.certificate, open.readers), (None, Readers::Everybody));
        assert_eq!(scrapes(&["--metrics-secure", "--metrics-require-rbac"]).unwrap(), settings, "as Go reads them");
    }

    #[test]
    fn a_mounted_certificate_is_read_where_the_flags_say() {
        let at = |flags: &[&str]| scrapes(flags).unwrap().certificate.unwrap();
        let files = |certificate: &str, key: &str| Source::Files { certificate: certificate.into(), key: key.into() };
        assert_eq!(at(&["--metrics-cert-path", "/certs"]), files("/certs/tls.crt", "/certs/tls.key"));
        assert!(matches!(at(&["--metrics-cert-path="]), Source::SelfSigned(_)));
        let named = ["--metrics-cert-path=/c", "--metrics-cert-name=a.pem", "--metrics-cert-key=b.pem"];
        assert_eq!(at(&named), files("/c/a.pem", "/c/b.pem"));
    }

    #[test]
    fn addresses_are_written_as_for_volsync() {
        let at = |text: &str| bind_address(text).map(|address| format!("{address:?}"));
        for (text, expected) in [
            (":8443", "At([::]:8443)"),
            ("127.0.0.1:8080", "At(127.0.0.1:8080)"),
            ("[::1]:8443", "At([::1]:8443)"),
            ("0", "Off"),
        ] {
            assert_eq!(at(text).unwrap(), expected);
        }
        for wrong in ["", "8443", ":", ":65536", "localhost:8443", "00"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
        assert_eq!(scrapes(&["--metrics-bind-address", "0"]), None);
    }
}
