//! `pair`: makes a pair across two contexts, in an order that can be begun again anywhere.
//!
//! All that can be known beforehand is looked at first: contexts, the API in both clusters, the claim, whose the objects are that are
//! there already, and, by dry runs on the API servers, whether the new ones would be taken. Then each object is made when what it
//! names is there: the destination, the copy of its key, the source. Run again, it finds what it made, and goes on from there.

mod end;
mod manifest;
mod place;

use std::io::Write as _;
use std::time::Duration;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde::Serialize;

use crate::args::{Connection, PairArgs, ServiceType};
use crate::cluster::{Cluster, Contexts, Scope};
use crate::error::{Error, What};
use crate::object::{Kind, Object};
use crate::state::{self, Server, Standing};
use crate::{explain, follow, text};
use end::{End, Mode};
use manifest::{At, Claim, Link};

/// Runs it.
pub(crate) async fn run(connection: &Connection, args: &PairArgs) -> Result<(), Error> {
    let pair = Pair::read(connection, args).await?;
    let there = pair.rehearse().await?;
    if args.dry_run {
        return pair.print(there.as_ref());
    }
    tokio::select! {
        made = pair.make() => made,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted("what is made already stays; run it again to go on".to_owned())),
    }
}

/// What is to be made, and where.
struct Pair<'a> {
    args: &'a PairArgs,
    claim: Claim,
    from: End,
    to: End,
    destination: ReplicationDestination,
}

impl<'a> Pair<'a> {
    /// Finds both ends.
    async fn read(connection: &Connection, args: &'a PairArgs) -> Result<Self, Error> {
        let contexts = Contexts::read(connection.kubeconfig.as_deref())?;
        let source = place::source(&args.source, connection)?;
        let target = place::destination(&args.destination, &contexts.names())?;
        let from = contexts.connect(source.context.as_deref()).await?;
        let to = contexts.connect(target.context.as_deref()).await?;
        let namespace = source.namespace.unwrap_or_else(|| from.namespace.clone());
        let claim = At { namespace, name: source.name.unwrap_or_default() };
        let name = target.name.unwrap_or_else(|| claim.name.clone());
        let target = At { namespace: target.namespace.unwrap_or_else(|| to.namespace.clone()), name: name.clone() };
        end::is_served(&from, Kind::Source).await?;
        end::is_served(&to, Kind::Destination).await?;
        let claim = read_claim(&from, claim).await?;
        let usual = if from.context == to.context { ServiceType::ClusterIp } else { ServiceType::LoadBalancer };
        let destination = manifest::destination(args, &target, &claim, usual).ok_or_else(|| Error::Refused {
            object: format!("PersistentVolumeClaim {}/{}", claim.at.namespace, claim.at.name),
            why: "it does not say how large it is: say --capacity".to_owned(),
        })?;
        let from = End { cluster: from, at: At { namespace: claim.at.namespace.clone(), name } };
        Ok(Self { args, claim, from, to: End { cluster: to, at: target }, destination })
    }

    /// Whether the Secret has to be copied: within one namespace it is there.
    fn is_within_one_namespace(&self) -> bool {
        self.from.cluster.context == self.to.cluster.context && self.from.at.namespace == self.to.at.namespace
    }

    /// The source's Secret.
    fn key_at(&self) -> At {
        At { namespace: self.from.at.namespace.clone(), name: format!("{}-psk", self.from.at.name) }
    }

    /// Refuses what could not be made, before anything is. Returns the destination if it is there.
    async fn rehearse(&self) -> Result<Option<Object>, Error> {
        let there = self.ensure_destination(Mode::Rehearse).await?.map(Object::from);
        let uid = there.as_ref().map_or("", |there| there.uid.as_str());
        let mark = manifest::mark_of(&self.to.at, uid);
        if !self.is_within_one_namespace() {
            let secret = manifest::key(&self.key_at(), &mark, Vec::new());
            self.from.ensure_key(&secret, Mode::Rehearse).await?;
        }
        self.ensure_source(&self.expected(there.as_ref()), &mark, Mode::Rehearse).await?;
        Ok(there)
    }

