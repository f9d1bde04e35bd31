//! What was typed, and what the program uses of it.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;

use crate::model::pod::MoverImage;
use crate::model::policy::{Deadlines, Jitter, Policy};
use crate::model::queue::Limits;
use crate::model::schedule::parse_every;
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
    /// Proxy through which movers reach stores by HTTP, where the repository's Secret has no such keys. Addresses may hold a password.
    #[arg(long, env = "HTTP_PROXY", hide_env_values = true)]
    pub http_proxy: Option<String>,
    /// The same by HTTPS.
    #[arg(long, env = "HTTPS_PROXY", hide_env_values = true)]
    pub https_proxy: Option<String>,
    /// Hosts, domains and networks that they reach without a proxy, separated by commas.
    #[arg(long, env = "NO_PROXY", hide_env_values = true)]
    pub no_proxy: Option<String>,
    /// Most synchronizations under way at the same time: making their copy, or with a mover that starts or runs; 0: as many as
    /// there are. The others wait, restores before all others, namespaces by turns. A destination that listens does not count.
    #[arg(long, env = "MAX_SYNCS", default_value_t = 0)]
    pub max_syncs: u32,
    /// The same for each namespace.
    #[arg(long, env = "MAX_SYNCS_PER_NAMESPACE", default_value_t = 0)]
    pub max_syncs_per_namespace: u32,
    /// The same for each node, for movers that have to run beside a pod that uses their volume. The scheduler chooses the node of
    /// all others: they count, and do not wait.
    #[arg(long, env = "MAX_SYNCS_PER_NODE", default_value_t = 0)]
    pub max_syncs_per_node: u32,
    /// The same for each StorageClass, of the volumes that are copied.
    #[arg(long, env = "MAX_SYNCS_PER_STORAGE_CLASS", default_value_t = 0)]
    pub max_syncs_per_storage_class: u32,
    /// Longest time until a mover's pod runs, such as 1h30m or 90s. After it the attempt has failed, and the next one follows as after
    /// any failure; a copy that is not ready by then is waited for without a place. 0: there is no such time.
    #[arg(long, env = "START_DEADLINE", default_value = "1h", value_parser = start_deadline)]
    pub start_deadline: StartDeadline,
    /// Longest time that one attempt of a mover may run; the next one goes on with what is not there yet. Movers that run when
    /// this is changed are started anew.
    #[arg(long, env = "RUN_DEADLINE", default_value = "24h", value_parser = run_deadline)]
    pub run_deadline: NonZeroU64,
    /// Spreads schedules: each object fires late by a part of the time until its schedule fires again, of its own and always the
    /// same, at most this many hundredths (0 to 50). status.nextSyncTime shows when.
    #[arg(long, env = "SCHEDULE_JITTER_PERCENT", default_value = "0", value_parser = jitter)]
    pub schedule_jitter_percent: Jitter,
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

/// A time, or none: clap takes a plain Option for a flag that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartDeadline(Option<SignedDuration>);

fn start_deadline(text: &str) -> Result<StartDeadline, String> {
    if text == "0" {
        return Ok(StartDeadline(None));
    }
    let seconds = i64::try_from(run_deadline(text)?.get()).map_err(|_| NO_DURATION.to_owned())?;
    Ok(StartDeadline(Some(SignedDuration::from_secs(seconds))))
}

fn run_deadline(text: &str) -> Result<NonZeroU64, String> {
    let duration = parse_every(text).map_err(|_| NO_DURATION.to_owned())?;
    NonZeroU64::new(duration.as_secs()).ok_or_else(|| NO_DURATION.to_owned())
}

const NO_DURATION: &str = "write a time of at least one second as 1h30m or 90s";

