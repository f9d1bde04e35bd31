//! `restore`: fills a claim from the repository of an object, and waits for it.
//!
//! It writes a ReplicationDestination with a manual trigger, and a claim where there is none of the name: what a user would write.

mod manifest;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use self::manifest::{MADE_BY, Repository, Wish};
use crate::args::RestoreArgs;
use crate::cluster::{Cluster, MANAGER};
use crate::error::{Error, What};
use crate::object::{Kind, Object};
use crate::sync;

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, namespace: &str, args: &RestoreArgs) -> Result<(), Error> {
    let object = cluster.find(namespace, args.which.name(), args.which.kind()).await?;
    let repository = repository(cluster, &object).await?;
    let former = object.ends.claim.clone();
    let claim = match (&args.to, &former) {
        (Some(claim), _) => claim.clone(),
        (None, Some(former)) => format!("{former}-restored"),
        (None, None) => {
            let why = "it names no claim whose name the new one could have; say --to PVC".to_owned();
            return Err(Error::Refused { object: object.to_string(), why });
        }
    };
    let tag = format!("{}{}", sync::PREFIX, Timestamp::now());
    let wish = Wish { namespace: namespace.to_owned(), claim, at: args.at, delete: args.delete, tag };
    let made = manifest::destination(&wish, repository);
    let new = new_claim(cluster, &object, &wish, (args, former.as_deref())).await?;
    if args.dry_run {
        return print(new.as_ref(), &made);
    }
    let begun = begin(cluster, namespace, made).await?;
    if let Some(new) = &new {
        let claims = cluster.api::<PersistentVolumeClaim>(namespace);
        let created = claims.create(&post(), new).await;
        created.map_err(|error| cluster.error("create", What::Other("persistentvolumeclaims"), namespace, error))?;
        println!("PersistentVolumeClaim {namespace}/{}: created", wish.claim);
    }
    println!("{begun}: restores into PersistentVolumeClaim {}", wish.claim);
    let ended = sync::await_asked(cluster, begun, wish.tag, args.timeout).await?;
    if let Some(nothing) = sync::nothing(&ended.sync()) {
        // The operator counts that as done, because first deployments rely on it. Who asks for a restore does not.
        let why = format!(
            "{nothing}; see kubectl doppel snapshots {}; PersistentVolumeClaim {} is as it was",
            object.name, wish.claim
        );
        return Err(Error::Refused { object: ended.to_string(), why });
    }
    println!(
        "The claim is filled. The ReplicationDestination {} may be deleted; the claim stays.",
        manifest::name(&wish.claim)
    );
    Ok(())
}

async fn repository(cluster: &Cluster, object: &Object) -> Result<Repository, Error> {
    let (namespace, name) = (&object.namespace, &object.name);
    let found = match object.kind {
        Kind::Source => {
            let got = cluster.api::<ReplicationSource>(namespace).get(name).await;
            got.map(|source| Repository::of_source(&source))
        }
        Kind::Destination => {
            let got = cluster.api::<ReplicationDestination>(namespace).get(name).await;
            got.map(|destination| Repository::of_destination(&destination))
        }
    };
    let found = found.map_err(|error| cluster.error("get", What::Replications(object.kind), namespace, error))?;
    found.ok_or_else(|| Error::Refused {
        object: object.to_string(),
        why: format!("its method is {}; only from repositories of restic can be restored", object.method),
    })
}

/// The claim to be made, if there is none of the name. One that is there is written to only if the user named it.
async fn new_claim(
    cluster: &Cluster,
    object: &Object,
    wish: &Wish,
    (args, former): (&RestoreArgs, Option<&str>),
) -> Result<Option<PersistentVolumeClaim>, Error> {
    let claims = cluster.api::<PersistentVolumeClaim>(&wish.namespace);
    let failed = |error| cluster.error("get", What::Other("persistentvolumeclaims"), &wish.namespace, error);
    if claims.get_opt(&wish.claim).await.map_err(failed)?.is_some() {
        if args.to.is_some() {
            return Ok(None);
        }
        let why = format!(
            "PersistentVolumeClaim {} is there already; to restore into it, say --to {}",
            wish.claim, wish.claim
        );
        return Err(Error::Refused { object: object.to_string(), why });
    }
    let like = match former {
        Some(former) => claims.get_opt(former).await.map_err(failed)?,
        None => None,
    };
    let like = like.ok_or_else(|| Error::Refused {
        object: object.to_string(),
        why: format!("there is no claim that {} could be made like; create it first", wish.claim),
    })?;
    Ok(Some(manifest::claim(wish, &like)))
}

/// Creates the object, or has one that this program made do it again.
async fn begin(cluster: &Cluster, namespace: &str, made: ReplicationDestination) -> Result<Object, Error> {
    let destinations = cluster.api::<ReplicationDestination>(namespace);
    let name = made.name_any();
    let failed = |verb| move |error| cluster.error(verb, What::Replications(Kind::Destination), namespace, error);
    let Some(present) = destinations.get_opt(&name).await.map_err(failed("get"))? else {
        return destinations.create(&post(), &made).await.map(Object::from).map_err(failed("create"));
    };
    if present.labels().get(MADE_BY.0).is_none_or(|by| by != MADE_BY.1) {
        let why = format!("it has no label {}={}; rename it, or choose another --to", MADE_BY.0, MADE_BY.1);
        return Err(Error::NotOurs { object: Object::from(present).to_string(), why });
    }
    let mut wanted = json!({ "metadata": { "resourceVersion": present.resource_version() }, "spec": made.spec });
    // What a former restore asked for and this one does not.
    if let Some(restic) = wanted.pointer_mut("/spec/restic").and_then(Value::as_object_mut) {
        for field in ["restoreAsOf", "enableFileDeletion"] {
            restic.entry(field).or_insert(Value::Null);
        }
    }
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    destinations.patch(&name, &params, &Patch::Merge(wanted)).await.map(Object::from).map_err(failed("patch"))
}

fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn print(claim: Option<&PersistentVolumeClaim>, destination: &ReplicationDestination) -> Result<(), Error> {
    let yaml =
        |text: Result<String, serde_yaml_ng::Error>| text.map_err(|error| Error::Output(std::io::Error::other(error)));
    if let Some(claim) = claim {
        println!("{}---", yaml(serde_yaml_ng::to_string(claim))?);
    }
    print!("{}", yaml(serde_yaml_ng::to_string(destination))?);
    Ok(())
}
