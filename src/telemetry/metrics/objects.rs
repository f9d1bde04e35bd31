//! The `doppel_` metrics of what is replicated. An object has one record, and its series are rendered from that: they come
//! and go together. At most 22 series an object: 9 values, 3 phases, 4 counts and 6 faults.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use doppel_contract::Tally;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::model::measure::{Attempt, AttemptResult, PhaseTimes, Standing};
use crate::model::readiness::Blame;

/// Whose series they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct Object {
    pub(super) obj_name: String,
    pub(super) obj_namespace: String,
    pub(super) role: &'static str,
}

/// All records.
#[derive(Debug, Default)]
pub(super) struct Objects(Mutex<BTreeMap<Object, Record>>);

/// What is known of one object. Counts begin with the operator; so do the volume's size and the phases.
#[derive(Debug, Default)]
struct Record {
    standing: Standing,
    volume: Option<Volume>,
    phases: Option<PhaseTimes>,
    wire_sent: u64,
    wire_received: u64,
    files_sent: u64,
    deleted: u64,
    failed: BTreeMap<Blame, u64>,
}

/// What the latest mover that left a report saw of the source.
#[derive(Debug, Clone, Copy)]
struct Volume {
    bytes: u64,
    entries: u64,
}

/// A metric with at most one value an object.
struct Gauge {
    name: &'static str,
    help: &'static str,
    value: fn(&Record) -> Option<u64>,
}

const GAUGES: &[Gauge] = &[
    Gauge {
        name: "doppel_ready",
        help: "Whether the copy that the object asks for is there; the condition Ready",
        value: |record| Some(u64::from(record.standing.ready)),
    },
    Gauge {
        name: "doppel_stalled",
        help: "Whether somebody should look at the object; the condition Stalled",
        value: |record| Some(u64::from(record.standing.stalled)),
    },
    Gauge {
        name: "doppel_last_success_timestamp_seconds",
        help: "When the last successful synchronization ended; absent before the first",
        value: |record| seconds(record.standing.last_success),
    },
    Gauge {
        name: "doppel_next_due_timestamp_seconds",
        help: "When the schedule fires after the last success; absent without a schedule, or before the first",
        value: |record| seconds(record.standing.next_due),
    },
    Gauge {
        name: "doppel_deadline_timestamp_seconds",
        help: "When the schedule is missed without another success: when it fires twice after the last one",
        value: |record| seconds(record.standing.deadline),
    },
    Gauge {
        name: "doppel_consecutive_failures",
        help: "How many attempts failed since the last success",
        value: |record| Some(u64::from(record.standing.consecutive_failures)),
    },
    Gauge {
        name: "doppel_failed_entries",
        help: "How many entries the latest attempt left out, if it failed by that",
        value: |record| Some(record.standing.failed_entries),
    },
    Gauge {
        name: "doppel_volume_bytes",
        help: "Bytes of file content in the source, as the latest mover counted them",
        value: |record| record.volume.map(|volume| volume.bytes),
    },
    Gauge {
        name: "doppel_volume_entries",
        help: "Files, directories and links in the source, as the latest mover counted them",
        value: |record| record.volume.map(|volume| volume.entries),
    },
];

fn seconds(time: Option<Timestamp>) -> Option<u64> {
    time.and_then(|time| u64::try_from(time.as_second()).ok())
}

impl Objects {
    /// How an object stands now, and what the attempt did that has just ended.
    pub(super) fn record(&self, object: Object, standing: Standing, attempt: Option<&Attempt>) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.entry(object).or_default();
        record.standing = standing;
        if let Some(attempt) = attempt {
            record.add(attempt);
        }
    }

    /// Namespaces and names of those with this role.
    pub(super) fn known(&self, role: &str) -> Vec<(String, String)> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_role = records.keys().filter(|object| object.role == role);
        of_role.map(|object| (object.obj_namespace.clone(), object.obj_name.clone())).collect()
    }

    /// Removes an object's series.
    pub(super) fn forget(&self, object: &Object) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

impl Record {
    fn add(&mut self, Attempt { tally, result }: &Attempt) {
        if let Some(tally) = tally {
            self.count(tally);
        }
        match result {
            AttemptResult::Succeeded(phases) => self.phases = Some(*phases),
            AttemptResult::Failed(blame) => *self.failed.entry(*blame).or_default() += 1,
        }
    }

    fn count(&mut self, tally: &Tally) {
        // A mover that failed before it had seen the source knows nothing of its size.
        if tally.entries > 0 {
            self.volume = Some(Volume { bytes: tally.bytes, entries: tally.entries });
        }
        let add = |count: &mut u64, more: u64| *count = count.saturating_add(more);
        add(&mut self.wire_sent, tally.wire_sent);
        add(&mut self.wire_received, tally.wire_received);
        add(&mut self.files_sent, tally.files_sent);
        add(&mut self.deleted, tally.deleted);
    }
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Gauge { name, help, value } in GAUGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (object, value) in records.iter().filter_map(|(object, record)| Some((object, value(record)?))) {
                metric.encode_family(object)?.encode_gauge(&value)?;
            }
        }
        phases(&records, &mut encoder)?;
        counts(&records, &mut encoder)
    }
}

fn phases(records: &BTreeMap<Object, Record>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Where the time of the last successful synchronization went";
    let mut metric = encoder.encode_descriptor("doppel_last_sync_phase_seconds", help, None, MetricType::Gauge)?;
    for (object, record) in records {
        for (phase, time) in record.phases.iter().flat_map(PhaseTimes::named) {
            metric.encode_family(&(object.clone(), [("phase", phase)]))?.encode_gauge(&Duration::as_secs_f64(&time))?;
        }
    }
    Ok(())
}

