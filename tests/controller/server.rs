//! The API server of these tests: one for the whole run, brought up when the first test asks for it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::OnceCell;

const CLUSTER: &str = "controller";

/// How to reach the API server, with the CRDs installed.
pub(super) async fn config() -> kube::Config {
    static KUBECONFIG: OnceCell<PathBuf> = OnceCell::const_new();
    let path = KUBECONFIG.get_or_init(|| async { up() }).await;
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.read_timeout = Some(std::time::Duration::from_secs(30));
    config
}

fn up() -> PathBuf {
    let begin = Instant::now();
    let cluster = program();
    let run = |arguments: &[&str]| {
        let output = Command::new(&cluster).args(arguments).output().unwrap();
        assert!(output.status.success(), "cluster {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["up", CLUSTER, "--control-plane-only"]);
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/crds.yaml");
    run(&["exec", CLUSTER, "--", "kubectl", "apply", "--server-side", "--force-conflicts", "-f", crds]);
    let established = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=30s"];
    run(&[&["exec", CLUSTER, "--", "kubectl"][..], &established[..]].concat());
    eprintln!("API server was ready after {:.1} s", begin.elapsed().as_secs_f64());
    PathBuf::from(run(&["kubeconfig", CLUSTER]).trim())
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
