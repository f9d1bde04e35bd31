//! PURE: how far a mover is, in words. Doppel's operator asks its movers every ten seconds; VolSync's tell nobody.

use doppel::api::common::ProgressStatus;
use indicatif::HumanBytes;

use crate::object::Object;
use crate::text;

/// How far the mover of this object is, while one runs and has said so.
pub(crate) fn of(object: &Object) -> Option<ProgressStatus> {
    object.status.as_ref()?.current_sync.as_ref()?.progress.clone()
}

/// Hundredths that are done: of the bytes, or of the entries where there are no bytes. None before all is counted.
pub(crate) fn percent(progress: &ProgressStatus) -> Option<u64> {
    let share = |done: Option<i64>, total: Option<i64>| {
        let (done, total) = (u64::try_from(done?).ok()?, u64::try_from(total?).ok()?);
        // What grew meanwhile is more than was counted.
        let percent = (u128::from(done.min(total)) * 100).checked_div(u128::from(total))?;
        u64::try_from(percent).ok()
    };
    share(progress.bytes, progress.bytes_total).or_else(|| share(progress.entries, progress.entries_total))
}

/// All that is known of it, in one line: `transferring: 45 %, 9.00 GiB of 20.00 GiB, 812 entries, 12.00 MiB a second, 15m40s left`.
pub(crate) fn line(progress: &ProgressStatus) -> String {
    let bytes = |count: i64| HumanBytes(u64::try_from(count).unwrap_or(0)).to_string();
    let done = progress.bytes.map(|done| match progress.bytes_total {
        Some(total) => format!("{} of {}", bytes(done), bytes(total)),
        None => bytes(done),
    });
    let parts = [
        percent(progress).map(|percent| format!("{percent} %")),
        done,
        progress.entries.map(|count| format!("{count} entries")),
        progress.bytes_per_second.map(|rate| format!("{} a second", bytes(rate))),
        progress.remaining_seconds.map(|seconds| format!("{} left", text::span(seconds))),
    ];
    let known = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match progress.phase.as_deref() {
        Some(phase) => format!("{}: {known}", text::words(phase)),
        None => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn progress_is_told_as_far_as_it_is_known() {
        let whole = of(&fixtures::object("transferring")).unwrap();
        assert_eq!(percent(&whole), Some(45));
        assert_eq!(
            line(&whole),
            "transferring: 45 %, 9.00 GiB of 20.00 GiB, 812 entries, 12.00 MiB a second, 15m40s left"
        );
        let counting = ProgressStatus { bytes_total: None, entries_total: None, remaining_seconds: None, ..whole };
        assert_eq!(percent(&counting), None);
        assert_eq!(line(&counting), "transferring: 9.00 GiB, 812 entries, 12.00 MiB a second");
        assert_eq!(of(&fixtures::object("running")), None);
    }

    #[test]
    fn what_was_counted_too_low_or_wrong_is_no_more_than_all() {
        let of = |bytes, bytes_total| ProgressStatus {
            bytes: Some(bytes),
            bytes_total: Some(bytes_total),
            entries: Some(1),
            entries_total: Some(4),
            ..ProgressStatus::default()
        };
        assert_eq!(percent(&of(30, 20)), Some(100));
        assert_eq!(percent(&of(-1, 20)), Some(25), "its bytes are nonsense");
        assert_eq!(percent(&of(0, 0)), Some(25), "a volume of links");
        assert_eq!(percent(&of(i64::MAX, i64::MAX)), Some(100));
    }
}
