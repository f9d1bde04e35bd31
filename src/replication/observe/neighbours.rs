//! What a mover that is yet to start needs or meets: further volumes, pods that use the same claims, Secrets for its image.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Pod, Secret, Volume};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use super::Reader;
use crate::model::name;
use crate::model::observed::{ClaimUser, Observed, PodState, PullSecret, Sharing};
use crate::model::pod::MoverImage;
use crate::model::replication::Replication;
use crate::resources::secret;

impl Reader<'_> {
    /// Adds the neighbours to what was seen.
    pub(super) async fn neighbours(
        &self,
        wish: &Replication,
        image: &MoverImage,
        seen: Observed,
    ) -> kube::Result<Observed> {
        let pod = wish.mover.pod();
        let secrets = self.api::<Secret>();
        // A ServiceAccount of the user's brings its own.
        let pull_secrets = image.pull_secrets.iter().filter(|_| pod.service_account.is_none());
        let (claims, secrets, pull_secrets) = futures::try_join!(
            try_join_all(pod.claims().map(|name| self.other_claim(name))),
            try_join_all(pod.secrets().map(|name| secrets.get_metadata_opt(name))),
            try_join_all(pull_secrets.map(|name| self.pull_secret(&image.namespace, name))),
        )?;
        let extra_claims: Vec<_> = claims.into_iter().flatten().collect();
        let shared = seen.claim.iter().filter(|_| wish.direction.shares_claim()).chain(&extra_claims);
        let shared: Vec<_> =
            shared.filter(|claim| claim.sharing() != Sharing::AnyNode).map(|claim| claim.name.clone()).collect();
        let users = if shared.is_empty() { Vec::new() } else { self.users(&shared).await? };
        Ok(Observed {
            extra_claims,
            extra_secrets: secrets.into_iter().flatten().map(|secret| secret.name_any()).collect(),
            pull_secrets: pull_secrets.into_iter().flatten().collect(),
            users,
            ..seen
        })
    }

    /// Pods of movers are left out: they do not decide where a volume is.
    async fn users(&self, claims: &[String]) -> kube::Result<Vec<ClaimUser>> {
        let (key, value) = name::CREATED_BY;
        let selector = ListParams::default()
            .labels(&format!("{key}!={value}"))
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        Ok(users(&self.api::<Pod>().list(&selector).await?.items, claims))
    }

    /// A Secret of the operator's own namespace. One that is not there is only logged: the image may be had without it.
    async fn pull_secret(&self, namespace: &str, original: &str) -> kube::Result<Option<PullSecret>> {
        let originals = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let Some(content) = originals.get_opt(original).await?.as_ref().map(secret::content) else {
            tracing::warn!(namespace, name = original, "Secret for pulling the movers' image does not exist");
            return Ok(None);
        };
        let copy = name::pull_secret(self.owner, original, &content);
        let copied = self.api::<Secret>().get_metadata_opt(&copy).await?.is_some();
        Ok(Some(PullSecret { original: original.to_owned(), copy, copied }))
    }
}

/// The pods that use one of these claims, or will as soon as they run. Pods that have ended use nothing.
fn users(pods: &[Pod], claims: &[String]) -> Vec<ClaimUser> {
    pods.iter().flat_map(|pod| uses(pod, claims)).collect()
}

fn uses(pod: &Pod, claims: &[String]) -> Vec<ClaimUser> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let state = match phase {
        Some("Succeeded" | "Failed") => return Vec::new(),
        _ if pod.metadata.deletion_timestamp.is_some() => PodState::Ending,
        Some("Running") => PodState::Running,
        _ => PodState::Pending,
    };
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    claims
        .iter()
        .filter(|claim| volumes.iter().any(|volume| claim_of(pod, volume).as_ref() == Some(*claim)))
        .map(|claim| ClaimUser {
            claim: claim.clone(),
            pod: pod.name_any(),
            node: spec.node_name.clone(),
            state,
            // What was read as JSON is written as JSON.
            tolerations: tolerations.iter().filter_map(|toleration| serde_json::to_value(toleration).ok()).collect(),
        })
        .collect()
}

/// The claim behind a volume: named, or made for this pod (an ephemeral volume's claim is named after both).
fn claim_of(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(volume: &serde_json::Value, phase: &str) -> Pod {
        let tolerations = json!([{"key": "storage", "operator": "Exists"}]);
        serde_json::from_value(json!({
            "metadata": {"name": "web-0"},
            "spec": {"nodeName": "n1", "containers": [], "volumes": [volume], "tolerations": tolerations},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn named() -> serde_json::Value {
        json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}})
    }

    fn found(pod: Pod) -> Vec<ClaimUser> {
        users(&[pod], &["data".to_owned(), "web-0-scratch".to_owned()])
    }

    #[test]
    fn a_pod_uses_the_claims_it_names_and_those_made_for_it() {
        let [user] = &found(pod(&named(), "Running"))[..] else { panic!() };
        assert_eq!((user.claim.as_str(), user.pod.as_str(), user.node.as_deref()), ("data", "web-0", Some("n1")));
        assert_eq!((user.state, user.tolerations.len()), (PodState::Running, 1));
        let ephemeral = json!({"name": "scratch", "ephemeral": {}});
        assert_eq!(found(pod(&ephemeral, "Running"))[0].claim, "web-0-scratch");
        let other = json!({"name": "v", "persistentVolumeClaim": {"claimName": "other"}});
        assert!(found(pod(&other, "Running")).is_empty());
        assert!(found(pod(&json!({"name": "data", "emptyDir": {}}), "Running")).is_empty());
    }

    #[test]
    fn a_pod_that_has_ended_uses_nothing_and_one_that_is_deleted_is_ending() {
        for phase in ["Succeeded", "Failed"] {
            assert!(found(pod(&named(), phase)).is_empty(), "{phase}");
        }
        assert_eq!(found(pod(&named(), "Pending"))[0].state, PodState::Pending);
        let mut deleted = pod(&named(), "Running");
        deleted.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-11-23T10:00:00Z")).unwrap());
        assert_eq!(found(deleted)[0].state, PodState::Ending);
    }
}
