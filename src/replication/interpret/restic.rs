//! `spec.restic` of both kinds.

use doppel_contract::Retain;
use jiff::{SignedDuration, Timestamp};

use super::{name, pod_settings};
use crate::api::common::{CustomCa, ResticCache};
use crate::api::destination::DestinationRestic;
use crate::api::source::{ReplicationSource, ResticRetain, SourceRestic};
use crate::model::mover::{Backup, CacheShape, Certificates, Holder, Restic, ResticTask, Section};
use crate::model::reason::Reason;
use crate::model::replication::Lifetime;

const DEFAULT_CACHE: &str = "1Gi";
const DEFAULT_PRUNE_INTERVAL_DAYS: i32 = 7;
const HOURS_A_DAY: i64 = 24;

/// A backup.
pub(super) fn backup(object: &ReplicationSource, section: &SourceRestic) -> Result<Restic, Reason> {
    let SourceRestic { volume, cache, repository, custom_ca, prune_interval_days, retain, unlock, mover } = section;
    let status = object.status.as_ref().and_then(|status| status.restic.as_ref());
    let created = object.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Ok(Restic {
        repository: repository_secret(repository.as_ref())?,
        certificates: certificates(custom_ca.as_ref()),
        cache: CacheShape {
            lifetime: Lifetime::Kept,
            ..cache_shape(cache, (volume.storage_class_name.as_ref(), volume.access_modes.as_ref()))
        },
        task: ResticTask::Backup(Backup {
            retain: kept(retain.as_ref())?,
            pruned: status.and_then(|status| status.last_pruned.as_ref()).map_or(created, |time| time.0),
            prune_interval: prune_interval(*prune_interval_days)?,
            unlock: name(unlock.as_ref()),
            unlocked: status.and_then(|status| status.last_unlocked.clone()),
        }),
        pod: pod_settings(Section::RESTIC, mover)?,
    })
}

/// A restore.
pub(super) fn restore(section: &DestinationRestic) -> Result<Restic, Reason> {
    let DestinationRestic {
        volume,
        repository,
        custom_ca,
        cache,
        cleanup_cache_pvc,
        previous,
        restore_as_of,
        enable_file_deletion,
        mover,
    } = section;
    Ok(Restic {
        repository: repository_secret(repository.as_ref())?,
        certificates: certificates(custom_ca.as_ref()),
        cache: CacheShape {
            lifetime: if *cleanup_cache_pvc == Some(true) { Lifetime::Temporary } else { Lifetime::Kept },
            ..cache_shape(cache, (volume.storage_class_name.as_ref(), volume.access_modes.as_ref()))
        },
        task: ResticTask::Restore {
            as_of: as_of(restore_as_of.as_ref())?,
            previous: count("previous", *previous)?,
            delete: *enable_file_deletion == Some(true),
        },
        pod: pod_settings(Section::RESTIC, mover)?,
    })
}

fn repository_secret(given: Option<&String>) -> Result<String, Reason> {
    name(given).ok_or_else(|| Reason::FieldMissing {
        field: Section::RESTIC.field("repository"),
        when: ": the Secret with RESTIC_REPOSITORY and RESTIC_PASSWORD",
    })
}

/// Without a key, or without an object, there are none to trust. A Secret goes before a ConfigMap.
fn certificates(given: Option<&CustomCa>) -> Option<Certificates> {
    let CustomCa { secret_name, config_map_name, key } = given?;
    let secret = name(secret_name.as_ref()).map(Holder::Secret);
    let holder = secret.or_else(|| name(config_map_name.as_ref()).map(Holder::ConfigMap))?;
    Some(Certificates { holder, key: name(key.as_ref())? })
}

/// What is said of the cache goes before what is said of the volume.
fn cache_shape(cache: &ResticCache, (class, modes): (Option<&String>, Option<&Vec<String>>)) -> CacheShape {
    let ResticCache { cache_capacity, cache_storage_class_name, cache_access_modes } = cache;
    let given = |modes: Option<&Vec<String>>| modes.filter(|modes| !modes.is_empty()).cloned();
    CacheShape {
        capacity: cache_capacity.as_ref().map_or_else(|| DEFAULT_CACHE.to_owned(), |capacity| capacity.0.clone()),
        storage_class: cache_storage_class_name.as_ref().or(class).cloned(),
        access_modes: given(cache_access_modes.as_ref()).or_else(|| given(modes)),
        lifetime: Lifetime::Kept,
    }
}

fn prune_interval(days: Option<i32>) -> Result<SignedDuration, Reason> {
    let days = match days.unwrap_or(DEFAULT_PRUNE_INTERVAL_DAYS) {
        days @ 0.. => days,
        days => return Err(invalid("pruneIntervalDays", format!("{days} is less than no day; write 0 or more"))),
    };
    Ok(SignedDuration::from_hours(i64::from(days) * HOURS_A_DAY))
}

