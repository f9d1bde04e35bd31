//! Places on the real API server: limits hold whoever crashes, everybody is served, and whoever waits says for what.
//!
//! Other tests use the API server at the same time, so what is limited here is a StorageClass of the test's own, across
//! namespaces. Whoever of them waits is in these queues too.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::model::policy::Policy;
use doppel::model::queue::{Limits, Turn};
use doppel::model::replication::Role;
use doppel::replication::interpret::Kind;
use doppel::replication::queue::Queue;
use doppel::replication::{Context, reconcile};
use doppel::resources::snapshot::VolumeSnapshot;
use doppel::telemetry::events::Events;
use doppel::telemetry::metrics::Metrics;

use super::faults::Mortal;
use super::world::World;

const FAILED: &str = r#"{"verdict":{"result":"failed","fault":"network","retry":"later","message":"no route to host"},"tally":{},"elapsedMs":5}"#;

/// Objects of several namespaces whose volumes are of one StorageClass.
struct Scene {
    namespaces: Vec<World>,
    objects: Vec<World>,
    class: String,
    /// Names of Jobs in the order in which they appeared.
    started: Vec<String>,
    /// Namespaces and names of those whose movers have ended.
    ended: BTreeSet<String>,
}

impl Scene {
    /// Sources of these names, each list in a namespace of its own. One synchronization of the class at a time.
    async fn new(names: &[&[&str]], copy_method: &str) -> Self {
        let mut scene = Self {
            namespaces: Vec::new(),
            objects: Vec::new(),
            class: String::new(),
            started: Vec::new(),
            ended: BTreeSet::new(),
        };
        for names in names {
            let world = scene.namespace().await;
            for name in *names {
                scene.add_source(&world, name, copy_method).await;
            }
        }
        scene
    }

    async fn namespace(&mut self) -> World {
        let mut world = World::new().await;
        let storage_class = NonZeroU32::new(1);
        world.policy = Policy { limits: Limits { storage_class, ..Limits::default() }, ..Policy::default() };
        if self.class.is_empty() {
            self.class = format!("class-{}", world.namespace);
        }
        self.namespaces.push(world.clone());
        world
    }

    async fn add_claim(&self, world: &World, name: &str) {
        world
            .create::<PersistentVolumeClaim>(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": self.class,
                    "resources": {"requests": {"storage": "1Gi"}}},
            }))
            .await;
    }

    async fn add_source(&mut self, world: &World, name: &str, copy_method: &str) {
        self.add_claim(world, name).await;
        let world = World { name: name.to_owned(), ..world.clone() };
        let spec = json!({"sourcePVC": name, "trigger": {"manual": "one"},
            "rsyncTLS": {"copyMethod": copy_method, "address": "192.0.2.1"}});
        world.create_object::<ReplicationSource>(spec).await;
        self.objects.push(world);
    }

    /// A pass over each object.
    async fn pass(&mut self, operator: &Arc<Context>) {
        for object in &self.objects {
            pass::<ReplicationSource>(object, operator).await;
            let at_work = self.at_work().await;
            assert!(at_work.len() <= 1, "{at_work:?} at the same time");
            self.started.extend(at_work.into_iter().filter(|job| !self.started.contains(job)).collect::<Vec<_>>());
        }
    }

    /// Jobs whose movers have not ended, and copies that no mover was made for yet.
    async fn at_work(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for world in &self.namespaces {
            let jobs = world.api::<Job>().list(&ListParams::default()).await.unwrap();
            names
                .extend(jobs.iter().filter(|job| !world.jobs.contains(&job.uid().unwrap())).map(ResourceExt::name_any));
            let copies = world.api::<VolumeSnapshot>().list(&ListParams::default()).await.unwrap();
            let of_copies = copies.iter().filter_map(|copy| {
                let name = copy.name_any();
                Some(format!("volsync-rsync-tls-src-{}", name.strip_prefix("volsync-")?.strip_suffix("-src")?))
            });
            names.extend(of_copies.filter(|job| !self.ended.contains(&format!("{}/{job}", world.namespace))));
        }
        names
    }

    async fn act(&mut self) {
        for world in &mut self.namespaces {
            world.act().await;
            let jobs = world.api::<Job>().list(&ListParams::default()).await.unwrap();
            self.ended.extend(jobs.iter().map(|job| format!("{}/{}", world.namespace, job.name_any())));
        }
    }

    async fn are_done(&self) -> bool {
        for object in &self.objects {
            let status = object.object::<ReplicationSource>().await.status();
            if status.last_manual.as_deref() != Some("one") || status.current.is_some() {
                return false;
            }
        }
        true
    }

    /// Passes, and what is around the operator, until all are synchronized or it is dead.
    async fn finish(&mut self, operator: &Arc<Context>, fate: &Mortal) {
        for _ in 0..60 {
            if fate.is_dead() || self.are_done().await {
                return;
            }
            self.pass(operator).await;
            self.act().await;
        }
        panic!("not all were synchronized: {:?}", self.started);
    }
}

