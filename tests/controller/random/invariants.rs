//! What must hold after every step, read off the API server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;

use doppel::model::replication::Image;
use doppel::model::status::Status;
use doppel::population::interpret::{destination, is_unfilled};
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;

use super::cluster::Cluster;
use super::state::{State, UID_LABEL, claim_of, is_alive, is_deleted, is_finished, place, uid, version};

const MARK: &str = "volsync.backube/volpop-pvc-";

/// What was seen before.
#[derive(Default)]
pub(super) struct Invariants {
    /// By UIDs.
    former: BTreeMap<String, Seen>,
    /// Snapshots that claims were being filled from, and by whom: each had its claim's mark or was its prime's origin.
    used: BTreeMap<String, String>,
    trespasses: BTreeSet<String>,
    /// Jobs that were seen before, and those among them that came after their object had been deleted.
    jobs: BTreeSet<String>,
    stillborn: BTreeSet<String>,
}

/// What an object's status said.
#[derive(Clone, Default)]
struct Seen {
    last_sync: Option<Timestamp>,
    last_manual: Option<String>,
    image: Option<Image>,
    /// How often it said that it was synchronized.
    completions: usize,
    /// What the image held.
    content: u64,
}

impl Invariants {
    pub(super) fn note_trespasses(&mut self, trespasses: Vec<String>) {
        self.trespasses.extend(trespasses);
    }

    /// Everything was deleted.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What is broken.
    pub(super) fn check(&mut self, state: &State, cluster: &Cluster) -> Vec<String> {
        let mut broken: Vec<_> = std::mem::take(&mut self.trespasses).into_iter().collect();
        self.notice_stillborn(state, cluster);
        broken.extend(movers_beside_each_other(state, cluster, &self.stillborn));
        broken.extend(self.images_that_are_gone(state, cluster));
        let sources = state.sources.iter().map(|object| (object.status(), uid(object), key(object)));
        let destinations = state.destinations.iter().map(|object| (object.status(), uid(object), key(object)));
        let mut present = BTreeMap::new();
        for (status, uid, key) in sources.chain(destinations) {
            let former = self.former.remove(&uid).unwrap_or_default();
            let successes = cluster.successes.get(&uid).copied().unwrap_or_default();
            let (seen, wrong) = judge((&former, successes), &status, &key, (state, cluster));
            broken.extend(wrong.into_iter().map(|wrong| format!("{key}: {wrong}")));
            present.insert(uid, seen);
        }
        self.former = present;
        broken.extend(claims_filled_with_nothing(state, cluster));
        broken
    }

    /// A Job whose request was held up while its object was deleted: no precondition of a request to create can be about another object.
    /// It goes as soon as the garbage collector sees it.
    fn notice_stillborn(&mut self, state: &State, cluster: &Cluster) {
        for job in state.jobs.iter().filter(|job| self.jobs.insert(uid(*job))) {
            let made = version(job.resource_version().as_deref());
            if job.owner_references().iter().any(|owner| cluster.ends.get(&owner.uid).is_some_and(|end| *end < made)) {
                self.stillborn.insert(uid(job));
            }
        }
    }

    /// A snapshot that a claim is being filled from stays until the claim has its volume, unless a user deletes it.
    fn images_that_are_gone(&mut self, state: &State, cluster: &Cluster) -> Vec<String> {
        let mut used = BTreeMap::new();
        let unfilled: BTreeMap<_, _> = state
            .claims
            .iter()
            .filter(|claim| is_unfilled(claim) && !is_deleted(*claim))
            .map(|claim| (uid(claim), place(claim)))
            .collect();
        for snapshot in state.snapshots.iter().filter(|snapshot| !is_deleted(*snapshot)) {
            let marks = snapshot.labels().keys().filter_map(|label| unfilled.get(label.strip_prefix(MARK)?));
            used.extend(marks.map(|claim| (place(snapshot), claim.clone())));
        }
        for prime in state.claims.iter().filter(|claim| is_prime(claim) && !is_deleted(*claim)) {
            let spec = prime.spec.as_ref().unwrap();
            if let (None, Some(origin)) = (&spec.volume_name, &spec.data_source_ref) {
                used.insert(format!("{}/{}", prime.namespace().unwrap_or_default(), origin.name), place(prime));
            }
        }
        let there: BTreeSet<_> = state.snapshots.iter().filter(|one| !is_deleted(*one)).map(place).collect();
        let waiting: BTreeSet<_> = unfilled.values().cloned().chain(used.values().cloned()).collect();
        let gone = self.used.iter().filter(|(image, claim)| {
            !there.contains(*image) && !cluster.removed.contains(*image) && waiting.contains(*claim)
        });
        let broken = gone.map(|(image, claim)| format!("image {image} is gone, and {claim} is being filled from it"));
        let broken = broken.collect();
        self.used = used;
        broken
    }
}

