//! A VolSync beside the operator, as its Lease tells.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use doppel::api::source::ReplicationSource;
use doppel::telemetry::volsync::VolSync;

use super::server::Alone;
use super::world::World;

const LEASE: &str = "b95b3104.backube";

async fn held_by(leases: &Api<Lease>, holder: &str) {
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 137,
        "renewTime": format!("{:.6}", Timestamp::now())});
    let patch =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": spec});
    leases.patch(LEASE, &PatchParams::apply("volsync").force(), &Patch::Apply(patch)).await.unwrap();
}

#[tokio::test]
async fn an_operator_waits_until_volsync_has_ended_and_notices_when_it_is_back() {
    let world = World::new().await;
    let leases = world.api::<Lease>();
    let mut volsync = VolSync::new(world.client.clone());
    timeout(Duration::from_secs(10), volsync.gone()).await.unwrap().unwrap();

    held_by(&leases, "volsync-0_1").await;
    let waiting = timeout(Duration::from_secs(5), volsync.gone()).await;
    assert!(waiting.is_err(), "did not wait for VolSync");
    // As it does when it ends.
    held_by(&leases, "").await;
    timeout(Duration::from_secs(10), volsync.gone()).await.unwrap().unwrap();

    held_by(&leases, "volsync-0_2").await;
    let found = timeout(Duration::from_secs(10), volsync.comes()).await.unwrap().unwrap();
    assert_eq!((found.namespace, found.holder), (world.namespace.clone(), "volsync-0_2".to_owned()));
    world.delete::<Lease>(LEASE).await;
}

/// The operator's process, which ends with this.
struct Operator {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Operator {
    fn start(cluster: &Alone) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_doppel"))
            .args(["operator", "--mover-image", "mover:1", "--namespace", "default", "--metrics-bind-address", "0"])
            .args(["--health-probe-bind-address", "127.0.0.1:0"])
            .env("KUBECONFIG", &cluster.kubeconfig)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the process.
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, lines }
    }

    /// Waits until it logs this.
    fn await_line(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect(text);
            if line.contains(text) {
                return;
            }
        }
    }

    /// What it says last, when it ends by itself.
    async fn last_words(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it goes on beside VolSync"),
            }
            sleep(Duration::from_millis(100)).await;
        };
        assert!(!status.success());
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the operator has looked at the source.
async fn is_touched(sources: &Api<ReplicationSource>) -> bool {
    sources.get("x").await.unwrap().status.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_beside_a_volsync_touches_nothing_says_so_and_ends_when_one_comes_back() {
    let cluster = Alone::up("beside");
    let client = cluster.client().await;
    let leases = Api::<Lease>::namespaced(client.clone(), "default");
    held_by(&leases, "volsync-0_1").await;
    let sources = Api::<ReplicationSource>::namespaced(client, "default");
    let object: Value = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationSource",
        "metadata": {"name": "x"}, "spec": {"sourcePVC": "data", "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1"}}});
    sources.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();

    let mut operator = Operator::start(&cluster);
    operator.await_line("VolSync runs in namespace \\\"default\\\"");
    let touched = async {
        while !is_touched(&sources).await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::pin!(touched);
    let acted = timeout(Duration::from_secs(5), &mut touched).await;
    assert!(acted.is_err(), "acted beside VolSync");
    held_by(&leases, "").await;
    timeout(Duration::from_secs(30), touched).await.expect("it does not begin when VolSync has ended");

    held_by(&leases, "volsync-0_2").await;
    let words = operator.last_words().await;
    assert!(words.contains("volsync-0_2") && words.contains("Doppel must not act beside it"), "{words}");
}
