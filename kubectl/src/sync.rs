//! `sync`: begins a synchronization, and waits for it if asked to.
//!
//! The trigger is a value of this program's in spec.trigger.manual, written under the resourceVersion that was read. While a manual
//! trigger is set no schedule is in force, so where there is one the value is taken back as soon as the synchronization
//! has begun: what began is finished all the same, by Doppel and by VolSync.

mod bar;
mod progress;

use std::time::Duration;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::args::SyncArgs;
use crate::cluster::{Cluster, MANAGER};
use crate::error::{Error, What};
use crate::object::{Kind, Method, Object};
use crate::{follow, text};
use bar::Bar;
pub(crate) use progress::nothing;
use progress::{Asked, Stage};

/// Values of spec.trigger.manual that begin like this are this program's.
pub(crate) const PREFIX: &str = "kubectl-doppel-";
/// A write fails when the operator wrote the status since the read; it writes a few times a second at most.
const MOST_CONFLICTS: u32 = 10;
/// For the begin, without --wait: an operator that is up takes a second; one that starts, or changes hands, half a minute.
const BEGIN: Duration = Duration::from_secs(60);

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, namespace: &str, args: &SyncArgs) -> Result<(), Error> {
    let object = cluster.find(namespace, args.which.name(), args.which.kind()).await?;
    let mut sync = Sync::ask(cluster, object, args.attempts).await?;
    if !args.wait && sync.schedule == Schedule::None {
        println!("{}: a synchronization was asked for; see kubectl doppel status {}", sync.object, sync.object.name);
        return Ok(());
    }
    let goal = if args.wait { Goal::Done } else { Goal::Begun };
    let limit = args.timeout.or_else(|| (!args.wait).then_some(BEGIN));
    let ended = tokio::select! {
        ended = sync.follow(goal) => ended,
        () = sleep(limit) => Err(sync.late(limit)),
        _ = tokio::signal::ctrl_c() => Err(sync.interrupted()),
    };
    // Whatever happened: a schedule is not left out of force.
    let restored = sync.restore().await;
    ended.and(restored)
}

/// Waits for a synchronization of an object that was asked for already by this value of its trigger. Returns the object as it is then.
pub(crate) async fn await_asked(
    cluster: &Cluster,
    object: Object,
    tag: String,
    limit: Option<Duration>,
) -> Result<Object, Error> {
    let asked = Asked::new(tag, &object, 1);
    let mut sync = Sync { cluster, object, asked, stage: Stage::Asked, schedule: Schedule::None };
    tokio::select! {
        ended = sync.follow(Goal::Done) => ended?,
        () = sleep(limit) => return Err(sync.late(limit)),
        _ = tokio::signal::ctrl_c() => return Err(sync.interrupted()),
    }
    Ok(sync.object)
}

async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Begun,
    Done,
}

/// What becomes of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schedule {
    /// There is none, or a manual trigger of the user's is in force in its place: the new value stays.
    None,
    /// It is out of force until the value is taken back.
    Suspended,
    /// It is in force.
    InForce,
}

/// A synchronization that was asked for.
struct Sync<'a> {
    cluster: &'a Cluster,
    /// As it was last seen.
    object: Object,
    asked: Asked,
    stage: Stage,
    schedule: Schedule,
}

impl<'a> Sync<'a> {
    /// Asks for it.
    async fn ask(cluster: &'a Cluster, mut object: Object, attempts: u32) -> Result<Self, Error> {
        for _ in 0..MOST_CONFLICTS {
            refuse(&object)?;
            let now = Timestamp::now();
            let tag = format!("{PREFIX}{now}");
            let spec = json!({ "trigger": { "manual": tag } });
            if let Some(patched) = patch(cluster, &object, &spec).await? {
                let schedule = after(&object);
                let asked = Asked::new(tag, &object, attempts);
                return Ok(Self { cluster, object: patched, asked, stage: Stage::Asked, schedule });
            }
            object = again(cluster, &object).await?;
        }
        Err(Error::Busy { object: object.to_string() })
    }

    /// Until the goal is reached, saying what goes on.
    async fn follow(&mut self, goal: Goal) -> Result<(), Error> {
        let mut seen = follow::object(self.cluster, &self.object);
        let (mut said, mut bar) = (String::new(), Bar::new());
        while let Some(object) = seen.try_next().await? {
            self.object = object.ok_or_else(|| Error::Deleted { object: self.object.to_string() })?;
            let now = Timestamp::now();
            let (stage, line) = progress::of(&self.asked, self.stage, &self.object);
            self.stage = stage;
            if line != said {
                bar.say(&format!("{now:.0}  {line}"));
                said = line;
            }
            bar.show(crate::progress::of(&self.object).filter(|_| stage == Stage::Begun).as_ref());
            match stage {
                Stage::Asked => {}
                Stage::Begun => {
                    self.restore().await?;
                    if goal == Goal::Begun {
                        return Ok(());
                    }
                }
                Stage::Done => return Ok(()),
                Stage::Failed => {
                    let why = progress::why(&self.object, now);
                    return Err(Error::SyncFailed { object: self.object.to_string(), why });
                }
            }
        }
        Err(Error::Deleted { object: self.object.to_string() })
    }

