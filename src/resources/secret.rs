//! Secrets: a generated pre-shared key, copies of those for pulling the movers' image.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::metadata;
use crate::model::replication::{Lifetime, Owner};

/// The Secret's key that holds the pre-shared key.
pub const PSK_KEY: &str = "psk.txt";
/// The identity that VolSync gives its generated keys.
const IDENTITY: &str = "volsync";
/// Length of a generated key, in bytes, as VolSync has it.
pub const PSK_BYTES: usize = 64;

/// A Secret with this key, in stunnel's format of one line `identity:hexadecimal key`.
#[must_use]
pub fn build(owner: &Owner, name: &str, key: &[u8; PSK_BYTES]) -> Secret {
    let mut line = format!("{IDENTITY}:");
    for byte in key {
        // Writing to a String cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    Secret {
        metadata: metadata(owner, name, Lifetime::Kept),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(PSK_KEY.to_owned(), ByteString(line.into_bytes()))])),
        ..Secret::default()
    }
}

/// A copy of a Secret for pulling images, which goes with its owner.
#[must_use]
pub fn copy(owner: &Owner, name: &str, original: &Secret) -> Secret {
    Secret {
        metadata: metadata(owner, name, Lifetime::Kept),
        type_: original.type_.clone(),
        data: original.data.clone(),
        ..Secret::default()
    }
}

/// What a copy has to have in common with its original, as bytes to make a digest of.
#[must_use]
pub fn content(original: &Secret) -> Vec<u8> {
    let mut content = original.type_.clone().unwrap_or_default().into_bytes();
    for (key, value) in original.data.iter().flatten() {
        // Lengths keep apart what would run together.
        for part in [key.as_bytes(), &value.0] {
            content.extend_from_slice(&part.len().to_be_bytes());
            content.extend_from_slice(part);
        }
    }
    content
}
