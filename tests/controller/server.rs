//! The API server of these tests: one for the whole run, brought up when the first test asks for it; and one for a test that
//! needs it for itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use doppel::operator::client::builder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::OnceCell;

const CLUSTER: &str = "controller";

/// How to reach the API server, with the CRDs installed.
pub(super) async fn config() -> kube::Config {
    static KUBECONFIG: OnceCell<PathBuf> = OnceCell::const_new();
    read(KUBECONFIG.get_or_init(|| async { up(CLUSTER) }).await).await
}

async fn read(path: &Path) -> kube::Config {
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // Longer than a connection is kept that nobody uses (90 s), for that time counts, too: a request on one that is about to be too
    // old would fail, though it is answered at once.
    config.read_timeout = Some(std::time::Duration::from_secs(120));
    config.reset_reader_on_write = true;
    config
}

/// An API server of its own, which ends with this.
pub(super) struct Alone {
    name: &'static str,
    /// Where its kubeconfig is.
    pub(super) kubeconfig: PathBuf,
}

impl Alone {
    pub(super) fn up(name: &'static str) -> Self {
        Self { name, kubeconfig: up(name) }
    }

    pub(super) async fn config(&self) -> kube::Config {
        read(&self.kubeconfig).await
    }

    pub(super) async fn client(&self) -> kube::Client {
        builder(self.config().await).unwrap().build()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        run(&["down", self.name]);
    }
}

fn up(name: &str) -> PathBuf {
    let begin = Instant::now();
    run(&["up", name, "--control-plane-only"]);
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/crds.yaml");
    run(&["exec", name, "--", "kubectl", "apply", "--server-side", "--force-conflicts", "-f", crds]);
    run(&["await-crds", name]);
    eprintln!("API server was ready after {:.1} s", begin.elapsed().as_secs_f64());
    PathBuf::from(run(&["kubeconfig", name]).trim())
}

fn run(arguments: &[&str]) -> String {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let output = Command::new(PROGRAM.get_or_init(program)).args(arguments).output().unwrap();
    assert!(output.status.success(), "cluster {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The program of `tests/cluster`, built if `make` has not named it.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("CLUSTER") {
        return path.into();
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cluster");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster");
    let built = Command::new("go").args(["build", "-o"]).arg(&path).arg(".").current_dir(folder).status().unwrap();
    assert!(built.success(), "go build of tests/cluster");
    path
}