    /// Puts a schedule back in force, by taking the value away if it is still this program's.
    async fn restore(&mut self) -> Result<(), Error> {
        if self.schedule != Schedule::Suspended {
            return Ok(());
        }
        for _ in 0..MOST_CONFLICTS {
            let object = again(self.cluster, &self.object).await?;
            if object.manual() != Some(&self.asked.tag) {
                self.schedule = Schedule::InForce;
                return Ok(());
            }
            let spec = json!({ "trigger": { "manual": Value::Null } });
            if patch(self.cluster, &object, &spec).await?.is_some() {
                self.schedule = Schedule::InForce;
                return Ok(());
            }
        }
        let why = "spec.trigger.manual could not be taken back, so the schedule is not in force: remove that field";
        Err(Error::Refused { object: self.object.to_string(), why: why.to_owned() })
    }

    fn late(&self, limit: Option<Duration>) -> Error {
        let limit = limit.map_or(0, |limit| limit.as_secs().try_into().unwrap_or(i64::MAX));
        let what = match self.stage {
            Stage::Asked => "the synchronization has not begun",
            Stage::Begun | Stage::Done | Stage::Failed => "the synchronization is not done",
        };
        Error::TimedOut { object: self.object.to_string(), what, limit: text::span(limit), now: self.left() }
    }

    fn interrupted(&self) -> Error {
        Error::Interrupted(self.left())
    }

    /// What goes on when nobody waits any more.
    fn left(&self) -> String {
        let (object, name) = (&self.object, &self.object.name);
        match (self.stage, self.schedule) {
            (Stage::Asked, Schedule::Suspended) => {
                format!("{object} did not begin to synchronize; its trigger is taken back, the schedule is in force")
            }
            _ => format!("the synchronization of {object} goes on; see kubectl doppel status {name}"),
        }
    }
}

/// What would come to nothing is not asked for.
fn refuse(object: &Object) -> Result<(), Error> {
    if object.paused {
        return Err(Error::Paused(object.to_string()));
    }
    match &object.method {
        Method::External(_) => Err(Error::External(object.to_string())),
        Method::One("syncthing") => Err(Error::Refused {
            object: object.to_string(),
            why: "Syncthing keeps volumes in step all the time, there is nothing to begin".to_owned(),
        }),
        Method::One(_) | Method::Unclear => Ok(()),
    }
}

/// A value that this program left behind when it was killed is no wish of the user's.
fn after(object: &Object) -> Schedule {
    let users = object.manual().is_some_and(|manual| !manual.starts_with(PREFIX));
    if object.schedule().is_some() && !users { Schedule::Suspended } else { Schedule::None }
}

/// Writes into the spec, unless the object is not as it was read any more.
async fn patch(cluster: &Cluster, object: &Object, spec: &Value) -> Result<Option<Object>, Error> {
    let metadata = json!({ "resourceVersion": object.resource_version, "uid": object.uid });
    let patch = Patch::Merge(json!({ "metadata": metadata, "spec": spec }));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let (namespace, name) = (&object.namespace, &object.name);
    let patched = match object.kind {
        Kind::Source => {
            cluster.api::<ReplicationSource>(namespace).patch(name, &params, &patch).await.map(Object::from)
        }
        Kind::Destination => {
            cluster.api::<ReplicationDestination>(namespace).patch(name, &params, &patch).await.map(Object::from)
        }
    };
    match patched {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(cluster.error("patch", What::Replications(object.kind), namespace, error)),
    }
}

/// The same object, as it is now.
async fn again(cluster: &Cluster, object: &Object) -> Result<Object, Error> {
    let got = cluster.get(&object.namespace, &object.name, object.kind).await?;
    got.filter(|got| got.uid == object.uid).ok_or_else(|| Error::Deleted { object: object.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn what_would_come_to_nothing_is_not_asked_for() {
        assert!(matches!(refuse(&fixtures::object("paused")), Err(Error::Paused(_))));
        assert!(matches!(refuse(&fixtures::object("external")), Err(Error::External(_))));
        assert!(refuse(&fixtures::object("failed")).is_ok());
    }

    #[test]
    fn a_schedule_is_put_back_unless_a_value_of_the_users_was_in_its_place() {
        let with = |manual: Option<&str>| {
            let mut object = fixtures::object("idle");
            object.trigger.manual = manual.map(str::to_owned);
            after(&object)
        };
        assert_eq!(with(None), Schedule::Suspended);
        assert_eq!(with(Some("")), Schedule::Suspended);
        assert_eq!(
            with(Some("kubectl-doppel-2026-11-24T09:00:00Z")),
            Schedule::Suspended,
            "left by one that was killed"
        );
        assert_eq!(with(Some("release-7")), Schedule::None);
        assert_eq!(after(&fixtures::object("volsync-idle")), Schedule::None);
    }
}
