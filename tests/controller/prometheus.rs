//! A real Prometheus scrapes the operator as `deploy/monitoring` says: it finds every metric that rules and dashboard name, and
//! alerts. Stories that take longer than a test may are in `tests/monitoring`, for promtool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::telemetry::metrics::Metrics;

use super::faults::Mortal;
use super::port::free_port;
use super::readiness::{INCOMPLETE, end_mover};
use super::scrape::{allow, serve, token};
use super::world::World;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Longest wait for Prometheus: it scrapes and evaluates every second.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_alert_fires_in_its_story_and_is_silent_before() {
    let rules = format!("{ROOT}/deploy/monitoring/rules.yaml");
    let stories = format!("{ROOT}/tests/monitoring/rules.test.yaml");
    for arguments in [["check", "rules", &rules], ["test", "rules", &stories]] {
        let output = Command::new("promtool").args(arguments).output().expect("promtool is there (tests/peers)");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {text}");
    }
    let stories = std::fs::read_to_string(stories).unwrap();
    for alert in words(&std::fs::read_to_string(rules).unwrap(), "Doppel").iter().filter(|name| *name != "Doppel") {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(stories.contains(&fires), "no story makes {alert} fire");
    }
}

/// Words of a text that begin like this.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !is_word(c)).filter(|word| word.starts_with(prefix)).map(str::to_owned).collect()
}

/// A running Prometheus, which ends with this.
struct Prometheus {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(target: std::net::SocketAddr, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        std::fs::write(path("token"), token).unwrap();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [format!("{ROOT}/deploy/monitoring/rules.yaml")],
            "scrape_configs": [{
                "job_name": "doppel", "scheme": "https", "tls_config": {"insecure_skip_verify": true},
                "authorization": {"credentials_file": path("token")},
                "static_configs": [{"targets": [target.to_string()]}],
            }],
        });
        // JSON is YAML.
        std::fs::write(path("prometheus.yml"), config.to_string()).unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        // Prometheus does not tell a port that the system chose.
        let port = free_port();
        let process = Command::new("prometheus")
            .arg(argument("--config.file=", &path("prometheus.yml")))
            .arg(argument("--storage.tsdb.path=", &path("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is there (tests/peers)");
        Self { process, port, _folder: folder }
    }

    /// The value of the first series of a query's answer, if there is one.
    async fn query(&self, query: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // HTTP/1.0: the answer comes in one piece.
        let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        assert!(body["status"] == "success" || answer.contains(" 503 "), "{query}: {body}");
        Some(body["data"]["result"][0]["value"][1].as_str()?.to_owned())
    }

    /// Waits until a query has an answer.
    async fn until(&self, query: &str) -> String {
        let answered = async {
            loop {
                if let Some(value) = self.query(query).await {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{query} has no answer"))
    }
}

fn argument(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(flag);
    argument.push(path);
    argument
}

/// Before the schedule was missed many times.
const LONG_AGO: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

async fn make_old(world: &World) {
    let status = json!({"status": {"lastSyncTime": LONG_AGO.to_string(), "nextSyncTime": null}});
    let api = world.api::<ReplicationSource>();
    api.patch_status("x", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_finds_every_metric_of_rules_and_dashboard_and_alerts() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    let spec = json!({"sourcePVC": "data", "trigger": {"schedule": "@hourly"},
        "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1"}});
    world.create_object::<ReplicationSource>(spec).await;
    let metrics = Metrics::default();
    metrics.lead();
    let operator = world.operator_with(&Mortal::immortal(), metrics.clone());
    // Two successes, the second too late; then three incomplete attempts, after which the schedule is missed again.
    for _ in 0..2 {
        world.until(&operator, |object: &ReplicationSource| object.status().last_sync > Some(LONG_AGO)).await;
        make_old(&world).await;
    }
    for _ in 0..3 {
        end_mover(&mut world, &operator, 3, INCOMPLETE).await;
    }
    let prometheus_token = token(&world, "prometheus").await;
    allow(&world, "prometheus").await;
    let served = serve(world.client.clone(), metrics).await;
    let prometheus = Prometheus::start(served.address, &prometheus_token);

    prometheus.until(r#"up{job="doppel"} == 1"#).await;
    let mut named = BTreeSet::new();
    for file in ["rules.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(format!("{ROOT}/deploy/monitoring/{file}")).unwrap();
        named
            .extend(words(&text, "doppel_").into_iter().chain(words(&text, "doppel:")).chain(words(&text, "volsync_")));
    }
    assert!(named.len() > 15, "{named:?}");
    for name in &named {
        prometheus.until(name).await;
    }
    // Each panel shows something: names that exist do not make an expression of it yet.
    let dashboard = std::fs::read_to_string(format!("{ROOT}/deploy/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        prometheus.until(&target["expr"].as_str().unwrap().replace("$namespace", ".*")).await;
    }
    let of_world = format!(r#"obj_namespace="{}",alertstate="firing""#, world.namespace);
    for alert in ["DoppelReplicationFailing", "DoppelIncomplete"] {
        prometheus.until(&format!(r#"ALERTS{{alertname="{alert}",{of_world}}}"#)).await;
    }
    let waiting = format!(r#"ALERTS{{alertname="DoppelScheduleMissed",obj_namespace="{}"}}"#, world.namespace);
    prometheus.until(&waiting).await;
    assert_eq!(prometheus.query(r#"ALERTS{alertname="DoppelDown"}"#).await, None);
}
