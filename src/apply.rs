//! WRITE: performs steps, in order, and stops at the first error.
//!
//! What is begun, and a key Secret, is created and never overwritten: what is there already refuses it. What is to be as it is wanted
//! (ServiceAccount, Service) is written by server-side apply under one field manager; fields of objects that may not be ours as a whole
//! (a Job's parallelism, a claim's request, a snapshot's owners) are patched alone; deletions name the UID that was seen.

mod fill;
pub mod own;

use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use doppel_contract::Line;

use self::own::OwnWrites;
use crate::mirror::{Mirrored, Mirrors};
use crate::model::name;
use crate::model::observed::Claimed;
use crate::model::pod::MoverImage;
use crate::model::replication::{Owner, Role};
use crate::model::step::{Doomed, Ending, MoverRun, Step};
use crate::resources::job::BuildError;
use crate::resources::snapshot::VolumeSnapshot;
use crate::resources::{self, secret};

/// The field manager of everything that Doppel applies.
pub const FIELD_MANAGER: &str = "doppel";

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused.
    #[error("{step}: {source}")]
    Api {
        /// What was being done.
        step: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// A part of a pod that the user wrote cannot be read.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The system gave no random bytes for a key.
    #[error("no random bytes for a new key: {0}")]
    Random(std::io::Error),
}

impl ApplyError {
    /// For a user: without what kube adds to the API server's words for developers.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Api { step, source: kube::Error::Api(status) } => format!("{step}: {}", Line::new(&status.message)),
            other => other.to_string(),
        }
    }
}

/// Performs steps for one object.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    image: MoverImage,
    turns: fill::Turns,
    own: OwnWrites,
}

impl Applier {
    /// An applier that starts movers from this image.
    #[must_use]
    pub fn new(client: Client, image: MoverImage) -> Self {
        Self { client, image, turns: fill::Turns::default(), own: OwnWrites::default() }
    }

    /// What of its own writes is no news.
    #[must_use]
    pub fn own(&self) -> &OwnWrites {
        &self.own
    }

    /// Performs these steps in order. What comes of them is noted in `mirrors`.
    ///
    /// # Errors
    /// The first step that fails; the steps behind it were not tried.
    pub async fn apply(&self, owner: &Owner, steps: &[Step], mirrors: &Mirrors) -> Result<(), ApplyError> {
        for step in steps {
            self.perform(owner, step, mirrors).await?;
        }
        Ok(())
    }

    async fn perform(&self, owner: &Owner, step: &Step, mirrors: &Mirrors) -> Result<(), ApplyError> {
        let namespace = &owner.namespace;
        let result = match step {
            Step::CreateKey { secret } => self.create_key(owner, secret).await?,
            Step::CopyPullSecret { original, copy } => self.copy_pull_secret(owner, original, copy).await,
            Step::EnsureAccount { name } => {
                self.ensure(namespace, &resources::account::build(owner, name), mirrors).await
            }
            Step::EnsureService(new) => self.ensure(namespace, &resources::service::build(owner, new), mirrors).await,
            Step::CreateClaim(new) => self.begin(namespace, &resources::claim::build(owner, new), mirrors).await,
            Step::TakeSnapshot(new) => self.begin(namespace, &resources::snapshot::build(owner, new), mirrors).await,
            Step::StartMover(run) => {
                let run = with_receiver(run, owner, mirrors);
                self.begin(namespace, &resources::job::build(owner, &run, &self.image)?, mirrors).await
            }
            Step::GrowClaim { name, capacity } => {
                let patch = json!({"spec": {"resources": {"requests": {"storage": capacity}}}});
                let grown = self.merge::<PersistentVolumeClaim>(namespace, name, &patch).await;
                grown.map(|claim| mirrors.put(&claim))
            }
            Step::AnswerCopyTrigger { claim, answer } => {
                let patch = resources::claim::copy_answer(answer);
                let answered = self.merge::<PersistentVolumeClaim>(namespace, claim, &patch).await;
                answered.map(|claim| mirrors.put(&claim))
            }
            Step::ForgetNotedImage { claim } => {
                let patch = resources::claim::without_noted_image();
                let without = self.merge::<PersistentVolumeClaim>(namespace, claim, &patch).await;
                without.map(|claim| mirrors.put(&claim))
            }
            Step::SetPace { job, pace } => {
                let patch = json!({"spec": {"parallelism": resources::job::parallelism(*pace)}});
                self.merge::<Job>(namespace, job, &patch).await.map(|job| mirrors.put(&job))
            }
            Step::StopMover { job, ending } => {
                let policy = match ending {
                    Ending::Finished => PropagationPolicy::Background,
                    Ending::Interrupted => PropagationPolicy::Foreground,
                };
                let remains = self.delete::<Job>(namespace, (job, None), policy).await;
                remains.map(|remains| remains.note(mirrors, namespace, job))
            }
            Step::DeleteClaim(claim) => {
                let seen = (claim, None);
                let remains =
                    self.delete::<PersistentVolumeClaim>(namespace, seen, PropagationPolicy::Background).await;
                remains.map(|remains| remains.note(mirrors, namespace, claim))
            }
            Step::DeleteSnapshot { snapshot, resource_version } => {
                let seen = (snapshot, Some(resource_version));
                let remains = self.delete::<VolumeSnapshot>(namespace, seen, PropagationPolicy::Background).await;
                remains.map(|remains| remains.note(mirrors, namespace, snapshot))
            }
            Step::ReleaseSnapshot { name, resource_version, claimed } => {
                self.release(owner, (name, resource_version), *claimed).await
            }
        };
        result.map_err(|source| ApplyError::Api { step: step.describe(), source })
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates what others go on with. That it is there is no news: what they make of it is.
    async fn begin<K>(&self, namespace: &str, object: &K, mirrors: &Mirrors) -> kube::Result<()>
    where
        K: Mirrored + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        let begun = self.api::<K>(namespace).create(&post_parameters(), object).await?;
        self.own.note(&begun);
        mirrors.put(&begun);
        Ok(())
    }

