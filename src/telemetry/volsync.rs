//! A VolSync that runs beside Doppel, known by its Lease. Both act on the same objects, so Doppel waits until it is gone.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep};

/// The Lease of every VolSync; the operator's ClusterRole names it too. Its namespace is whichever VolSync was put in.
const NAME: &str = "b95b3104.backube";
/// VolSync's own term, should its Lease not say one.
const TERM: Duration = Duration::from_secs(137);
/// A Lease of this age was left by a VolSync that was killed long ago. No two clocks of a cluster differ by so much.
const LEFT_BEHIND: SignedDuration = SignedDuration::from_hours(1);
/// Between two looks while waiting for its end: it gives its Lease up when it ends.
const WAITING_PERIOD: Duration = Duration::from_secs(2);
/// Between two looks for one that begins. VolSync takes 26 s and more for its first renewal.
const WORKING_PERIOD: Duration = Duration::from_secs(15);

/// A running VolSync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Where its Lease is.
    pub namespace: String,
    /// Who holds it: its pod, in most cases.
    pub holder: String,
}

impl std::fmt::Display for Neighbour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, holder } = self;
        write!(f, "VolSync runs in namespace {namespace:?} (Lease {NAME:?}, held by {holder:?})")
    }
}

/// Looks for VolSync.
pub struct VolSync {
    leases: Api<Lease>,
    known: Known,
}

/// Leases by their namespaces, and when each was first seen like this.
type Known = HashMap<String, (LeaseSpec, Instant)>;

impl VolSync {
    /// In the whole cluster.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { leases: Api::all(client), known: Known::new() }
    }

    /// Resolves when none runs. Failures of the API server are waited out.
    ///
    /// # Errors
    /// When the operator may not look.
    pub async fn gone(&mut self) -> kube::Result<()> {
        let mut told = None;
        loop {
            let found = self.look().await?;
            if let Look::Found(neighbour) = &found
                && told.as_ref() != Some(neighbour)
            {
                let namespace = &neighbour.namespace;
                let hint = format!("kubectl -n {namespace} scale deployment --all --replicas 0");
                tracing::warn!(hint, "{neighbour}; Doppel does nothing until it has ended");
                told = Some(neighbour.clone());
            }
            if let Look::Nobody = found {
                return Ok(());
            }
            sleep(WAITING_PERIOD).await;
        }
    }

    /// Resolves when one begins to run.
    ///
    /// # Errors
    /// When the operator may not look.
    pub async fn comes(&mut self) -> kube::Result<Neighbour> {
        loop {
            if let Look::Found(neighbour) = self.look().await? {
                return Ok(neighbour);
            }
            sleep(WORKING_PERIOD).await;
        }
    }

    async fn look(&mut self) -> kube::Result<Look> {
        let by_name = ListParams::default().fields(&format!("metadata.name={NAME}"));
        match self.leases.list(&by_name).await {
            Ok(leases) => {
                let now = (Instant::now(), Timestamp::now());
                let running = leases.items.iter().find_map(|lease| running(lease, &mut self.known, now));
                Ok(running.map_or(Look::Nobody, Look::Found))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => Err(kube::Error::Api(status)),
            Err(error) => {
                tracing::warn!(%error, "Could not look for VolSync's Lease, trying again");
                Ok(Look::Unknown)
            }
        }
    }
}

enum Look {
    Nobody,
    Found(Neighbour),
    /// The API server did not say.
    Unknown,
}

/// Who holds this Lease, unless they are gone: they gave it up, or have not renewed it for its term on this machine's steady
/// clock.
fn running(lease: &Lease, known: &mut Known, (now, time): (Instant, Timestamp)) -> Option<Neighbour> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    if spec.renew_time.as_ref().is_some_and(|renewed| time.duration_since(renewed.0) > LEFT_BEHIND) {
        return None;
    }
    let namespace = lease.namespace().unwrap_or_default();
    let term = spec.lease_duration_seconds.and_then(|term| u64::try_from(term).ok()).map_or(TERM, Duration::from_secs);
    match known.get(&namespace) {
        Some((before, since)) if before == spec => (now < *since + term).then_some(())?,
        _ => drop(known.insert(namespace.clone(), (spec.clone(), now))),
    }
    Some(Neighbour { namespace, holder })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

    use super::*;

    fn lease(holder: &str, renewed: Timestamp) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(137),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta { namespace: Some("volsync-system".to_owned()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    #[test]
    fn a_lease_that_was_given_up_or_left_behind_is_nobodys() {
        let now = (Instant::now(), Timestamp::now());
        let mut known = Known::new();
        assert_eq!(running(&Lease::default(), &mut known, now), None);
        assert_eq!(running(&lease("", now.1), &mut known, now), None);
        let long_ago = now.1 - SignedDuration::from_hours(2);
        assert_eq!(running(&lease("pod_1", long_ago), &mut known, now), None);
    }

    #[test]
    fn a_holder_that_does_not_renew_for_its_term_is_gone_and_is_back_when_it_renews() {
        let (begin, time) = (Instant::now(), Timestamp::now());
        let mut known = Known::new();
        let mut is_running = |renewed, seconds| {
            let now = (begin + Duration::from_secs(seconds), time);
            running(&lease("pod_1", renewed), &mut known, now).is_some()
        };
        assert!(is_running(time, 0));
        assert!(is_running(time, 136));
        assert!(!is_running(time, 137));
        assert!(!is_running(time, 500));
        let later = time + SignedDuration::from_secs(26);
        assert!(is_running(later, 501));
        assert!(!is_running(later, 501 + 137));
    }
}