fn counts(records: &BTreeMap<Object, Record>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Bytes of the movers' protocol, before encryption";
    let mut wire = encoder.encode_descriptor("doppel_wire_bytes", help, None, MetricType::Counter)?;
    for (object, record) in records {
        for (direction, bytes) in [("sent", record.wire_sent), ("received", record.wire_received)] {
            count(&mut wire, (object, [("direction", direction)]), bytes)?;
        }
    }
    let help = "Files of which content was sent";
    let mut files = encoder.encode_descriptor("doppel_files_sent", help, None, MetricType::Counter)?;
    for (object, record) in records {
        count(&mut files, (object, []), record.files_sent)?;
    }
    let help = "Entries that a destination deleted because its source has them no more";
    let mut deleted = encoder.encode_descriptor("doppel_deleted_entries", help, None, MetricType::Counter)?;
    for (object, record) in records {
        count(&mut deleted, (object, []), record.deleted)?;
    }
    let help = "Attempts that failed, by whose fault it seems to be";
    let mut failed = encoder.encode_descriptor("doppel_failed_attempts", help, None, MetricType::Counter)?;
    for (object, record) in records {
        for (blame, attempts) in &record.failed {
            count(&mut failed, (object, [("fault", blame.as_str())]), *attempts)?;
        }
    }
    Ok(())
}

fn count<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    (object, more): (&Object, [(&str, &str); N]),
    value: u64,
) -> fmt::Result {
    metric.encode_family(&(object.clone(), more))?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Object {
        Object { obj_name: name.to_owned(), obj_namespace: "ns".to_owned(), role: "source" }
    }

    fn render(objects: Objects) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(objects));
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, &registry).unwrap();
        text
    }

    fn attempt(result: AttemptResult) -> Attempt {
        let tally = Tally {
            entries: 12,
            bytes: 5000,
            files_sent: 3,
            deleted: 2,
            wire_sent: 1000,
            wire_received: 250,
            ..Tally::default()
        };
        Attempt { tally: Some(tally), result }
    }

    fn phases() -> PhaseTimes {
        let [prepare, transfer, publish] = [2500, 1000, 500].map(Duration::from_millis);
        PhaseTimes { prepare, transfer, publish }
    }

    fn full() -> Objects {
        let objects = Objects::default();
        let time = |text: &str| Some(text.parse().unwrap());
        let standing = Standing {
            ready: false,
            stalled: true,
            last_success: time("2026-11-23T10:00:00Z"),
            next_due: time("2026-11-23T11:00:00Z"),
            deadline: time("2026-11-23T12:00:00Z"),
            consecutive_failures: 6,
            failed_entries: 7,
        };
        objects.record(object("db"), standing.clone(), Some(&attempt(AttemptResult::Succeeded(phases()))));
        for blame in Blame::ALL {
            objects.record(object("db"), standing.clone(), Some(&attempt(AttemptResult::Failed(blame))));
        }
        objects
    }

    const SERIES: &str = r#"obj_name="db",obj_namespace="ns",role="source""#;

    #[test]
    fn an_object_shows_how_it_stands_and_what_its_movers_did() {
        let text = render(full());
        for (name, labels, value) in [
            ("ready", "", "0"),
            ("stalled", "", "1"),
            ("last_success_timestamp_seconds", "", "1795428000"),
            ("next_due_timestamp_seconds", "", "1795431600"),
            ("deadline_timestamp_seconds", "", "1795435200"),
            ("consecutive_failures", "", "6"),
            ("failed_entries", "", "7"),
            ("volume_bytes", "", "5000"),
            ("volume_entries", "", "12"),
            ("last_sync_phase_seconds", r#",phase="prepare""#, "2.5"),
            ("last_sync_phase_seconds", r#",phase="publish""#, "0.5"),
            ("wire_bytes_total", r#",direction="sent""#, "7000"),
            ("wire_bytes_total", r#",direction="received""#, "1750"),
            ("files_sent_total", "", "21"),
            ("deleted_entries_total", "", "14"),
            ("failed_attempts_total", r#",fault="Network""#, "1"),
        ] {
            let expected = format!("doppel_{name}{{{SERIES}{labels}}} {value}\n");
            assert!(text.contains(&expected), "{expected} is not in\n{text}");
        }
    }

    /// The bound of this module's document.
    #[test]
    fn an_object_has_at_most_22_series() {
        let text = render(full());
        assert_eq!(text.lines().filter(|line| line.contains(SERIES)).count(), 22, "{text}");
    }

    #[test]
    fn what_is_not_known_is_absent_and_not_zero() {
        let objects = Objects::default();
        objects.record(object("new"), Standing::default(), None);
        let text = render(objects);
        for name in ["last_success", "next_due", "deadline", "volume", "phase"] {
            assert!(!text.lines().any(|line| !line.starts_with('#') && line.contains(name)), "{name} in\n{text}");
        }
        assert!(text.contains("doppel_ready{"), "{text}");
    }

    #[test]
    fn a_mover_that_saw_nothing_does_not_empty_the_volume() {
        let objects = full();
        let nothing = Attempt { tally: Some(Tally::default()), result: AttemptResult::Failed(Blame::Network) };
        objects.record(object("db"), Standing::default(), Some(&nothing));
        assert!(render(objects).contains(&format!("doppel_volume_bytes{{{SERIES}}} 5000")));
    }

    #[test]
    fn all_series_go_with_their_object_and_those_of_others_stay() {
        let objects = full();
        objects.record(object("other"), Standing::default(), None);
        objects.forget(&object("db"));
        let text = render(objects);
        assert!(!text.contains("\"db\"") && text.contains("\"other\""), "{text}");
    }
}
