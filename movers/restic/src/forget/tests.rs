//! Which snapshots stay: our own rules for incomplete ones, and restic's for all others, compared with what restic says.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use doppel_storage::folder;

use super::*;
use crate::forget::policy::Span;
use crate::format::config::Version;
use crate::format::id::Id;
use crate::format::snapshot::{INCOMPLETE, Snapshot};
use crate::format::time::Time;

fn stored(hour: u32, host: &str, tags: &[&str]) -> Stored {
    let json = format!(
        r#"{{"time":"2026-01-01T{hour:02}:00:00Z","tree":"{}","paths":["/data"],"hostname":"{host}"}}"#,
        Id::of(b"")
    );
    let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Stored { id: Id::of(format!("{hour}{host}").as_bytes()), snapshot: Snapshot { tags, ..snapshot } }
}

fn hours(stored: &[Stored]) -> Vec<i8> {
    let mut hours: Vec<i8> = stored.iter().map(|stored| stored.snapshot.time.civil().hour()).collect();
    hours.sort_unstable();
    hours
}

fn check(all: Vec<Stored>, last: u32, kept: &[i8]) {
    let now = Time::parse("2026-01-02T00:00:00Z").unwrap().at();
    let policy = Policy { last, ..Policy::default() };
    assert_eq!(hours(&choose(all, &Filter::default(), &policy, now).kept), kept);
}

#[test]
fn an_incomplete_snapshot_displaces_no_complete_one() {
    let all = vec![stored(1, "a", &[]), stored(2, "a", &[]), stored(3, "a", &[INCOMPLETE])];
    check(all, 1, &[2, 3]);
}

#[test]
fn an_incomplete_snapshot_goes_when_a_later_one_is_complete() {
    let all = vec![stored(1, "a", &[]), stored(2, "a", &[INCOMPLETE]), stored(3, "a", &[])];
    check(all, 5, &[1, 3]);
}

#[test]
fn only_incomplete_snapshots_all_stay() {
    check(vec![stored(1, "a", &[INCOMPLETE]), stored(2, "a", &[INCOMPLETE])], 1, &[1, 2]);
}

#[test]
fn each_host_has_its_own_and_the_last_one_stays() {
    check(vec![stored(1, "a", &[]), stored(2, "b", &[]), stored(3, "a", &[])], 1, &[2, 3]);
    let mut all = vec![stored(1, "a", &[])];
    all.push(stored(2, "a", &[]));
    let now = Time::parse("2026-01-02T00:00:00Z").unwrap().at();
    let nothing_fits = Policy { tags: vec![vec!["none".to_owned()]], ..Policy::default() };
    assert_eq!(hours(&choose(all, &Filter::default(), &nothing_fits, now).kept), [2]);
}

/// Numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Snapshots at times that are now close together and now far apart, on clocks of several zones.
fn random_snapshots(repository: &Repository, chance: &mut Chance) {
    let mut seconds = 1_700_000_000_u64;
    for number in 0..80 {
        seconds += match chance.below(6) {
            0 => 1,
            1 => 1 + chance.below(600),
            2 | 3 => 1 + chance.below(20_000),
            4 => 1 + chance.below(400_000),
            _ => 1 + chance.below(9_000_000),
        };
        let offset = ["+00:00", "+05:30", "-08:00"].get(usize::try_from(chance.below(3)).unwrap()).unwrap();
        let shown = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        let time = jiff::tz::Offset::from_seconds(match *offset {
            "+05:30" => 19_800,
            "-08:00" => -28_800,
            _ => 0,
        });
        let time = shown.display_with_offset(time.unwrap()).to_string().replace("+00:00", "Z");
        let host = if chance.one_in(4) { "other" } else { "volsync" };
        let tags = if chance.one_in(5) { r#"["keep","x"]"# } else { "null" };
        let json = format!(
            r#"{{"time":"{time}","tree":"{}","paths":["/data"],"hostname":"{host}","tags":{tags},"username":"{number}"}}"#,
            Id::of(b"")
        );
        repository.store(Folder::Snapshots, json.as_bytes()).unwrap();
    }
}

/// A policy, and the flags that say it to restic.
fn random_policy(chance: &mut Chance) -> (Policy, Vec<String>) {
    let (mut policy, mut flags) = (Policy::default(), Vec::new());
    let counts = [
        ("last", &mut policy.last),
        ("hourly", &mut policy.hourly),
        ("daily", &mut policy.daily),
        ("weekly", &mut policy.weekly),
        ("monthly", &mut policy.monthly),
        ("yearly", &mut policy.yearly),
    ];
    for (name, count) in counts {
        if chance.one_in(3) {
            *count = u32::try_from(chance.below(9)).unwrap();
            flags.push(format!("--keep-{name}={count}"));
        }
    }
    let spans = [
        ("within", &mut policy.within),
        ("within-hourly", &mut policy.within_hourly),
        ("within-daily", &mut policy.within_daily),
        ("within-weekly", &mut policy.within_weekly),
        ("within-monthly", &mut policy.within_monthly),
        ("within-yearly", &mut policy.within_yearly),
    ];
    for (name, span) in spans {
        if chance.one_in(5) {
            let text = format!("{}y{}m{}d{}h", chance.below(2), chance.below(13), chance.below(40), chance.below(30));
            *span = Span::parse(&text).unwrap();
            flags.push(format!("--keep-{name}={text}"));
        }
    }
    if chance.one_in(6) {
        policy.tags = vec![vec!["keep".to_owned()]];
        flags.push("--keep-tag=keep".to_owned());
    }
    (policy, flags)
}

fn oldest_of_groups(all: &[Stored]) -> BTreeSet<String> {
    let hosts = ["volsync", "other"];
    let oldest = |host: &str| all.iter().find(|stored| stored.snapshot.hostname == host);
    hosts.iter().filter_map(|host| oldest(host)).map(|stored| stored.id.to_string()).collect()
}

/// What restic would keep.
fn kept_by(program: &PathBuf, folder: &std::path::Path, flags: &[String]) -> BTreeSet<String> {
    let output = Command::new(program)
        .args(["--no-cache", "--no-lock", "--json", "forget", "--dry-run", "--group-by=host,paths", "--repo"])
        .arg(folder)
        .args(flags)
        .env("RESTIC_PASSWORD", "x")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).unwrap();
    let json: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let groups = json.as_array().unwrap().iter();
    let kept = groups.flat_map(|group| group["keep"].as_array().cloned().unwrap_or_default());
    kept.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_policy_keeps_what_restic_keeps() {
    let newest = std::env::var_os("RESTIC_NEWEST").map(PathBuf::from);
    let programs: Vec<PathBuf> = std::iter::once(PathBuf::from("restic")).chain(newest).collect();
    let mut chance = Chance(7);
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(folder::Folder::new(folder.path()));
        let repository = Repository::init(storage, b"x", Version::V2).unwrap();
        random_snapshots(&repository, &mut chance);
        let all = snapshots(&repository).unwrap();
        for _ in 0..15 {
            let (policy, flags) = random_policy(&mut chance);
            if flags.iter().all(|flag| flag.ends_with("=0") || flag.ends_with("=0y0m0d0h") || flag.contains("tag")) {
                continue;
            }
            let chosen = choose(all.clone(), &Filter::default(), &policy, Timestamp::now());
            let ours: BTreeSet<String> = chosen.kept.iter().map(|stored| stored.id.to_string()).collect();
            // Since restic 0.16 the oldest snapshot of a group is kept while there is room; 0.14 does not do that yet.
            let oldest = oldest_of_groups(&all);
            for (program, is_old) in programs.iter().zip([true, false]) {
                let theirs = kept_by(program, folder.path(), &flags);
                let differ: Vec<_> = ours.symmetric_difference(&theirs).collect();
                let excused = |id: &&String| is_old && ours.contains(*id) && oldest.contains(*id);
                assert!(differ.iter().all(excused), "{} {flags:?}: {differ:?}", program.display());
            }
        }
    }
}
