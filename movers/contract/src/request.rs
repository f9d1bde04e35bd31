//! What a mover is asked to do.

use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ResticBackup, ResticRestore};

/// One run of a mover. Holds no secret: keys are mounted as files and named by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// What is moved.
    pub volume: Volume,
    /// What to do with it.
    pub work: Work,
    /// Seconds that the run may take. For a destination they begin when an authenticated source has connected: waiting
    /// for a source has no limit, because only the source knows when it will come. Absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<NonZeroU64>,
    /// The TCP port at which the mover tells how far it is: whoever connects gets one line, a [`Progress`] as JSON, and
    /// is closed. Nothing is read there. Absent: it tells nobody.
    ///
    /// [`Progress`]: crate::Progress
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_port: Option<NonZeroU16>,
}

/// A volume, as the pod of a mover has it. In JSON a tree is its path alone, a device is an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Volume {
    /// Files and directories: where the volume is mounted.
    Tree(PathBuf),
    /// A raw block device.
    Device(DeviceVolume),
}

/// A raw block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceVolume {
    /// The device's node.
    pub device: PathBuf,
}

impl Volume {
    /// The device at this path.
    #[must_use]
    pub fn device(path: impl Into<PathBuf>) -> Self {
        Self::Device(DeviceVolume { device: path.into() })
    }
}

/// The engine to run, its direction, and what only that one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mover", rename_all = "kebab-case")]
pub enum Work {
    /// Send the volume to an rsync daemon behind TLS with a pre-shared key.
    RsyncTlsSource(RsyncTlsSource),
    /// Be that daemon and receive the volume.
    RsyncTlsDestination(RsyncTlsDestination),
    /// Back the volume up into a restic repository.
    ResticBackup(ResticBackup),
    /// Fill the volume from a restic repository.
    ResticRestore(ResticRestore),
}

/// A source of rsync over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RsyncTlsSource {
    /// Host name or IP address of the destination, without a port and without brackets.
    pub address: String,
    /// TCP port of the destination.
    pub port: NonZeroU16,
    /// The file with the pre-shared key, one line `identity:hexadecimal key`.
    pub key_file: PathBuf,
    /// What to do when the volume is empty.
    pub empty_source: EmptySource,
    /// Whether both ends are compared in the end. Only a Doppel at the other end can do that.
    #[serde(default, skip_serializing_if = "Verification::is_none")]
    pub verification: Verification,
}

/// A destination of rsync over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RsyncTlsDestination {
    /// TCP port to listen on.
    pub port: NonZeroU16,
    /// The file with the pre-shared key, one line `identity:hexadecimal key`.
    pub key_file: PathBuf,
    /// What to do when the source turns out to be empty.
    pub empty_source: EmptySource,
}

/// What an empty source means for a destination that has data. A volume that was not mounted, or was lost, looks empty. A
/// device is empty when it holds nothing but zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptySource {
    /// The run is refused; nothing is deleted.
    #[default]
    Refuse,
    /// The destination becomes empty too.
    Accept,
}

/// Whether a copy is compared with its source once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// The protocol's own checksums, of everything that is sent, are enough.
    #[default]
    None,
    /// Every file is read at both ends, whether it was sent or was there, and the checksums are compared.
    Checksums,
}

impl Verification {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(volume: Volume) -> Request {
        let key_file = PathBuf::from("/keys/psk.txt");
        let port = NonZeroU16::MIN;
        let work = RsyncTlsDestination { port, key_file, empty_source: EmptySource::Refuse };
        Request { volume, work: Work::RsyncTlsDestination(work), deadline_seconds: None, progress_port: None }
    }

    #[test]
    fn a_volume_that_is_a_path_alone_is_a_tree_as_it_always_was() {
        let json = r#"{"volume":"/data","work":{"mover":"rsync-tls-destination","port":1,"keyFile":"/keys/psk.txt","emptySource":"refuse"}}"#;
        let tree = request(Volume::Tree("/data".into()));
        assert_eq!(serde_json::from_str::<Request>(json).unwrap(), tree);
        assert_eq!(serde_json::to_string(&tree).unwrap(), json);
    }

    #[test]
    fn a_device_is_an_object_with_nothing_else_in_it() {
        let device = request(Volume::device("/dev/block"));
        let json = serde_json::to_string(&device).unwrap();
        assert!(json.contains(r#""volume":{"device":"/dev/block"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), device);
        let strange = json.replace(r#""device":"/dev/block""#, r#""device":"/dev/block","mode":"x""#);
        assert!(serde_json::from_str::<Request>(&strange).is_err());
    }
}
