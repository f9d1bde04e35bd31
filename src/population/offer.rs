//! Tells the cluster that ReplicationDestinations fill claims, whenever it has a place where that is told: the driver of the one
//! VolumePopulator.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::watcher::Config;
use kube::{Client, ResourceExt};

use crate::apply::FIELD_MANAGER;
use crate::resources::populator;

/// A pause after a refusal. A definition that was established a moment ago is served within seconds; a right that is missing
/// is granted by somebody.
const RETRY: Duration = Duration::from_secs(15);

/// Selects the one definition to be watched: it may be installed at any time.
#[must_use]
pub fn definition() -> Config {
    Config::default().fields(&format!("metadata.name={}", populator::CRD))
}

/// One pass over the definition.
///
/// # Errors
/// Never: what goes wrong is logged, and tried again.
pub async fn reconcile(
    definition: Arc<CustomResourceDefinition>,
    client: Arc<Client>,
) -> Result<Action, std::convert::Infallible> {
    if !is_established(&definition) {
        return Ok(Action::await_change());
    }
    let api = Api::<DynamicObject>::all_with(Client::clone(&client), &populator::resource());
    let object = populator::build();
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await {
        Ok(_) => Ok(Action::await_change()),
        Err(error) => {
            tracing::warn!(name = object.name_any(), %error, pause = ?RETRY, "VolumePopulator was not applied");
            Ok(Action::requeue(RETRY))
        }
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}