fn jitter(text: &str) -> Result<Jitter, String> {
    let percent = text.parse().ok().and_then(Jitter::new);
    percent.ok_or_else(|| format!("write a whole number from 0 to {}", Jitter::MOST))
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

    /// What synchronizations are held to.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let limits = Limits {
            cluster: NonZeroU32::new(self.max_syncs),
            namespace: NonZeroU32::new(self.max_syncs_per_namespace),
            node: NonZeroU32::new(self.max_syncs_per_node),
            storage_class: NonZeroU32::new(self.max_syncs_per_storage_class),
        };
        let deadlines = Deadlines { start: self.start_deadline.0, run: self.run_deadline };
        Policy { limits, deadlines, jitter: self.schedule_jitter_percent }
    }

    /// The image that movers are started from.
    #[must_use]
    pub fn image(&self) -> MoverImage {
        let names = self.mover_image_pull_secrets.iter().map(|name| name.trim());
        let proxies =
            [("HTTP_PROXY", &self.http_proxy), ("HTTPS_PROXY", &self.https_proxy), ("NO_PROXY", &self.no_proxy)];
        let proxies = proxies.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        MoverImage {
            reference: self.mover_image.clone(),
            namespace: self.namespace.clone(),
            // An empty list is one empty word.
            pull_secrets: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            proxies: proxies.filter(|(_, value)| !value.is_empty()).collect(),
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
    fn nothing_is_limited_or_spread_unless_somebody_says_so() {
        let policy = |flags: &[&str]| parse(flags).unwrap().policy();
        assert_eq!(policy(&[]), Policy::default());
        assert_eq!((policy(&[]).limits.are_none(), policy(&[]).jitter.of("any")), (true, 0));
        let flags = ["--max-syncs=9", "--max-syncs-per-namespace=3", "--max-syncs-per-node=2"];
        let limits = policy(&[&flags[..], &["--max-syncs-per-storage-class=4"]].concat()).limits;
        let [cluster, namespace, node, storage_class] = [9, 3, 2, 4].map(NonZeroU32::new);
        assert_eq!(limits, Limits { cluster, namespace, node, storage_class });
        assert!(parse(&["--max-syncs=-1"]).is_err());
    }

    #[test]
    fn deadlines_are_written_as_go_writes_durations() {
        let deadlines = |flags: &[&str]| parse(flags).map(|args| args.policy().deadlines);
        let minutes = |minutes| Some(SignedDuration::from_mins(minutes));
        assert_eq!(deadlines(&["--start-deadline=1h30m"]).unwrap().start, minutes(90));
        assert_eq!(deadlines(&["--start-deadline=0"]).unwrap().start, None);
        assert_eq!(deadlines(&["--run-deadline=90s"]).unwrap().run.get(), 90);
        for wrong in
            ["--run-deadline=0", "--run-deadline=1", "--start-deadline=", "--start-deadline=-1s", "--start-deadline=1d"]
        {
            assert!(deadlines(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_schedule_is_spread_by_half_a_period_at_most() {
        let late =
            |percent: &str, uid: &str| parse(&["--schedule-jitter-percent", percent]).unwrap().policy().jitter.of(uid);
        assert!(parse(&["--schedule-jitter-percent=51"]).is_err());
        let of: Vec<_> = (0..1000).map(|uid: u32| late("50", &uid.to_string())).collect();
        assert!(of.iter().all(|part| *part < 500_000));
        assert_eq!(late("50", "7"), of[7], "always the same");
        // Evenly: each tenth of the range has about its tenth of the objects.
        for tenth in 0..10 {
            let range = tenth * 50_000..(tenth + 1) * 50_000;
            let count = of.iter().filter(|part| range.contains(*part)).count();
            assert!((50..150).contains(&count), "{count} of 1000 in {range:?}");
        }
    }

    #[test]
    fn movers_are_told_of_the_proxies_that_there_are() {
        let proxies = |flags: &[&str]| parse(flags).unwrap().image().proxies;
        let given = ["--https-proxy=http://proxy:3128", "--no-proxy=.svc", "--http-proxy="];
        let told = [("HTTPS_PROXY", "http://proxy:3128".to_owned()), ("NO_PROXY", ".svc".to_owned())];
        assert_eq!(proxies(&given), told);
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
