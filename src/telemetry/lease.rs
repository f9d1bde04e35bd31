//! Leader election: of all instances only the holder of the Lease acts.
//!
//! The rules are those of Kubernetes' own components (client-go `leaderelection`): every write carries the
//! resourceVersion that was read, so of two instances that want the Lease one gets a conflict; whether a holder is gone
//! is measured on this machine's steady clock, from when its last renewal was seen here, never by comparing clocks. A
//! holder that cannot renew stops before anybody else may begin.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Record, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout_at};

/// The Lease's name; the operator's Role names it too.
const NAME: &str = "doppel-operator";
/// How long after its last renewal an instance that was killed counts as the holder.
const TERM: Duration = Duration::from_secs(15);
/// How long a holder goes on without a renewal. The 5 s to the end of the term are for what is under way to end in.
const RENEWAL_DEADLINE: Duration = Duration::from_secs(10);
/// Between two renewals: each may fail once before the deadline.
const RENEWAL_PERIOD: Duration = Duration::from_secs(4);
/// Between two looks at another one's Lease: how long, at most, a Lease that was released stays free.
const WAITING_PERIOD: Duration = Duration::from_secs(1);

/// Why the Lease is not, or no longer, this instance's.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The operator's own permissions do not suffice.
    #[error("the Lease {NAME:?} may not be used; check the operator's Role: {0}")]
    Forbidden(kube::Error),
    /// Somebody else took it, or deleted it.
    #[error("the Lease {NAME:?} was taken by {0:?}")]
    Taken(String),
    /// The API server did not take a renewal for too long.
    #[error("the Lease {NAME:?} could not be renewed for {}s{}", RENEWAL_DEADLINE.as_secs(), .0.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    NotRenewed(Option<kube::Error>),
}

/// Where the record is kept.
trait Store {
    async fn read(&self) -> kube::Result<Option<Record>>;
    async fn create(&self, record: &Record) -> kube::Result<()>;
    /// Fails with a conflict (409) if the record is not of the resourceVersion that this one names.
    async fn replace(&self, record: &Record) -> kube::Result<()>;
}

impl Store for Api<Record> {
    async fn read(&self) -> kube::Result<Option<Record>> {
        self.get_opt(NAME).await
    }

    async fn create(&self, record: &Record) -> kube::Result<()> {
        Api::create(self, &PostParams::default(), record).await.map(drop)
    }

    async fn replace(&self, record: &Record) -> kube::Result<()> {
        Api::replace(self, NAME, &PostParams::default(), record).await.map(drop)
    }
}

/// This instance's part in the election.
pub struct Lease(Election<Api<Record>>);

impl Lease {
    /// A part in the election in this namespace, under this name, which no other instance may have.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: &str) -> Self {
        Self(Election { store: Api::namespaced(client, namespace), identity: identity.to_owned() })
    }

    /// Resolves when this instance holds the Lease. Failures of the API server are waited out.
    ///
    /// # Errors
    /// When the Lease may not be used.
    pub async fn acquired(&self) -> Result<(), LeaseError> {
        self.0.acquired().await
    }

    /// Renews the Lease, and resolves when it was lost. From then on this instance must not act.
    pub async fn lost(&self) -> LeaseError {
        self.0.lost().await
    }

    /// Gives the Lease up if it is held, so that the next instance acts at once.
    pub async fn release(&self) {
        self.0.release().await;
    }
}

struct Election<S> {
    store: S,
    identity: String,
}

/// Another instance's record, and when it was first seen like this.
type Seen = Option<(LeaseSpec, Instant)>;

impl<S: Store> Election<S> {
    async fn acquired(&self) -> Result<(), LeaseError> {
        let mut seen = None;
        loop {
            match self.try_acquire(&mut seen).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if is_conflict(&error) => {}
                Err(error) if is_forbidden(&error) => return Err(LeaseError::Forbidden(error)),
                Err(error) => tracing::warn!(%error, "Lease could not be acquired, trying again"),
            }
            sleep(WAITING_PERIOD).await;
        }
    }

    async fn try_acquire(&self, seen: &mut Seen) -> kube::Result<bool> {
        let Some(record) = self.store.read().await? else {
            self.store.create(&self.taken(&Record::default())).await?;
            return Ok(true);
        };
        if !is_free(&record, seen, &self.identity, Instant::now()) {
            return Ok(false);
        }
        self.store.replace(&self.taken(&record)).await?;
        Ok(true)
    }

    async fn lost(&self) -> LeaseError {
        let mut renewed = Instant::now();
        let mut failure = None;
        loop {
            let deadline = renewed + RENEWAL_DEADLINE;
            sleep(RENEWAL_PERIOD.min(deadline - Instant::now())).await;
            // The renewal counts from before the request: it may have taken effect long before the answer came.
            let begin = Instant::now();
            if begin >= deadline {
                return LeaseError::NotRenewed(failure);
            }
            match timeout_at(deadline, self.renew()).await {
                Ok(Ok(None)) => (renewed, failure) = (begin, None),
                Ok(Ok(Some(holder))) => return LeaseError::Taken(holder),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "Lease could not be renewed, trying again");
                    failure = Some(error);
                }
                Err(_) => return LeaseError::NotRenewed(failure),
            }
        }
    }

    /// Renews the Lease, or says who else holds it.
    async fn renew(&self) -> kube::Result<Option<String>> {
        let record = self.store.read().await?.unwrap_or_default();
        let holder = holder(&record);
        if holder != self.identity {
            return Ok(Some(holder.to_owned()));
        }
        let mut renewed = record;
        renewed.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
        self.store.replace(&renewed).await.map(|()| None)
    }

    async fn release(&self) {
        let released = async {
            let Some(mut record) = self.store.read().await? else { return Ok(()) };
            if holder(&record) != self.identity {
                return Ok(());
            }
            let spec = record.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.store.replace(&record).await
        };
        match timeout_at(Instant::now() + RENEWAL_DEADLINE, released).await {
            Ok(Ok(())) => tracing::info!("Lease was released"),
            Ok(Err(error)) => tracing::warn!(%error, "Lease was not released"),
            Err(_) => tracing::warn!("Lease was not released in time"),
        }
    }

    /// This record, taken over by this instance.
    fn taken(&self, record: &Record) -> Record {
        let before = record.spec.clone().unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let transitions = before.lease_transitions.unwrap_or(0).saturating_add(1);
        Record {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..record.metadata.clone() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(TERM.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..before
            }),
        }
    }
}

/// Whether the Lease may be taken: nobody holds it, or its holder has not renewed it for a term, or it is this
/// instance's own, from before its container was started again.
fn is_free(record: &Record, seen: &mut Seen, identity: &str, now: Instant) -> bool {
    let holder = holder(record);
    if holder.is_empty() || holder == identity {
        return true;
    }
    let spec = record.spec.clone().unwrap_or_default();
    // The holder's own term counts: it may be another version's.
    let term = spec.lease_duration_seconds.and_then(|term| u64::try_from(term).ok()).map_or(TERM, Duration::from_secs);
    match seen {
        Some((known, since)) if *known == spec => now >= *since + term,
        _ => {
            *seen = Some((spec, now));
            false
        }
    }
}

fn holder(record: &Record) -> &str {
    record.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

#[cfg(test)]
mod tests;
