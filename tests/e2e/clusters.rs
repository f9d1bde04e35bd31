//! The two clusters of these tests, with Doppel installed as a user installs it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    /// Where the data comes from.
    A,
    /// Where its double is kept.
    B,
}

impl Cluster {
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Its name on this machine. Two runs side by side have a `CLUSTER_PREFIX` each.
    fn name(self) -> String {
        let letter = match self {
            Self::A => "a",
            Self::B => "b",
        };
        std::env::var("CLUSTER_PREFIX").unwrap_or_default() + letter
    }

    /// Runs kubectl and returns what it printed.
    #[track_caller]
    pub(super) fn kubectl(self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with this standard input.
    #[track_caller]
    pub(super) fn kubectl_with(self, arguments: &[&str], stdin: &str) -> String {
        succeed(&self.try_kubectl(arguments, stdin), &format!("kubectl {arguments:?} in {}", self.name()))
    }

    /// The directory on this machine in which this cluster's volumes are.
    pub(super) fn volumes(self) -> PathBuf {
        succeed(&run(&["volumes", &self.name()], ""), "volumes").trim_end().into()
    }

    /// Runs kubectl, whatever comes of it.
    pub(super) fn try_kubectl(self, arguments: &[&str], stdin: &str) -> Output {
        run(&[&["exec", &self.name(), "--", "kubectl"], arguments].concat(), stdin)
    }

    /// Kills a container's processes, which notice nothing of it. `id` is that of a pod's status.
    #[track_caller]
    pub(super) fn kill_container(self, id: &str) {
        let id = id.rsplit('/').next().unwrap_or_default();
        let kill = ["exec", &self.name(), "--", "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id];
        succeed(&run(&kill, ""), &format!("killing container {id}"));
    }
}

/// Both clusters, brought up once for the whole run.
pub(super) fn up() {
    static UP: OnceLock<()> = OnceLock::new();
    UP.get_or_init(|| {
        let begin = Instant::now();
        for cluster in Cluster::BOTH {
            succeed(&run(&["up", &cluster.name()], ""), "up");
            succeed(&run(&["load-image", &cluster.name(), image().to_str().unwrap()], ""), "load-image");
            cluster.kubectl(&["apply", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy")]);
            // The image may be newer than the one that runs.
            cluster.kubectl(&["-n", "doppel-system", "rollout", "restart", "deployment/doppel-operator"]);
            cluster.kubectl(&[
                "-n",
                "doppel-system",
                "rollout",
                "status",
                "deployment/doppel-operator",
                "--timeout=120s",
            ]);
        }
        eprintln!("Both clusters were ready after {:.1} s", begin.elapsed().as_secs_f64());
    });
}

/// Waits until something is so; panics, with the last that was seen, when it takes too long.
#[track_caller]
pub(super) fn until(what: &str, seconds: u64, mut look: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(()) => return,
            Err(seen) if Instant::now() > deadline => panic!("{what}: not after {seconds} s; last seen: {seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn run(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(named("CLUSTER"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeed(output: &Output, what: &str) -> String {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn image() -> PathBuf {
    named("IMAGE")
}

/// `make test` names the program of `tests/cluster` and the packed image.
fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; run these tests through make test"))
        .into()
}
