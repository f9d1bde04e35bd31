//! READ, WRITE: one end of a pair: looks whose an object is, and makes or mends what is this pair's.

use doppel::api::destination::{ReplicationDestination, ReplicationDestinationSpec};
use doppel::api::source::{ReplicationSource, ReplicationSourceSpec};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::manifest::{self, At, Owner, PSK};
use crate::cluster::{Cluster, MANAGER, Scope};
use crate::error::{Error, What};
use crate::object::Kind;

/// A cluster, and where in it.
pub(super) struct End {
    pub(super) cluster: Cluster,
    pub(super) at: At,
}

/// Whether something is made, or only whether it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Rehearse,
    Make,
}

/// One of the two kinds.
pub(super) trait Replication: Resource<Scope = NamespaceResourceScope, DynamicType = ()> {
    const KIND: Kind;
    type Spec: Serialize;
    fn spec(&self) -> &Self::Spec;
}

impl Replication for ReplicationSource {
    const KIND: Kind = Kind::Source;
    type Spec = ReplicationSourceSpec;
    fn spec(&self) -> &Self::Spec {
        &self.spec
    }
}

impl Replication for ReplicationDestination {
    const KIND: Kind = Kind::Destination;
    type Spec = ReplicationDestinationSpec;
    fn spec(&self) -> &Self::Spec {
        &self.spec
    }
}

impl End {
    /// An object of this end, as messages name it.
    pub(super) fn name<K: Resource<DynamicType = ()>>(&self, object: &K) -> String {
        let (namespace, name) = (&self.at.namespace, object.meta().name.as_deref().unwrap_or_default());
        format!("{} {namespace}/{name} (context {})", K::kind(&()), self.cluster.context)
    }