/// Rules that nobody gave keep one snapshot, the latest.
fn kept(given: Option<&ResticRetain>) -> Result<Retain, Reason> {
    let Some(given) = given.filter(|given| **given != ResticRetain::default()) else {
        return Ok(Retain { last: 1, ..Retain::default() });
    };
    let ResticRetain { hourly, daily, weekly, monthly, yearly, within, last } = given;
    let retain = Retain {
        last: match name(last.as_ref()) {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                invalid("retain.last", format!("{text:?} is no count of snapshots; write for example \"3\""))
            })?,
        },
        hourly: count("retain.hourly", *hourly)?,
        daily: count("retain.daily", *daily)?,
        weekly: count("retain.weekly", *weekly)?,
        monthly: count("retain.monthly", *monthly)?,
        yearly: count("retain.yearly", *yearly)?,
        within: name(within.as_ref()).map(duration).transpose()?,
    };
    if retain == Retain::default() {
        return Err(invalid(
            "retain",
            "it keeps no snapshot at all; remove it, or give one of its rules a value".to_owned(),
        ));
    }
    Ok(retain)
}

/// A duration as restic writes them: years, months, days and hours, each a count with its letter.
fn duration(text: String) -> Result<String, Reason> {
    let mut digits = false;
    let is_one = !text.is_empty()
        && text.chars().all(|letter| {
            let fits = letter.is_ascii_digit() || (digits && matches!(letter, 'y' | 'm' | 'd' | 'h'));
            digits = letter.is_ascii_digit();
            fits
        })
        && !digits;
    if is_one {
        return Ok(text);
    }
    let why = format!("{text:?} is no duration of years, months, days and hours; write for example 3y1m5d2h");
    Err(invalid("retain.within", why))
}

fn as_of(given: Option<&String>) -> Result<Option<Timestamp>, Reason> {
    let Some(text) = name(given) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        invalid("restoreAsOf", format!("{text:?} is no time of RFC 3339; write for example 2026-11-23T04:05:06Z"))
    })
}

fn count(field: &str, given: Option<i32>) -> Result<u32, Reason> {
    let number = given.unwrap_or(0);
    u32::try_from(number).map_err(|_| invalid(field, format!("{number} is less than nothing; write 0 or more")))
}