    /// What the source will be told, with words in place of what is not known yet.
    fn expected(&self, there: Option<&Object>) -> Link {
        let known = there.map(|there| &there.ends);
        let key = known.and_then(|ends| ends.key_secret.clone());
        Link {
            address: known
                .and_then(|ends| ends.address.clone())
                .unwrap_or_else(|| "the-destinations-address.invalid".to_owned()),
            port: known.and_then(|ends| ends.port),
            key_secret: if self.is_within_one_namespace() {
                key.unwrap_or_else(|| "the-destinations-key".to_owned())
            } else {
                self.key_at().name
            },
        }
    }

    /// Prints the manifests. The key is not among them.
    fn print(&self, there: Option<&Object>) -> Result<(), Error> {
        let mark = manifest::mark_of(&self.to.at, there.map_or("uid-of-the-destination", |there| there.uid.as_str()));
        let link = self.expected(there);
        let mut text = page(&self.to.cluster, "", &self.destination)?;
        if !self.is_within_one_namespace() {
            let mut secret = manifest::key(&self.key_at(), &mark, Vec::new());
            secret.data = None;
            let note = "# Its data is copied from the Secret of the destination, and not shown.\n";
            text.push_str(&page(&self.from.cluster, note, &secret)?);
        }
        let source = manifest::source(self.args, &self.from.at, &self.claim, &link, &mark);
        text.push_str(&page(&self.from.cluster, "", &source)?);
        Ok(write!(std::io::stdout().lock(), "{text}")?)
    }

    async fn make(&self) -> Result<(), Error> {
        let made = self.ensure_destination(Mode::Make).await?;
        let made = made.map(Object::from).ok_or_else(|| Error::Deleted { object: self.to.name(&self.destination) })?;
        let (link, uid) = self.link(made).await?;
        let mark = manifest::mark_of(&self.to.at, &uid);
        let link = if self.is_within_one_namespace() {
            link
        } else {
            let psk = self.to.psk(&link.key_secret).await?;
            let secret = manifest::key(&self.key_at(), &mark, psk);
            self.from.ensure_key(&secret, Mode::Make).await?;
            Link { key_secret: self.key_at().name, ..link }
        };
        let source = self.ensure_source(&link, &mark, Mode::Make).await?;
        self.tell(source.as_ref());
        Ok(())
    }

    async fn ensure_destination(&self, mode: Mode) -> Result<Option<ReplicationDestination>, Error> {
        let asked = manifest::asked_of_destination(self.args);
        self.to.ensure(&self.destination, &asked, &self.claim.mark(), mode).await
    }

    async fn ensure_source(&self, link: &Link, mark: &str, mode: Mode) -> Result<Option<ReplicationSource>, Error> {
        let new = manifest::source(self.args, &self.from.at, &self.claim, link, mark);
        let asked = manifest::asked_of_source(self.args, link);
        self.from.ensure(&new, &asked, mark, mode).await
    }

    /// What comes next.
    fn tell(&self, source: Option<&ReplicationSource>) {
        let (context, at) = (&self.from.cluster.context, &self.from.at);
        let object = source.cloned().map(Object::from);
        let schedule = object.as_ref().filter(|object| object.manual().is_none()).and_then(Object::schedule);
        let when = match schedule {
            Some(schedule) => format!("by schedule ({})", text::one_line(schedule)),
            None => "for each new value of spec.trigger.manual".to_owned(),
        };
        println!(
            "It synchronizes {when}; see kubectl doppel --context {context} -n {} explain {} --kind source",
            at.namespace, at.name
        );
    }

