//! A namespace on a real API server, and the program at work in it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// The cluster of most tests.
const WEST: &str = "plugin";

/// The other cluster of pairs.
const EAST: &str = "plugin3";

/// A namespace, seen through a kubeconfig.
pub(crate) struct World {
    cluster: &'static str,
    kubeconfig: PathBuf,
    pub(crate) namespace: String,
    /// Where a kubeconfig of this world's own is.
    _folder: Option<tempfile::TempDir>,
}

impl World {
    /// A new namespace.
    pub(crate) fn new(name: &str) -> Self {
        static UP: OnceLock<PathBuf> = OnceLock::new();
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        Self::on(WEST, UP.get_or_init(|| up(WEST)).clone(), &format!("{name}-{unique}"))
    }

    fn on(cluster: &'static str, kubeconfig: PathBuf, namespace: &str) -> Self {
        let world = Self { cluster, kubeconfig, namespace: namespace.to_owned(), _folder: None };
        kubectl(&world, &["create", "namespace", namespace], None);
        world
    }

    /// The namespace `default` of a cluster without the API.
    pub(crate) fn bare() -> Self {
        const BARE: &str = "plugin2";
        static UP: OnceLock<PathBuf> = OnceLock::new();
        let up = || {
            cluster(&["up", BARE, "--control-plane-only"]);
            cluster(&["kubeconfig", BARE]).trim().into()
        };
        let kubeconfig = UP.get_or_init(up).clone();
        Self { cluster: BARE, kubeconfig, namespace: "default".to_owned(), _folder: None }
    }

    /// The same namespace, for a user of this name, who has no rights.
    pub(crate) fn impersonating(&self, user: &str) -> Self {
        let mut config = self.config();
        config["users"][0]["user"]["as"] = json!(user);
        self.through(&config)
    }

    /// The same namespace, through another kubeconfig.
    fn through(&self, config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { cluster: self.cluster, kubeconfig, namespace: self.namespace.clone(), _folder: Some(folder) }
    }

    /// `tests/cluster` writes kubeconfigs as JSON.
    fn config(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(&self.kubeconfig).unwrap()).unwrap()
    }

    /// The same namespace, through a kubeconfig with the other's contexts, too.
    fn beside(&self, other: &Self) -> Self {
        let (mut config, other) = (self.config(), other.config());
        for list in ["clusters", "users", "contexts"] {
            let more = other[list].as_array().unwrap().clone();
            config[list].as_array_mut().unwrap().extend(more);
        }
        self.through(&config)
    }

    pub(crate) fn create(&self, kind: &str, name: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "volsync.backube/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        });
        kubectl(self, &["create", "-f", "-"], Some(&object));
    }

    pub(crate) fn apply(&self, object: &Value) {
        kubectl(self, &["create", "-f", "-"], Some(object));
    }

    pub(crate) fn uid(&self, kind: &str, name: &str) -> String {
        kubectl(self, &["get", kind, name, "-o", "jsonpath={.metadata.uid}"], None)
    }

    pub(crate) fn read(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&kubectl(self, &["get", kind, name, "-o", "json"], None)).unwrap()
    }

    pub(crate) fn is_there(&self, kind: &str, name: &str) -> bool {
        !kubectl(self, &["get", kind, name, "--ignore-not-found", "-o", "name"], None).is_empty()
    }

    /// Waits until it is there.
    pub(crate) fn await_object(&self, kind: &str, name: &str) {
        kubectl(self, &["wait", kind, name, "--for=create", "--timeout=60s"], None);
    }

    /// The name of its context.
    pub(crate) fn context(&self) -> &'static str {
        self.cluster
    }

    /// Writes into a status, as an operator does.
    pub(crate) fn report(&self, kind: &str, name: &str, status: &Value) {
        let patch = json!({ "status": status }).to_string();
        kubectl(self, &["patch", kind, name, "--subresource=status", "--type=merge", "-p", &patch], None);
    }

    pub(crate) fn await_generation(&self, name: &str, generation: i64) {
        let condition = format!("--for=jsonpath={{.metadata.generation}}={generation}");
        kubectl(self, &["wait", "replicationsource", name, &condition, "--timeout=60s"], None);
    }

    pub(crate) fn get(&self, name: &str) -> Value {
        serde_json::from_str(&kubectl(self, &["get", "replicationsource", name, "-o", "json"], None)).unwrap()
    }

    /// spec.trigger.manual of a source; empty where there is none.
    pub(crate) fn manual(&self, name: &str) -> String {
        self.get(name)["spec"]["trigger"]["manual"].as_str().unwrap_or_default().to_owned()
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.spawn(arguments).end()
    }

    /// Starts the program.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        // `-n` and `-A` exclude each other; a pair's ends say where they are.
        let namespace = ["-n", &self.namespace];
        let is_said = arguments.contains(&"-A") || arguments.contains(&"pair");
        let namespace = if is_said { &[][..] } else { &namespace[..] };
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-doppel"))
            .args(arguments)
            .args(namespace)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out, read: String::new() }
    }
}

/// A namespace of one name in two clusters; `west` knows both contexts.
pub(crate) struct Pair {
    pub(crate) west: World,
    pub(crate) east: World,
}

impl Pair {
    /// Two new namespaces.
    pub(crate) fn new(name: &str) -> Self {
        static UP: OnceLock<PathBuf> = OnceLock::new();
        let west = World::new(name);
        let east = World::on(EAST, UP.get_or_init(|| up(EAST)).clone(), &west.namespace);
        Self { west: west.beside(&east), east }
    }

    /// West, with a context for a cluster without the API beside it.
    pub(crate) fn with_bare(&self) -> World {
        self.west.beside(&World::bare())
    }
}

/// The program at work.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    read: String,
}

impl Running {
    /// Waits for its next line.
    pub(crate) fn first_line(mut self) -> (Self, String) {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        self.read.push_str(&line);
        (self, line)
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut out = std::mem::take(&mut self.read);
        self.out.read_to_string(&mut out).unwrap();
        let ended = self.child.wait_with_output().unwrap();
        Ended { code: ended.status.code().unwrap(), out, err: String::from_utf8(ended.stderr).unwrap() }
    }
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs kubectl in a world's namespace; it must succeed.
pub(crate) fn kubectl(world: &World, arguments: &[&str], input: Option<&Value>) -> String {
    let mut child = Command::new(program())
        .args(["exec", world.cluster, "--", "kubectl", "-n", &world.namespace])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let Some(input) = input {
        stdin.write_all(input.to_string().as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program of `tests/cluster`; it must succeed.
fn cluster(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    assert!(output.status.success(), "cluster {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn up(name: &str) -> PathBuf {
    cluster(&["up", name, "--control-plane-only"]);
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/crds.yaml");
    cluster(&["exec", name, "--", "kubectl", "apply", "--server-side", "--force-conflicts", "-f", crds]);
    cluster(&["await-crds", name]);
    PathBuf::from(cluster(&["kubeconfig", name]).trim())
}

/// The program of `tests/cluster`, built if `make` has not named it.
fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let built = || {
        if let Some(path) = std::env::var_os("CLUSTER") {
            return path.into();
        }
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cluster");
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cluster");
        let built = Command::new("go").args(["build", "-o"]).arg(&path).arg(".").current_dir(folder).status().unwrap();
        assert!(built.success(), "go build of tests/cluster");
        path
    };
    PROGRAM.get_or_init(built).clone()
}