    /// Makes it, or changes in what is there what was asked for. Returns the object as it is then; while rehearsing, as it is if it is
    /// there.
    pub(super) async fn ensure<K>(&self, new: &K, asked: &K::Spec, mark: &str, mode: Mode) -> Result<Option<K>, Error>
    where
        K: Replication + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let what = What::Replications(K::KIND);
        let api = self.cluster.api::<K>(&self.at.namespace);
        let Some(found) = self.find(&api, what, new).await? else {
            return self.create(&api, what, new, mode).await;
        };
        self.refuse_others(&found, mark)?;
        let Some((spec, fields)) = manifest::change(&value_of(found.spec())?, &value_of(asked)?) else {
            self.say(new, mode, "is there already");
            return Ok(Some(found));
        };
        if mode == Mode::Rehearse {
            return Ok(Some(found));
        }
        let change = json!({ "metadata": unchanged(&found), "spec": spec });
        let patched = api.patch(&new.name_any(), &params(), &Patch::Merge(change)).await;
        let patched = patched.map_err(|error| self.write_error("patch", what, new, error))?;
        self.say(new, mode, &format!("changed ({})", fields.join("; ")));
        Ok(Some(patched))
    }

    /// The copy of a key. It is this program's as a whole, so another content is replaced.
    pub(super) async fn ensure_key(&self, wish: &Secret, mode: Mode) -> Result<(), Error> {
        const WHAT: What = What::Other("secrets");
        let api = self.cluster.api::<Secret>(&self.at.namespace);
        let Some(found) = self.find(&api, WHAT, wish).await? else {
            return self.create(&api, WHAT, wish, mode).await.map(drop);
        };
        // A copy of another destination's key, or of one that was made anew: what is copied from decides.
        if manifest::owner(&found.metadata, "") == Owner::Somebody {
            return Err(self.not_ours(&found, "this program did not make it"));
        }
        if mode == Mode::Rehearse {
            return Ok(());
        }
        let annotations = wish.metadata.annotations.as_ref();
        if found.data == wish.data && found.metadata.annotations.as_ref() == annotations {
            self.say(wish, mode, "is there already");
            return Ok(());
        }
        let (uid, version) = (&found.metadata.uid, &found.metadata.resource_version);
        let metadata = json!({ "uid": uid, "resourceVersion": version, "annotations": annotations });
        let change = json!({ "metadata": metadata, "data": wish.data });
        let patched = api.patch(&wish.name_any(), &params(), &Patch::Merge(change)).await;
        patched.map_err(|error| self.write_error("patch", WHAT, wish, error))?;
        self.say(wish, mode, "has the destination's present key now");
        Ok(())
    }

    /// The pre-shared key in a Secret of this end.
    pub(super) async fn psk(&self, name: &str) -> Result<Vec<u8>, Error> {
        let api = self.cluster.api::<Secret>(&self.at.namespace);
        let got = api.get_opt(name).await;
        let got = got.map_err(|error| self.cluster.error("get", What::Other("secrets"), &self.at.namespace, error))?;
        let secret = got.ok_or_else(|| Error::NotFound {
            what: "Secret".to_owned(),
            name: name.to_owned(),
            scope: Scope::Namespace(self.at.namespace.clone()),
            context: self.cluster.context.clone(),
            remedy: "the destination's status names it: see kubectl doppel explain of it".to_owned(),
        })?;
        let object = self.name(&secret);
        let psk = secret.data.and_then(|mut data| data.remove(PSK)).filter(|psk| !psk.0.is_empty());
        psk.map(|psk| psk.0).ok_or_else(|| Error::Refused { object, why: format!("it has no key {PSK}") })
    }

    async fn find<K>(&self, api: &Api<K>, what: What, wish: &K) -> Result<Option<K>, Error>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let got = api.get_opt(&wish.name_any()).await;
        got.map_err(|error| self.cluster.error("get", what, &self.at.namespace, error))
    }

    async fn create<K>(&self, api: &Api<K>, what: What, wish: &K, mode: Mode) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    {
        let params = PostParams { dry_run: mode == Mode::Rehearse, field_manager: Some(MANAGER.to_owned()) };
        match api.create(&params, wish).await {
            Ok(made) => {
                self.say(wish, mode, "created");
                Ok((mode == Mode::Make).then_some(made))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                namespace_exists(&self.cluster, &self.at.namespace).await?;
                Err(self.write_error("create", what, wish, kube::Error::Api(status)))
            }
            Err(error) => Err(self.write_error("create", what, wish, error)),
        }
    }

    fn refuse_others<K: Replication>(&self, found: &K, mark: &str) -> Result<(), Error> {
        match manifest::owner(found.meta(), mark) {
            Owner::ThisPair => Ok(()),
            Owner::Somebody => Err(self.not_ours(found, "this program did not make it")),
            Owner::OtherPair(other) => Err(self.not_ours(found, &format!("its other end is {other}, not {mark}"))),
        }
    }

    fn not_ours<K: Resource<DynamicType = ()>>(&self, found: &K, why: &str) -> Error {
        let remedy = "it was left alone: delete it, or say another name (CONTEXT/NAMESPACE/NAME)";
        Error::NotOurs { object: self.name(found), why: format!("{why}; {remedy}") }
    }

    /// A write that was refused: by somebody else's write in between, or by what the API server says.
    fn write_error<K: Resource<DynamicType = ()>>(
        &self,
        verb: &'static str,
        what: What,
        wish: &K,
        error: kube::Error,
    ) -> Error {
        match error {
            kube::Error::Api(status) if status.code == 409 => Error::Busy { object: self.name(wish) },
            kube::Error::Api(status) if status.code == 422 => {
                Error::Refused { object: self.name(wish), why: crate::text::one_line(&status.message) }
            }
            error => self.cluster.error(verb, what, &self.at.namespace, error),
        }
    }

    fn say<K: Resource<DynamicType = ()>>(&self, object: &K, mode: Mode, what: &str) {
        if mode == Mode::Make {
            println!("{}: {what}", self.name(object));
        }
    }
}

fn value_of(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::Output(error.into()))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// The condition that an object is still the one that was read.
fn unchanged<K: Resource>(found: &K) -> Value {
    json!({ "uid": found.meta().uid, "resourceVersion": found.meta().resource_version })
}

/// Whether the API is served there. Whoever may log in may ask.
pub(super) async fn is_served(cluster: &Cluster, kind: Kind) -> Result<(), Error> {
    match cluster.client.list_api_group_resources("volsync.backube/v1alpha1").await {
        Ok(list) if list.resources.iter().any(|resource| resource.name == kind.plural()) => Ok(()),
        Ok(_) => Err(Error::NotInstalled { context: cluster.context.clone(), kind }),
        Err(error) => Err(Error::of_call(
            crate::error::Action { verb: "list", what: What::Replications(kind), scope: Scope::Everywhere },
            &cluster.context,
            error,
        )),
    }
}

/// An error if it is known that there is no such namespace: not everybody may ask.
pub(super) async fn namespace_exists(cluster: &Cluster, namespace: &str) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    match api.get_opt(namespace).await {
        Ok(None) => Err(Error::NoNamespace { namespace: namespace.to_owned(), context: cluster.context.clone() }),
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}