fn key<K: Kind>(object: &K) -> String {
    format!("{} {}", K::ROLE.kind(), place(object))
}

fn is_prime(claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim) -> bool {
    claim.name_any().starts_with("vs-prime-")
}

/// No two Jobs work on one volume: neither their pods, nor those that they are about to have.
fn movers_beside_each_other(state: &State, cluster: &Cluster, stillborn: &BTreeSet<String>) -> Vec<String> {
    let mut at_work: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |namespace: Option<String>, claim: Option<String>, job: String| {
        if let (Some(namespace), Some(claim)) = (namespace, claim)
            && !stillborn.contains(&job)
        {
            at_work.entry(format!("{namespace}/{claim}")).or_default().insert(job);
        }
    };
    for pod in state.pods.iter().filter(|pod| is_alive(pod)) {
        let job = pod.labels().get(UID_LABEL).cloned().unwrap_or_default();
        add(pod.namespace(), claim_of(pod.spec.as_ref()), job);
    }
    for job in &state.jobs {
        let spec = job.spec.as_ref().unwrap();
        let is_to_run = spec.parallelism != Some(0) && !is_deleted(job) && !is_finished(job);
        if is_to_run && !cluster.ran.contains(&uid(job)) {
            add(job.namespace(), claim_of(spec.template.spec.as_ref()), uid(job));
        }
    }
    let several = at_work.into_iter().filter(|(_, jobs)| jobs.len() > 1);
    several.map(|(claim, jobs)| format!("Jobs {jobs:?} work on {claim} at the same time")).collect()
}

/// What one object says, against what it said before.
fn judge(
    (former, successes): (&Seen, usize),
    status: &Status,
    key: &str,
    (state, cluster): (&State, &Cluster),
) -> (Seen, Vec<String>) {
    let mut broken = Vec::new();
    if former.last_sync > status.last_sync {
        broken.push(format!("lastSyncTime goes back from {:?} to {:?}", former.last_sync, status.last_sync));
    }
    let mut seen = Seen {
        last_sync: status.last_sync,
        last_manual: status.last_manual.clone(),
        image: status.image.clone(),
        completions: former.completions,
        content: former.content,
    };
    let is_completed = (former.last_sync, &former.last_manual) != (status.last_sync, &status.last_manual);
    if is_completed && status.last_sync.is_some() {
        // It may have happened more than once since the last look.
        seen.completions += 1;
        if seen.completions > successes {
            let times = seen.completions;
            broken.push(format!("it was synchronized {times} times, it says, and {successes} movers succeeded"));
        }
    }
    let namespace = key.split([' ', '/']).nth(1).unwrap_or_default();
    match &status.image {
        Some(Image::Snapshot(name)) => {
            let place = format!("{namespace}/{name}");
            let is_there = |one: &&VolumeSnapshot| super::state::place(*one) == place && !is_deleted(*one);
            match state.snapshots.iter().find(is_there) {
                None if cluster.removed.contains(&place) => {}
                None => broken.push(format!("its image {place} is gone")),
                Some(image) if former.image != status.image => {
                    if image.status.as_ref().and_then(|status| status.ready_to_use) != Some(true) {
                        broken.push(format!("its image {place} is not ready"));
                    }
                    seen.content = cluster.contents.get(&uid(image)).copied().unwrap_or_default();
                    if seen.content <= former.content {
                        broken.push(format!("its new image {place} does not hold what its mover received"));
                    }
                }
                Some(_) => {}
            }
        }
        Some(Image::Claim(name)) => {
            let place = format!("{namespace}/{name}");
            let is_there = state.claims.iter().any(|claim| super::state::place(claim) == place && !is_deleted(claim));
            if !is_there && !cluster.removed.contains(&place) {
                broken.push(format!("its image, claim {place}, is gone"));
            }
        }
        None => {}
    }
    (seen, broken)
}

/// A claim that was filled holds what some mover received, all of it.
fn claims_filled_with_nothing(state: &State, cluster: &Cluster) -> Vec<String> {
    let filled = state.claims.iter().filter(|claim| destination(claim).is_some());
    filled
        .filter_map(|claim| Some((claim, claim.spec.as_ref()?.volume_name.clone()?)))
        .filter(|(_, volume)| cluster.contents.get(volume).is_none_or(|content| *content == 0))
        .map(|(claim, volume)| format!("claim {} was filled with what is in {volume}: no image", place(claim)))
        .collect()
}