    /// Waits until the destination says how it is reached.
    async fn link(&self, made: Object) -> Result<(Link, String), Error> {
        let limit = self.args.timeout;
        let waited = tokio::time::timeout(limit, self.reached(&made)).await;
        let Ok(reached) = waited else {
            return Err(self.late(&made, limit).await);
        };
        let object = reached?;
        match (object.ends.address, object.ends.key_secret) {
            (Some(address), Some(key_secret)) => {
                let (name, shown) = (self.to.name(&self.destination), text::one_line(&address));
                println!("{name}: listens on {shown}, its key is in Secret {}", text::one_line(&key_secret));
                Ok((Link { address, port: object.ends.port, key_secret }, object.uid))
            }
            _ => Err(Error::Deleted { object: self.to.name(&self.destination) }),
        }
    }

    async fn reached(&self, made: &Object) -> Result<Object, Error> {
        let mut seen = follow::object(&self.to.cluster, made);
        let mut said = String::new();
        let deleted = || Error::Deleted { object: self.to.name(&self.destination) };
        while let Some(object) = seen.try_next().await? {
            let object = object.ok_or_else(deleted)?;
            if object.ends.address.is_some() && object.ends.key_secret.is_some() {
                return Ok(object);
            }
            let state = state::of(&object);
            // Nothing but a change of the object helps, or somebody: there is nothing to wait for.
            if state.standing == Standing::Stalled {
                return Err(Error::Refused { object: self.to.name(&self.destination), why: state.message });
            }
            // It was made a moment ago: that nobody has looked at it is told when it lasts.
            let why =
                if state.server == Server::Nobody { "an operator is to look at it".to_owned() } else { state.message };
            if why != said {
                eprintln!("Waiting for its address and key: {why}");
                said = why;
            }
        }
        Err(deleted())
    }

    /// Why it took too long, as far as the cluster shows it.
    async fn late(&self, made: &Object, limit: Duration) -> Error {
        let now = match self.to.cluster.get(&made.namespace, &made.name, Kind::Destination).await {
            Ok(Some(object)) => explain::why(&self.to.cluster, object).await,
            Ok(None) => "it was deleted".to_owned(),
            Err(error) => error.to_string(),
        };
        Error::TimedOut {
            object: self.to.name(&self.destination),
            what: "it has no address and key",
            limit: text::span(limit.as_secs().try_into().unwrap_or(i64::MAX)),
            now: format!("{now}; what is made stays: run it again to go on"),
        }
    }
}

/// The claim to copy. A claim that is missed may be a namespace that is.
async fn read_claim(cluster: &Cluster, at: At) -> Result<Claim, Error> {
    let api = cluster.api::<PersistentVolumeClaim>(&at.namespace);
    let got = api.get_opt(&at.name).await;
    let got = got.map_err(|error| cluster.error("get", What::Other("persistentvolumeclaims"), &at.namespace, error))?;
    let Some(claim) = got else {
        end::namespace_exists(cluster, &at.namespace).await?;
        return Err(Error::NotFound {
            what: "PersistentVolumeClaim".to_owned(),
            name: at.name,
            scope: Scope::Namespace(at.namespace.clone()),
            context: cluster.context.clone(),
            remedy: format!("see kubectl --context {} -n {} get pvc", cluster.context, at.namespace),
        });
    };
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let why = match (phase, &claim.metadata.deletion_timestamp) {
        (_, Some(_)) => "it is being deleted",
        (Some("Lost"), None) => "its volume is gone (phase Lost)",
        (_, None) => return Ok(Claim::new(at, claim)),
    };
    let object = format!("PersistentVolumeClaim {}/{}", at.namespace, at.name);
    Err(Error::Refused { object, why: why.to_owned() })
}

/// A manifest, with the context that it is for.
fn page(cluster: &Cluster, note: &str, object: &impl Serialize) -> Result<String, Error> {
    let yaml = serde_yaml_ng::to_string(object).map_err(|error| Error::Output(std::io::Error::other(error)))?;
    Ok(format!("---\n# Context {}\n{note}{yaml}", text::one_line(&cluster.context)))
}
