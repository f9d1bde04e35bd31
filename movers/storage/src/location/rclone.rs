//! `rclone:` remotes: those that are configured in `RCLONE_CONFIG_` keys, and are of a kind that is reached without rclone.
//!
//! rclone itself is never run: its options can name programs (reliability.md has the CVEs). The names of the keys are those of
//! rclone's manual, "Config file" and the pages of each kind of remote.

use super::{Location, LocationError, Settings};

pub(super) fn parse(place: &str, settings: &Settings) -> Result<Location, LocationError> {
    let Some((name, path)) = place.split_once(':') else {
        return Err(LocationError::repository("has no colon after the remote; write rclone:REMOTE:PATH"));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        let what = format!("remote {name:?}: write the name of one that RCLONE_CONFIG_NAME_TYPE configures");
        return Err(LocationError::repository(what));
    }
    let remote = Remote { name: name.to_uppercase().replace('-', "_"), settings };
    let kind_key = remote.key("TYPE");
    let Some(kind) = settings.get(&kind_key)? else {
        return Err(LocationError::new(kind_key, "is missing; remotes of a configuration file cannot be used"));
    };
    match kind {
        "local" => super::folder(path),
        "s3" => remote.s3(path),
        "azureblob" => remote.azure(path),
        other => {
            let what = format!(
                "remotes of the kind {other:?} cannot be reached without rclone, which is not run; these can: local, s3, \
                 azureblob. Or run `rclone serve restic` and write rest:http://HOST:PORT/"
            );
            Err(LocationError::new(kind_key, what))
        }
    }
}

struct Remote<'s> {
    name: String,
    settings: &'s Settings,
}

impl Remote<'_> {
    fn key(&self, option: &str) -> String {
        format!("RCLONE_CONFIG_{}_{option}", self.name)
    }

    /// The keys of restic's own store in place of rclone's, as (rclone's option, restic's key).
    fn translated(&self, options: &[(&str, &str)]) -> Result<Settings, LocationError> {
        let mut values = Vec::new();
        for (option, key) in options {
            if let Some(value) = self.settings.text(&self.key(option))? {
                values.push(((*key).to_owned(), value));
            }
        }
        Ok(Settings::new(values))
    }

    /// An error about a key that the user did not write is one about the option that it stands for.
    fn blame<T>(&self, result: Result<T, LocationError>, options: &[(&str, &str)]) -> Result<T, LocationError> {
        result.map_err(|error| match options.iter().find(|(_, key)| *key == error.key) {
            Some((option, _)) => LocationError::new(self.key(option), error.what),
            None => error,
        })
    }

    fn s3(&self, path: &str) -> Result<Location, LocationError> {
        const OPTIONS: &[(&str, &str)] = &[
            ("ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
            ("SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
            ("SESSION_TOKEN", "AWS_SESSION_TOKEN"),
            ("REGION", "AWS_DEFAULT_REGION"),
        ];
        // Which provider it is changes little of what is asked of it; that keys come from the environment is found out.
        for option in ["PROVIDER", "ENV_AUTH"] {
            self.settings.get(&self.key(option))?;
        }
        let endpoint = match (self.settings.get(&self.key("ENDPOINT"))?, self.settings.get(&self.key("REGION"))?) {
            (Some(endpoint), _) => endpoint.trim_end_matches('/').to_owned(),
            (None, Some(region)) => format!("https://s3.{region}.amazonaws.com"),
            (None, None) => "https://s3.amazonaws.com".to_owned(),
        };
        let parsed =
            super::S3::parse(&format!("{endpoint}/{}", path.trim_start_matches('/')), &self.translated(OPTIONS)?);
        self.blame(parsed, OPTIONS).map(Location::S3)
    }

    fn azure(&self, path: &str) -> Result<Location, LocationError> {
        const OPTIONS: &[(&str, &str)] = &[("ACCOUNT", "AZURE_ACCOUNT_NAME"), ("KEY", "AZURE_ACCOUNT_KEY")];
        let path = path.trim_start_matches('/');
        let (container, prefix) = path.split_once('/').unwrap_or((path, ""));
        let parsed = super::Azure::parse(&format!("{container}:{prefix}"), &self.translated(OPTIONS)?);
        self.blame(parsed, OPTIONS).map(Location::Azure)
    }
}
