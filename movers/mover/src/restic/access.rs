//! The way into a repository: where it is, its password, and what goes with them, from a mounted Secret or from the
//! environment.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use doppel_contract::psk::Key;
use doppel_contract::{Fault, Retry};
use doppel_restic::format::compress::Compression;
use doppel_storage::location::{Location, LocationError, Proxies, REPOSITORY, Settings};

use crate::failure::Failure;

/// What keys of a repository begin with, and those of one that is copied from.
pub(super) const HERE: &str = "RESTIC_";
pub(super) const FROM: &str = "RESTIC_FROM_";
/// The key of the password.
pub(super) const PASSWORD: &str = "RESTIC_PASSWORD";
const COMPRESSION: &str = "RESTIC_COMPRESSION";
const PACK_SIZE: &str = "RESTIC_PACK_SIZE";

/// A longer value is no setting: a service account's key file has 2.4 KB.
const LONGEST_VALUE: u64 = 64 << 10;

/// The way into a repository.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) location: Location,
    /// What the location was made of.
    pub(super) settings: Settings,
    pub(super) password: Key,
    pub(super) proxies: Proxies,
    /// Certificates of authorities, in PEM.
    pub(super) trusted: Option<PathBuf>,
    pub(super) compression: Compression,
    /// Bytes.
    pub(super) pack_size: usize,
}

impl Access {
    /// What a mounted Secret says: each of its keys is a file.
    pub(super) fn of_secret(folder: &Path, trusted: Option<PathBuf>) -> Result<Self, Failure> {
        let values = read_folder(folder).map_err(|error| {
            let message = format!("reading the repository's Secret in {}: {error}", folder.display());
            Failure::new(Fault::User, Retry::AfterChange, message)
        })?;
        let access = Self::of(values, trusted)?;
        for key in access.settings.unused() {
            tracing::warn!(key, "A key of the Secret is not used by a repository of this kind");
        }
        Ok(access)
    }

