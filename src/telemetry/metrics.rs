//! Metrics, in the OpenMetrics text format: VolSync's three, and those under `doppel_` ([`objects`] and the operator's own).
//! docs/metrics.md lists them for users.
//!
//! Counters and gauges are prometheus-client's. It has no summaries; VolSync's one is rendered here, from a bounded
//! window of durations for each object.

mod objects;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::objects::{Object, Objects};
use crate::model::measure::{Attempt, Measures, Standing};
use crate::model::mover::Mover;
use crate::model::replication::{Owner, Replication, Role};

const DURATIONS: &str = "volsync_sync_duration_seconds";
/// How long a duration counts in the quantiles, as in VolSync.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Most durations kept for one object: one every 86 s over the window. 16 bytes each.
const MOST_DURATIONS: usize = 1000;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// Seconds: from one that found a place free to one that waited for half a day.
const QUEUE_WAITS: [f64; 8] = [0.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 14_400.0, 43_200.0];

/// Whose series it is. One series an object, removed with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Labels {
    obj_name: String,
    obj_namespace: String,
    role: String,
    method: String,
}

impl Labels {
    fn new(wish: &Replication) -> Self {
        Self {
            obj_name: wish.owner.name.clone(),
            obj_namespace: wish.owner.namespace.clone(),
            role: role(wish.owner.role).to_owned(),
            method: wish.mover.name().to_owned(),
        }
    }

    fn is_of(&self, of_role: Role, namespace: &str, name: &str) -> bool {
        self.role == role(of_role) && self.obj_namespace == namespace && self.obj_name == name
    }
}

fn object(of_role: Role, namespace: &str, name: &str) -> Object {
    Object { obj_name: name.to_owned(), obj_namespace: namespace.to_owned(), role: role(of_role) }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Destination => "destination",
    }
}

/// Which operator it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The operator's metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    missed_intervals: Family<Labels, Counter<u64, AtomicU64>>,
    out_of_sync: Family<Labels, Gauge>,
    durations: Mutex<BTreeMap<Labels, Summary>>,
    objects: Arc<Objects>,
    leading: Gauge,
    queue_length: Gauge,
    places: Gauge,
    queue_waits: Histogram,
}

/// Durations of one object's synchronizations.
#[derive(Debug, Default)]
struct Summary {
    count: u64,
    sum: Duration,
    recent: VecDeque<(Instant, Duration)>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (objects, leading) = (Arc::<Objects>::default(), Gauge::default());
        let missed_intervals = Family::default();
        let out_of_sync = Family::default();
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("doppel_build_info", "The version of the operator; the value is 1", build);
        registry.register(
            "doppel_leading",
            "Whether this instance acts: 1, or 0 while it waits for the Lease",
            leading.clone(),
        );
        let (queue_length, places, queue_waits) = (Gauge::default(), Gauge::default(), Histogram::new(QUEUE_WAITS));
        let help = "Synchronizations that wait for a place; always 0 where nothing is limited";
        registry.register("doppel_queue_length", help, queue_length.clone());
        let help = "Synchronizations that have a place; always 0 where nothing is limited";
        registry.register("doppel_queue_places", help, places.clone());
        let help = "How long those waited that got a place";
        registry.register("doppel_queue_wait_seconds", help, queue_waits.clone());
        registry.register_collector(Box::new(objects.clone()));
        registry.register(
            "volsync_missed_intervals",
            "The number of times a synchronization failed to complete before the next scheduled start",
            missed_intervals.clone(),
        );
        registry.register(
            "volsync_volume_out_of_sync",
            "Set to 1 if the volume is not properly synchronized",
            out_of_sync.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            missed_intervals,
            out_of_sync,
            durations: Mutex::default(),
            objects,
            leading,
            queue_length,
            places,
            queue_waits,
        }))
    }
}