async fn pass<K: Kind>(world: &World, operator: &Arc<Context>) {
    reconcile(Arc::new(world.object::<K>().await), operator.clone()).await.unwrap();
}

async fn status<K: Kind + serde::Serialize>(world: &World) -> Value {
    serde_json::to_value(world.object::<K>().await).unwrap()["status"].clone()
}

/// Reason and message of a condition.
fn told(status: &Value, kind: &str) -> (String, String) {
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap_or_else(|| panic!("{status:#}"));
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("reason"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_run_as_may_and_namespaces_take_turns() {
    for copy_method in ["Direct", "Snapshot"] {
        let mut scene = Scene::new(&[&["a1", "a2", "a3"], &["b1"]], copy_method).await;
        let fate = Mortal::immortal();
        let operator = scene.namespaces[0].operator(&fate);
        scene.finish(&operator, &fate).await;
        let order: Vec<_> = scene.started.iter().map(|job| job.trim_start_matches("volsync-rsync-tls-src-")).collect();
        assert_eq!(order, ["a1", "b1", "a2", "a3"], "{copy_method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_and_all_are_served_whoever_crashes_after_whatever_write() {
    let names: &[&[&str]] = &[&["a1"], &["b1"]];
    let immortal = Mortal::immortal();
    let mut scene = Scene::new(names, "Snapshot").await;
    let operator = scene.namespaces[0].operator(&immortal);
    scene.finish(&operator, &immortal).await;
    let writes = immortal.writes();
    assert!(writes >= 15, "only {writes} writes: the test would prove little");
    for last in 0..writes {
        let fate = Mortal::after(last);
        let mut scene = Scene::new(names, "Snapshot").await;
        let operator = scene.namespaces[0].operator(&fate);
        scene.finish(&operator, &fate).await;
        assert!(fate.is_dead(), "it was to die after write {last}");
        let immortal = Mortal::immortal();
        let successor = scene.namespaces[0].operator(&immortal);
        // Whoever is looked at first.
        scene.objects.reverse();
        scene.finish(&successor, &immortal).await;
        let movers: usize = scene.namespaces.iter().map(|world| world.jobs.len()).sum();
        assert_eq!(movers, 2, "one synchronization is one mover, also after a crash behind write {last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_says_where_it_stands_and_for_what_and_is_not_written_again() {
    let mut scene = Scene::new(&[&["runs", "waits"]], "Direct").await;
    let fate = Mortal::immortal();
    let operator = scene.namespaces[0].operator(&fate);
    for _ in 0..3 {
        scene.pass(&operator).await;
    }
    let [runs, waits] = &scene.objects[..] else { panic!() };
    let running = status::<ReplicationSource>(runs).await;
    assert_eq!(running["currentSync"]["place"]["storageClassName"], json!(scene.class));
    assert_eq!(told(&running, "Ready").0, "WaitingForMover");

    let waiting = status::<ReplicationSource>(waits).await;
    let since = waiting["currentSync"]["queuedTime"].as_str().unwrap();
    let (reason, message) = told(&waiting, "Ready");
    assert_eq!(reason, "Queued");
    let expected = format!(
        "queued since {since} at position 1: StorageClass {} has as many synchronizations under way as it may, 1 \
         (--max-syncs-per-storage-class of the operator)",
        scene.class
    );
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(told(&waiting, "Reconciling").0, "Queued");
    // What VolSync's users read: it was begun and is under way.
    let (reason, message) = told(&waiting, "Synchronizing");
    assert_eq!((reason.as_str(), message), ("SyncInProgress", format!("Synchronization in-progress: {expected}")));
    assert!(waiting["lastSyncStartTime"].is_string());
    assert_eq!(waits.children().await, BTreeSet::from(["Job/volsync-rsync-tls-src-runs".to_owned()]));

    let writes = fate.writes();
    scene.pass(&operator).await;
    assert_eq!(fate.writes(), writes, "a wait writes nothing");
    let successor = scene.namespaces[0].operator(&fate);
    scene.objects.reverse();
    scene.pass(&successor).await;
    assert_eq!(fate.writes(), writes, "nor does a new operator, which knows how long everyone has waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_gives_up_its_place_wakes_the_next() {
    let mut scene = Scene::new(&[&["first", "second"]], "Direct").await;
    let world = scene.namespaces[0].clone();
    let (queue, mut woken) = Queue::new(world.policy, Metrics::default());
    let events = Events::new(world.client.clone(), "test".to_owned());
    let operator = Arc::new(Context::new(world.client.clone(), world.image(), events, (Metrics::default(), queue)));
    for _ in 0..3 {
        scene.pass(&operator).await;
    }
    let mut woken = || -> BTreeSet<String> {
        let all = std::iter::from_fn(|| woken.sources.try_recv().ok());
        all.filter(|(namespace, _)| *namespace == world.namespace).map(|(_, name)| name).collect()
    };
    assert_eq!(woken(), BTreeSet::new(), "there is no place for anybody");
    scene.act().await;
    pass::<ReplicationSource>(&scene.objects[0], &operator).await;
    assert_eq!(woken(), BTreeSet::from(["second".to_owned()]));

    // One that is gone keeps nobody waiting either; no pass sees it.
    scene.pass(&operator).await;
    scene.add_source(&world, "third", "Direct").await;
    for _ in 0..3 {
        scene.pass(&operator).await;
    }
    woken();
    operator.forget(Role::Source, &world.namespace, "second");
    assert_eq!(woken(), BTreeSet::from(["third".to_owned()]));
}

/// A destination that waits for its source must not keep that source from its place, or neither would ever end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_in_one_cluster_with_one_place_is_synchronized() {
    let mut scene = Scene::new(&[&[]], "Direct").await;
    let world = scene.namespaces[0].clone();
    let operator = world.operator(&Mortal::immortal());
    let spec = json!({"trigger": {"manual": "one"}, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi",
        "accessModes": ["ReadWriteOnce"], "storageClassName": scene.class}});
    world.create_object::<ReplicationDestination>(spec).await;
    for _ in 0..3 {
        pass::<ReplicationDestination>(&world, &operator).await;
    }
    let listener = world.api::<Job>().get("volsync-rsync-tls-dst-x").await.unwrap().uid().unwrap();
    world.start_pod(&listener).await;
    pass::<ReplicationDestination>(&world, &operator).await;
    let listening = status::<ReplicationDestination>(&world).await;
    assert_eq!(told(&listening, "Ready").0, "MoverRunning");
    assert_eq!(
        (&listening["currentSync"]["place"], &listening["currentSync"]["queuedTime"]),
        (&Value::Null, &Value::Null)
    );

    scene.namespaces[0].jobs.insert(listener.clone());
    for name in ["s1", "s2"] {
        scene.add_source(&world, name, "Direct").await;
    }
    let fate = Mortal::immortal();
    scene.finish(&operator, &fate).await;
    assert_eq!(scene.started, ["volsync-rsync-tls-src-s1", "volsync-rsync-tls-src-s2"]);
    world.delete::<k8s_openapi::api::core::v1::Pod>(&format!("pod-{listener}")).await;
    world.finish_pod(&listener, 0, super::world::COMPLETE).await;
    let mut world = scene.namespaces[0].clone();
    world.until(&operator, |object: &ReplicationDestination| object.status().last_manual.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_go_on_keeps_nobody_waiting() {
    let mut scene = Scene::new(&[&["fails", "waits"]], "Direct").await;
    let operator = scene.namespaces[0].operator(&Mortal::immortal());
    for _ in 0..3 {
        scene.pass(&operator).await;
    }
    // The pause after a failed attempt is others' time.
    let [job] = &scene.namespaces[0].api::<Job>().list(&ListParams::default()).await.unwrap().items[..] else {
        panic!()
    };
    let now = jiff::Timestamp::now().to_string();
    scene.namespaces[0].finish_pod_at(&job.uid().unwrap(), 4, FAILED, &now).await;
    scene.namespaces[0].jobs.insert(job.uid().unwrap());
    scene.pass(&operator).await;
    let turn = async |world: &World| world.object::<ReplicationSource>().await.status().turn().cloned();
    assert_eq!(
        turn(&scene.objects[0]).await,
        None,
        "it has no place, and does not wait for one before its pause is over"
    );
    assert!(matches!(turn(&scene.objects[1]).await, Some(Turn::Place(_))));

    // Nor does one wait whose volume is not there.
    let world = scene.namespaces[0].clone();
    scene.add_source(&world, "lacks", "Direct").await;
    world.delete::<PersistentVolumeClaim>("lacks").await;
    for _ in 0..4 {
        scene.pass(&operator).await;
        scene.act().await;
    }
    assert_eq!(turn(&scene.objects[2]).await, None);
    let finished = scene.objects[1].object::<ReplicationSource>().await.status();
    assert_eq!(finished.last_manual.as_deref(), Some("one"));
}

/// No pod is ever made for these Jobs, and no time is given to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_mover_that_does_not_start_in_time_is_held_and_gives_up_its_place() {
    let scene = Scene::new(&[&["first", "second"]], "Direct").await;
    let mut world = scene.namespaces[0].clone();
    world.policy.deadlines.start = Some(jiff::SignedDuration::ZERO);
    let operator = world.operator(&Mortal::immortal());
    let [first, second] = &scene.objects[..] else { panic!() };
    for _ in 0..2 {
        pass::<ReplicationSource>(first, &operator).await;
        pass::<ReplicationSource>(second, &operator).await;
    }
    let job = async |name: &str| world.api::<Job>().get_opt(&format!("volsync-rsync-tls-src-{name}")).await.unwrap();
    assert!(job("first").await.is_some() && job("second").await.is_none());
    pass::<ReplicationSource>(first, &operator).await;
    let failed = status::<ReplicationSource>(first).await;
    let failure = &failed["currentSync"]["lastFailure"];
    assert_eq!(failure["fault"], "Cluster");
    let message = failure["message"].as_str().unwrap();
    assert!(message.starts_with("the mover did not start within 0s (--start-deadline of the operator)"), "{message}");
    assert!(failed["currentSync"]["nextAttemptTime"].is_string());
    for _ in 0..2 {
        pass::<ReplicationSource>(first, &operator).await;
    }
    assert_eq!(job("first").await.unwrap().spec.unwrap().parallelism, Some(0), "it does not begin in the pause");
    assert_eq!(first.object::<ReplicationSource>().await.status().turn(), None);
    pass::<ReplicationSource>(second, &operator).await;
    assert!(job("second").await.is_some(), "its place is another's");
}

/// An administrator begins to limit while movers run.
#[tokio::test(flavor = "multi_thread")]
async fn movers_that_ran_before_there_was_a_limit_count() {
    let mut scene = Scene::new(&[&["old"]], "Direct").await;
    let mut unlimited = scene.namespaces[0].clone();
    unlimited.policy = Policy::default();
    let before = unlimited.operator(&Mortal::immortal());
    for _ in 0..2 {
        scene.pass(&before).await;
    }
    assert_eq!(scene.at_work().await.len(), 1);
    let old = status::<ReplicationSource>(&scene.objects[0]).await;
    assert_eq!((&old["currentSync"]["place"], &old["currentSync"]["queuedTime"]), (&Value::Null, &Value::Null));

    let world = scene.namespaces[0].clone();
    scene.add_source(&world, "new", "Direct").await;
    let after = world.operator(&Mortal::immortal());
    for _ in 0..3 {
        scene.pass(&after).await;
    }
    let turn = async |world: &World| world.object::<ReplicationSource>().await.status().turn().cloned();
    assert!(matches!(turn(&scene.objects[0]).await, Some(Turn::Place(_))));
    assert!(matches!(turn(&scene.objects[1]).await, Some(Turn::Waiting { .. })));
    scene.finish(&after, &Mortal::immortal()).await;
}