    /// What the environment says, with a repository and a file of the password that were typed. `prefix` is what the names of
    /// its repository and password begin with.
    pub(super) fn of_environment(
        prefix: &str,
        repository: Option<String>,
        password_file: Option<&Path>,
        trusted: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        use std::os::unix::ffi::OsStringExt;
        const KEYS: [&str; 10] =
            ["RESTIC_", "AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "RCLONE_", "SFTP_", "ST_", "SWIFT_"];
        // What a user's own keys for SFTP are found by.
        const OF_THE_USER: [&str; 2] = ["HOME", "USER"];
        let ours = |(key, value): (OsString, OsString)| {
            let key = key.into_string().ok()?;
            let is_ours = KEYS.iter().any(|begin| key.starts_with(begin)) || OF_THE_USER.contains(&key.as_str());
            if !is_ours {
                return None;
            }
            Some((key, value.into_vec()))
        };
        let mut values: BTreeMap<_, _> = env::vars_os().filter_map(ours).collect();
        // What is not there under its own name must not be taken from another repository's.
        for (suffix, key) in [("REPOSITORY", REPOSITORY), ("PASSWORD", PASSWORD)] {
            let value = values.get(&format!("{prefix}{suffix}")).cloned();
            values.insert(key.to_owned(), value.unwrap_or_default());
        }
        if let Some(repository) = repository {
            values.insert(REPOSITORY.to_owned(), repository.into_bytes());
        }
        if let Some(file) = password_file {
            let password = fs::read(file).map_err(|error| {
                let message = format!("reading the password in {}: {error}", file.display());
                Failure::new(Fault::User, Retry::AfterChange, message)
            })?;
            // Of a file, restic takes the blanks around a password away.
            values.insert(PASSWORD.to_owned(), password.trim_ascii().to_vec());
        }
        for (suffix, key) in [("REPOSITORY", REPOSITORY), ("PASSWORD", PASSWORD)] {
            if values.get(key).is_none_or(Vec::is_empty) {
                return Err(wrong(&format!("{prefix}{suffix}"), "is missing; set it, or say it on the command line"));
            }
        }
        Self::of(values, trusted)
    }

    /// What these keys and values say.
    pub(super) fn of(mut values: BTreeMap<String, Vec<u8>>, trusted: Option<PathBuf>) -> Result<Self, Failure> {
        // It may be any bytes, and all of them count: restic takes a line's end for a part of it, too.
        let password = values.remove(PASSWORD).filter(|password| !password.is_empty());
        let password =
            Key::new(password.ok_or_else(|| wrong(PASSWORD, "is missing; write the repository's password"))?);
        let mut texts = BTreeMap::new();
        for (key, value) in values {
            let text = String::from_utf8(value).map_err(|_| wrong(&key, "is not UTF-8 text"))?;
            texts.insert(key, text);
        }
        let text = |key| texts.get(key).map(|text| text.trim()).filter(|text: &&str| !text.is_empty());
        let compression = compression(text(COMPRESSION))?;
        let pack_size = pack_size(text(PACK_SIZE))?;
        let repository = texts.get(REPOSITORY).cloned().unwrap_or_default();
        let settings = Settings::new(texts);
        let unusable = |error: LocationError| Failure::new(Fault::User, Retry::AfterChange, error.to_string());
        let location = Location::parse(&repository, &settings).map_err(unusable)?;
        let proxies = Proxies::parse(&settings).map_err(unusable)?;
        Ok(Self { location, settings, proxies, password, trusted, compression, pack_size })
    }
}

fn wrong(key: &str, what: &str) -> Failure {
    Failure::new(Fault::User, Retry::AfterChange, format!("{key} {what}"))
}

fn compression(text: Option<&str>) -> Result<Compression, Failure> {
    match text {
        None | Some("auto") => Ok(Compression::Auto),
        // restic 0.18 has these two between the others.
        Some("fastest") => Ok(Compression::Auto),
        Some("off") => Ok(Compression::Off),
        Some("max" | "better") => Ok(Compression::Max),
        Some(_) => Err(wrong(COMPRESSION, "must be auto, off, fastest, better or max")),
    }
}

/// In MiB, as restic takes it.
fn pack_size(text: Option<&str>) -> Result<usize, Failure> {
    match text.map(str::parse::<usize>) {
        None => Ok(doppel_restic::backup::BackupOptions::PACK_SIZE),
        Some(Ok(size @ 4..=128)) => Ok(size << 20),
        Some(_) => Err(wrong(PACK_SIZE, "must be a number of MiB from 4 to 128")),
    }
}

fn read_folder(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut values = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // The kubelet keeps a mounted Secret's files in folders whose names begin with two dots.
        let Some(key) = entry.file_name().to_str().filter(|name| !name.starts_with("..")).map(str::to_owned) else {
            continue;
        };
        let mut value = Vec::new();
        fs::File::open(entry.path())?.take(LONGEST_VALUE + 1).read_to_end(&mut value)?;
        if value.len() as u64 > LONGEST_VALUE {
            return Err(io::Error::other(format!("{key} is longer than {} KiB", LONGEST_VALUE >> 10)));
        }
        values.insert(key, value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(pairs: &[(&str, &str)]) -> Result<Access, String> {
        let values = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        Access::of(values, None).map_err(|failure| {
            assert_eq!((failure.fault, failure.retry), (Fault::User, Retry::AfterChange));
            failure.message.to_string()
        })
    }

    #[test]
    fn a_secret_is_a_folder_of_keys_and_a_password_is_all_of_its_bytes() {
        let secret = tempfile::tempdir().unwrap();
        fs::create_dir(secret.path().join("..2026_11_29")).unwrap();
        std::os::unix::fs::symlink("..2026_11_29", secret.path().join("..data")).unwrap();
        for (key, value) in [(REPOSITORY, "/mnt/repo\n"), (PASSWORD, "hush \n"), (PACK_SIZE, "64\n"), (COMPRESSION, "")]
        {
            fs::write(secret.path().join(key), value).unwrap();
        }
        let access = Access::of_secret(secret.path(), None).unwrap();
        assert_eq!(access.location, Location::Folder("/mnt/repo".into()));
        assert_eq!(access.password.expose(), b"hush \n");
        assert_eq!((access.pack_size, access.compression), (64 << 20, Compression::Auto));
        assert!(!format!("{access:?}").contains("hush"));
        let missing = Access::of_secret(&secret.path().join("none"), None).unwrap_err();
        assert!(missing.message.as_str().contains("none: No such file"), "{}", missing.message);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let good = [(REPOSITORY, "/mnt/repo"), (PASSWORD, "hush")];
        assert!(access(&good).is_ok());
        for (more, part) in [
            ((PASSWORD, ""), "RESTIC_PASSWORD is missing"),
            ((REPOSITORY, ""), "RESTIC_REPOSITORY: is empty"),
            ((COMPRESSION, "best"), "RESTIC_COMPRESSION must be auto"),
            ((PACK_SIZE, "3"), "RESTIC_PACK_SIZE must be a number of MiB from 4 to 128"),
            ((PACK_SIZE, "16M"), "RESTIC_PACK_SIZE must be"),
        ] {
            let error = access(&[&good[..], &[more]].concat()).unwrap_err();
            assert!(error.contains(part) && !error.contains("hush"), "{error}");
        }
    }
}