impl Metrics {
    /// What a pass over an object came to.
    pub fn record(&self, wish: &Replication, measures: &Measures, now: Instant) {
        let Measures { out_of_sync, completed, missed_interval, standing, attempt } = measures;
        let labels = Labels::new(wish);
        self.0.out_of_sync.get_or_create(&labels).set(i64::from(*out_of_sync));
        if *missed_interval {
            self.0.missed_intervals.get_or_create(&labels).inc();
        }
        if let Some(duration) = completed {
            let mut durations = self.0.durations.lock().unwrap_or_else(PoisonError::into_inner);
            durations.entry(labels).or_default().add(*duration, now);
        }
        self.stand(&wish.owner, standing.clone(), attempt.as_ref());
    }

    /// How an object stands, whatever it asks for.
    pub fn stand(&self, owner: &Owner, standing: Standing, attempt: Option<&Attempt>) {
        self.0.objects.record(object(owner.role, &owner.namespace, &owner.name), standing, attempt);
    }

    /// From now on this instance acts.
    pub fn lead(&self) {
        self.0.leading.set(1);
    }

    /// How many wait for a place, and how many have one.
    pub fn queue(&self, length: usize, places: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.0.queue_length.set(count(length));
        self.0.places.set(count(places));
    }

    /// How long one waited that has got a place.
    pub fn waited(&self, time: Duration) {
        self.0.queue_waits.observe(time.as_secs_f64());
    }

    /// Namespaces and names of the objects of this kind that have series.
    #[must_use]
    pub fn known(&self, of_role: Role) -> Vec<(String, String)> {
        self.0.objects.known(role(of_role))
    }

    /// Removes the series of an object that was deleted.
    pub fn forget(&self, role: Role, namespace: &str, name: &str) {
        self.0.objects.forget(&object(role, namespace, name));
        let mut durations = self.0.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.retain(|labels, _| !labels.is_of(role, namespace, name));
        // The method is not known any more; each that there is may have been the object's.
        for method in Mover::NAMES {
            let labels = Labels {
                obj_name: name.to_owned(),
                obj_namespace: namespace.to_owned(),
                role: self::role(role).to_owned(),
                method: (*method).to_owned(),
            };
            self.0.missed_intervals.remove(&labels);
            self.0.out_of_sync.remove(&labels);
        }
    }

    /// All metrics as text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut text, &self.0.registry);
        self.render_durations(&mut text);
        let _ = encode_eof(&mut text);
        text
    }

    fn render_durations(&self, text: &mut String) {
        let now = Instant::now();
        let _ = writeln!(text, "# HELP {DURATIONS} Duration of the synchronization interval in seconds.");
        let _ = writeln!(text, "# TYPE {DURATIONS} summary");
        let mut durations = self.0.durations.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, summary) in durations.iter_mut() {
            summary.expire(now);
            // Names of Kubernetes objects hold nothing that would have to be escaped.
            let Labels { obj_name, obj_namespace, role, method } = labels;
            let labels =
                format!(r#"obj_name="{obj_name}",obj_namespace="{obj_namespace}",role="{role}",method="{method}""#);
            for quantile in QUANTILES {
                let value = summary.quantile(quantile);
                let _ = writeln!(text, r#"{DURATIONS}{{{labels},quantile="{quantile}"}} {value}"#);
            }
            let _ = writeln!(text, "{DURATIONS}_sum{{{labels}}} {}", summary.sum.as_secs_f64());
            let _ = writeln!(text, "{DURATIONS}_count{{{labels}}} {}", summary.count);
        }
    }
}

impl Summary {
    fn add(&mut self, duration: Duration, now: Instant) {
        self.count += 1;
        self.sum += duration;
        if self.recent.len() == MOST_DURATIONS {
            self.recent.pop_front();
        }
        self.recent.push_back((now, duration));
    }