    /// Applies what the next pass reads something of: an address that was given to it, for example.
    async fn ensure<K>(&self, namespace: &str, object: &K, mirrors: &Mirrors) -> kube::Result<()>
    where
        K: Mirrored + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize,
    {
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let ensured = self.api::<K>(namespace).patch(&object.name_any(), &parameters, &Patch::Apply(object)).await?;
        mirrors.put(&ensured);
        Ok(())
    }

    async fn merge<K>(&self, namespace: &str, name: &str, patch: &serde_json::Value) -> kube::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>(namespace).patch(name, &merge_parameters(), &Patch::Merge(patch)).await
    }

    /// Deletes exactly the object that was seen. That it is gone, or another one by now, is as good; where it has changed,
    /// the next pass sees what it is now.
    async fn delete<K>(
        &self,
        namespace: &str,
        (doomed, resource_version): (&Doomed, Option<&String>),
        propagation: PropagationPolicy,
    ) -> kube::Result<Remains<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let parameters = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(Preconditions {
                uid: Some(doomed.uid.clone()),
                resource_version: resource_version.cloned(),
            }),
            ..DeleteParams::default()
        };
        match self.api::<K>(namespace).delete(&doomed.name, &parameters).await {
            Ok(answer) => Ok(answer.left().map_or(Remains::Nothing, |going| Remains::Going(Box::new(going)))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Remains::Nothing),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Remains::Another),
            Err(error) => Err(error),
        }
    }

    async fn create_key(&self, owner: &Owner, name: &str) -> Result<kube::Result<()>, ApplyError> {
        let key = random_key().map_err(ApplyError::Random)?;
        Ok(self.create_secret(owner, &secret::build(owner, name, &key)).await)
    }

    /// The one read outside of the owner's namespace. What is read is named by whoever runs the operator, not by a user.
    async fn copy_pull_secret(&self, owner: &Owner, original: &str, copy: &str) -> kube::Result<()> {
        let originals = Api::<Secret>::namespaced(self.client.clone(), &self.image.namespace);
        match originals.get_opt(original).await? {
            Some(original) => self.create_secret(owner, &secret::copy(owner, copy, &original)).await,
            // It went away meanwhile; the next pass does not ask for it.
            None => Ok(()),
        }
    }

    async fn create_secret(&self, owner: &Owner, secret: &Secret) -> kube::Result<()> {
        match self.api::<Secret>(&owner.namespace).create(&post_parameters(), secret).await {
            Ok(_) => Ok(()),
            // Somebody made it meanwhile; the next pass looks at what it holds.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes our owner reference off. If a user claimed the snapshot, our labels too, and the references to claims: those are being
    /// filled from it, and it would go with the last of them.
    async fn release(
        &self,
        owner: &Owner,
        (name, resource_version): (&str, &str),
        claimed: Claimed,
    ) -> kube::Result<()> {
        let api = self.api::<VolumeSnapshot>(&owner.namespace);
        let Some(snapshot) = api.get_metadata_opt(name).await? else {
            return Ok(());
        };
        let is_kept = claimed == Claimed::ByUser;
        let claim = PersistentVolumeClaim::kind(&());
        let stays = |reference: &&OwnerReference| reference.uid != owner.uid && !(is_kept && reference.kind == claim);
        let owners: Vec<_> = snapshot.owner_references().iter().filter(stays).cloned().collect();
        let labels = if is_kept { json!({name::CREATED_BY.0: null, name::CLEANUP_LABEL: null}) } else { json!({}) };
        let patch = json!({"metadata": {
            "resourceVersion": resource_version, "ownerReferences": owners, "labels": labels,
        }});
        self.merge::<VolumeSnapshot>(&owner.namespace, name, &patch).await.map(drop)
    }
}

/// What is left of an object that was to be deleted.
enum Remains<K> {
    /// It, until those who hold it let go.
    Going(Box<K>),
    /// Nothing.
    Nothing,
    /// Another one, or it has changed.
    Another,
}

impl<K: Mirrored> Remains<K> {
    fn note(self, mirrors: &Mirrors, namespace: &str, deleted: &Doomed) {
        match self {
            Self::Going(going) => mirrors.put(&*going),
            Self::Nothing => mirrors.of::<K>().remove(namespace, &deleted.name, &deleted.uid),
            Self::Another => {}
        }
    }
}

/// With the UID of a destination's claim, which may have been made just now.
fn with_receiver(run: &MoverRun, owner: &Owner, mirrors: &Mirrors) -> MoverRun {
    let made = || mirrors.of::<PersistentVolumeClaim>().get(&owner.namespace, &run.claim)??.uid();
    let receiver = run.receiver.clone().or_else(|| made().filter(|_| owner.role == Role::Destination));
    MoverRun { receiver, ..run.clone() }
}

fn post_parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn merge_parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn random_key() -> std::io::Result<[u8; secret::PSK_BYTES]> {
    use std::io::Read as _;
    let mut key = [0; secret::PSK_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}
