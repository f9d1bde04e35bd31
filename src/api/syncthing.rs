//! Syncthing, which only a ReplicationSource can name.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::MoverConfig;

/// A volume that is kept in step with others by Syncthing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Syncthing {
    /// The devices to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<SyncthingPeer>>,

    /// The type of the Service that the other devices connect to; ClusterIP when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,

    /// The size of the volume for Syncthing's own data; 1Gi when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_capacity: Option<Quantity>,

    /// The StorageClass of the volume for Syncthing's own data; when absent that of the source volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_storage_class_name: Option<String>,

    /// The access modes of the volume for Syncthing's own data; when absent those of the source volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_access_modes: Option<Vec<String>>,

    /// Settings of the mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// A Syncthing device to connect to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncthingPeer {
    /// The address of the device, for example tcp://host:22000.
    pub address: String,

    /// The ID of the device.
    #[serde(rename = "ID")]
    pub id: String,

    /// Whether devices that this one knows are connected to as well.
    pub introducer: bool,
}

/// The state of the Syncthing device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncthingStatus {
    /// The devices that this one knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<SyncthingPeerStatus>>,

    /// The ID of this device.
    #[serde(rename = "ID", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,

    /// The address that this device listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The state of another Syncthing device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncthingPeerStatus {
    /// The address of the device.
    pub address: String,

    /// The ID of the device.
    #[serde(rename = "ID")]
    pub id: String,

    /// Whether the device is connected.
    pub connected: bool,

    /// The name of the device that introduced this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduced_by: Option<String>,

    /// The name of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