fn invalid(field: &str, why: String) -> Reason {
    Reason::FieldInvalid { field: Section::RESTIC.field(field), why }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn source(section: Value, status: &Value) -> Result<Restic, String> {
        let metadata = json!({"name": "x", "namespace": "ns", "creationTimestamp": "2026-11-01T00:00:00Z"});
        let object = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource", "metadata": metadata,
            "spec": {"sourcePVC": "data"}, "status": status});
        let object: ReplicationSource = serde_json::from_value(object).unwrap();
        backup(&object, &serde_json::from_value(with_repository(section)).unwrap()).map_err(|reason| reason.to_string())
    }

    fn destination(section: Value) -> Result<Restic, String> {
        restore(&serde_json::from_value(with_repository(section)).unwrap()).map_err(|reason| reason.to_string())
    }

    fn with_repository(mut section: Value) -> Value {
        let fields = section.as_object_mut().unwrap();
        fields.entry("repository").or_insert_with(|| json!("secret"));
        fields.insert("copyMethod".to_owned(), json!("Direct"));
        section
    }

    fn backup_of(restic: Restic) -> Backup {
        match restic.task {
            ResticTask::Backup(backup) => backup,
            ResticTask::Restore { .. } => panic!(),
        }
    }

    #[test]
    fn a_backup_is_read_with_the_defaults_of_volsync() {
        let restic = source(json!({}), &json!({})).unwrap();
        assert_eq!((restic.repository.as_str(), &restic.certificates), ("secret", &None));
        assert_eq!((restic.cache.capacity.as_str(), restic.cache.lifetime), ("1Gi", Lifetime::Kept));
        let backup = backup_of(restic);
        assert_eq!(backup.retain, Retain { last: 1, ..Retain::default() });
        assert!(!backup.unlocks());
        let begin = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(!backup.prunes(begin("2026-11-08T00:00:00Z")) && backup.prunes(begin("2026-11-08T00:00:01Z")));
    }

    #[test]
    fn what_was_done_once_is_not_done_again() {
        let status = json!({"restic": {"lastPruned": "2026-11-20T00:00:00Z", "lastUnlocked": "one"}});
        let unlocks = |value: &str| backup_of(source(json!({"unlock": value}), &status).unwrap()).unlocks();
        assert_eq!([unlocks("one"), unlocks("two"), unlocks("")], [false, true, false]);
        let backup = backup_of(source(json!({"pruneIntervalDays": 2}), &status).unwrap());
        assert!(!backup.prunes("2026-11-21T00:00:00Z".parse().unwrap()));
        assert!(backup.prunes("2026-11-22T00:00:01Z".parse().unwrap()));
        let daily = backup_of(source(json!({"pruneIntervalDays": 0}), &status).unwrap());
        assert!(daily.prunes("2026-11-20T00:00:01Z".parse().unwrap()), "with every backup");
    }

    #[test]
    fn all_rules_of_retention_are_read() {
        let given =
            json!({"hourly": 1, "daily": 2, "weekly": 3, "monthly": 4, "yearly": 5, "within": "3w1d", "last": "6"});
        assert!(source(json!({"retain": given}), &json!({})).unwrap_err().contains("\"3w1d\""), "restic has no weeks");
        let given =
            json!({"hourly": 1, "daily": 2, "weekly": 3, "monthly": 4, "yearly": 5, "within": "2y5m7d3h", "last": "6"});
        let retain = backup_of(source(json!({"retain": given}), &json!({})).unwrap()).retain;
        let within = Some("2y5m7d3h".to_owned());
        assert_eq!(retain, Retain { last: 6, hourly: 1, daily: 2, weekly: 3, monthly: 4, yearly: 5, within });
    }

    #[test]
    fn what_is_said_of_the_cache_goes_before_what_is_said_of_the_volume() {
        let volume = json!({"storageClassName": "slow", "accessModes": ["ReadWriteMany"]});
        let shape = source(volume.clone(), &json!({})).unwrap().cache;
        assert_eq!(
            (shape.storage_class.as_deref(), shape.access_modes.unwrap()),
            (Some("slow"), vec!["ReadWriteMany".to_owned()])
        );
        let mut both = volume;
        both["cacheStorageClassName"] = json!("fast");
        both["cacheAccessModes"] = json!(["ReadWriteOnce"]);
        both["cacheCapacity"] = json!("3Gi");
        both["cleanupCachePVC"] = json!(true);
        let shape = destination(both).unwrap().cache;
        assert_eq!(
            (shape.storage_class.as_deref(), shape.access_modes.unwrap()),
            (Some("fast"), vec!["ReadWriteOnce".to_owned()])
        );
        assert_eq!((shape.capacity.as_str(), shape.lifetime), ("3Gi", Lifetime::Temporary));
    }

    #[test]
    fn certificates_are_trusted_where_an_object_and_a_key_are_named() {
        let read = |ca: Value| source(json!({"customCA": ca}), &json!({})).unwrap().certificates;
        assert_eq!(read(json!({"secretName": "s"})), None, "VolSync passes it over without a word");
        assert_eq!(read(json!({"key": "k"})), None);
        let holder = |ca: Value| read(ca).unwrap().holder;
        assert_eq!(holder(json!({"configMapName": "c", "key": "k"})), Holder::ConfigMap("c".to_owned()));
        assert_eq!(
            holder(json!({"configMapName": "c", "secretName": "s", "key": "k"})),
            Holder::Secret("s".to_owned())
        );
    }

    #[test]
    fn a_restore_names_the_point_in_time() {
        let restic =
            destination(json!({"restoreAsOf": "2026-11-23T04:05:06+01:00", "previous": 2, "enableFileDeletion": true}));
        let as_of = Some("2026-11-23T03:05:06Z".parse().unwrap());
        assert_eq!(restic.unwrap().task, ResticTask::Restore { as_of, previous: 2, delete: true });
        let bare = ResticTask::Restore { as_of: None, previous: 0, delete: false };
        assert_eq!(destination(json!({})).unwrap().task, bare);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_field() {
        for (section, expected) in [
            (json!({"repository": ""}), "spec.restic.repository must be provided"),
            (json!({"pruneIntervalDays": -1}), "spec.restic.pruneIntervalDays: -1 is less"),
            (json!({"retain": {"hourly": -1}}), "spec.restic.retain.hourly: -1 is less"),
            (json!({"retain": {"last": "many"}}), "spec.restic.retain.last: \"many\" is no count"),
            (json!({"retain": {"within": "3"}}), "spec.restic.retain.within: \"3\" is no duration"),
            (json!({"retain": {"within": "d3"}}), "spec.restic.retain.within: \"d3\" is no duration"),
            (json!({"retain": {"hourly": 0}}), "spec.restic.retain: it keeps no snapshot at all"),
        ] {
            let refused = source(section, &json!({})).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
        for (section, expected) in [
            (json!({"previous": -1}), "spec.restic.previous: -1 is less"),
            (json!({"restoreAsOf": "yesterday"}), "spec.restic.restoreAsOf: \"yesterday\" is no time"),
        ] {
            let refused = destination(section).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
}
