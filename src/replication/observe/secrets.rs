//! Secrets that a mover is given, and ConfigMaps: read, checked, and forgotten.

use doppel_contract::psk;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::Reader;
use crate::model::mover::{Certificates, Holder, Mover};
use crate::model::observed::Key;
use crate::resources::secret::PSK_KEY;

/// Keys without which no repository can be opened.
const REPOSITORY_KEYS: [&str; 2] = ["RESTIC_REPOSITORY", "RESTIC_PASSWORD"];

impl Reader<'_> {
    /// What opens the other side to a mover, and what holds the certificates that it trusts.
    pub(super) async fn secrets(&self, mover: &Mover) -> kube::Result<(Key, Key)> {
        let opens = async { Ok(to_key(mover, self.get::<Secret>(mover.secret()).await?)) };
        match mover {
            Mover::RsyncTls(_) => Ok((opens.await?, Key::Absent)),
            Mover::Restic(restic) => futures::try_join!(opens, self.certificates(restic.certificates.as_ref())),
        }
    }

    async fn certificates(&self, wanted: Option<&Certificates>) -> kube::Result<Key> {
        let Some(Certificates { holder, key }) = wanted else { return Ok(Key::Absent) };
        let (what, name, keys) = match holder {
            Holder::Secret(name) => {
                let secret = self.get::<Secret>(name).await?;
                ("Secret", name, secret.map(|secret| secret.data.unwrap_or_default().into_keys().collect::<Vec<_>>()))
            }
            Holder::ConfigMap(name) => {
                let map = self.get::<ConfigMap>(name).await?;
                let keys = map.map(|map| {
                    let text = map.data.unwrap_or_default().into_keys();
                    text.chain(map.binary_data.unwrap_or_default().into_keys()).collect()
                });
                ("ConfigMap", name, keys)
            }
        };
        Ok(match keys {
            None => Key::Absent,
            Some(keys) if keys.contains(key) => Key::Valid,
            Some(_) => {
                Key::Malformed(format!("{what} {name:?} is missing field: {key}; add the certificates under it"))
            }
        })
    }
}

fn to_key(mover: &Mover, secret: Option<Secret>) -> Key {
    let Some(secret) = secret else { return Key::Absent };
    let data = secret.data.unwrap_or_default();
    let malformed = |why: &str| Key::Malformed(format!("Secret {:?}: {why}", mover.secret()));
    match mover {
        Mover::RsyncTls(_) => match data.get(PSK_KEY).map(|text| psk::parse(&text.0)) {
            None => malformed("secret is missing field: psk.txt; add it with one line IDENTITY:KEY"),
            Some(Err(error)) => malformed(&format!("psk.txt: {error}")),
            Some(Ok(_)) => Key::Valid,
        },
        Mover::Restic(_) => {
            let missing = REPOSITORY_KEYS.into_iter().find(|key| data.get(*key).is_none_or(|value| value.0.is_empty()));
            match missing {
                Some(key) => malformed(&format!(
                    "secret is missing field: {key}; add it, and restic's names for what else the repository needs"
                )),
                None => Key::Valid,
            }
        }
    }
}