    fn expire(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.recent.pop_front();
        }
    }

    /// The smallest duration that is not exceeded by this part of the recent ones; NaN without any.
    fn quantile(&self, quantile: f64) -> f64 {
        let mut sorted: Vec<_> = self.recent.iter().map(|(_, duration)| *duration).collect();
        sorted.sort_unstable();
        let position = |index: usize| {
            // At most 1000 of them: exact in a double.
            #[expect(clippy::cast_precision_loss, reason = "at most 1000 durations are kept")]
            let part = (index + 1) as f64 / sorted.len() as f64;
            part >= quantile
        };
        (0..sorted.len())
            .find(|index| position(*index))
            .and_then(|index| sorted.get(index))
            .map_or(f64::NAN, Duration::as_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_one_series() -> Metrics {
        let metrics = Metrics::default();
        let labels = Labels {
            obj_name: "db".to_owned(),
            obj_namespace: "ns".to_owned(),
            role: "source".to_owned(),
            method: "rsync-tls".to_owned(),
        };
        metrics.0.out_of_sync.get_or_create(&labels).set(1);
        metrics.0.missed_intervals.get_or_create(&labels).inc();
        metrics.0.durations.lock().unwrap().entry(labels).or_default().add(Duration::from_millis(2500), Instant::now());
        metrics
    }

    #[test]
    fn quantiles_are_those_of_the_last_day() {
        let mut summary = Summary::default();
        let now = Instant::now();
        for seconds in 1..=100 {
            summary.add(Duration::from_secs(seconds), now);
        }
        assert_eq!([0.5, 0.9, 0.99].map(|quantile| summary.quantile(quantile)), [50.0, 90.0, 99.0]);
        summary.expire(now + WINDOW + Duration::from_secs(1));
        assert!(summary.quantile(0.5).is_nan());
        assert_eq!((summary.count, summary.sum), (100, Duration::from_secs(5050)));
    }

    #[test]
    fn the_window_is_bounded() {
        let mut summary = Summary::default();
        for _ in 0..2 * MOST_DURATIONS {
            summary.add(Duration::from_secs(1), Instant::now());
        }
        assert_eq!(summary.recent.len(), MOST_DURATIONS);
    }

    /// Names and types of the first table of docs/metrics.md, in the order of the text format.
    fn documented() -> Vec<String> {
        let rows = include_str!("../../docs/metrics.md").lines().filter(|line| line.starts_with("| `doppel_"));
        let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>());
        cells.map(|cells| format!("{} {}", cells[1].trim_end_matches("_total"), cells[2])).collect()
    }

    #[test]
    fn metrics_that_are_not_volsyncs_are_not_called_so() {
        let text = with_one_series().render();
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let (ours, volsyncs): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.starts_with("doppel_"));
        let expected = [
            "volsync_missed_intervals counter",
            "volsync_volume_out_of_sync gauge",
            "volsync_sync_duration_seconds summary",
        ];
        assert_eq!(volsyncs, expected);
        assert_eq!(ours, documented());
        assert!(text.contains(concat!("doppel_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n")), "{text}");
        assert!(text.ends_with("# EOF\n"), "OpenMetrics ends with this line");
    }

    #[test]
    fn an_instance_that_waits_for_the_lease_says_so() {
        let metrics = Metrics::default();
        assert!(metrics.render().contains("\ndoppel_leading 0\n"));
        metrics.lead();
        assert!(metrics.render().contains("\ndoppel_leading 1\n"));
    }

    #[test]
    fn series_have_the_names_and_labels_of_volsync_and_go_with_their_object() {
        let metrics = with_one_series();
        let text = metrics.render();
        let series = r#"obj_name="db",obj_namespace="ns",role="source",method="rsync-tls""#;
        for expected in [
            format!("volsync_missed_intervals_total{{{series}}} 1"),
            format!("volsync_volume_out_of_sync{{{series}}} 1"),
            format!(r#"volsync_sync_duration_seconds{{{series},quantile="0.9"}} 2.5"#),
            format!("volsync_sync_duration_seconds_sum{{{series}}} 2.5"),
            format!("volsync_sync_duration_seconds_count{{{series}}} 1"),
        ] {
            assert!(text.contains(&expected), "{expected} is not in\n{text}");
        }
        metrics.forget(Role::Source, "ns", "db");
        assert!(!metrics.render().contains("obj_name"));
    }
}
