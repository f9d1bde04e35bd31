//! The VolumePopulator: it tells the cluster's data source validator that ReplicationDestinations fill claims. Without it
//! that warns its users about claims which name one.
//!
//! `populator.storage.k8s.io/v1beta1`, whose only field beside the metadata is `sourceKind`.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use crate::model::name;
use crate::model::replication::Role;

/// The name of the definition that the object is an instance of.
pub const CRD: &str = "volumepopulators.populator.storage.k8s.io";
/// VolSync's name for it.
const NAME: &str = "volsync-replicationdestination";

/// How the API calls it.
#[must_use]
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("populator.storage.k8s.io", "v1beta1", "VolumePopulator"),
        "volumepopulators",
    )
}

/// The object, one for a cluster.
#[must_use]
pub fn build() -> DynamicObject {
    let (key, value) = name::CREATED_BY;
    let mut object = DynamicObject::new(NAME, &resource());
    object.metadata.labels = Some([(key.to_owned(), value.to_owned())].into());
    object.data = json!({"sourceKind": {"group": "volsync.backube", "kind": Role::Destination.kind()}});
    object
}
