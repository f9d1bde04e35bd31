//! A memory cgroup, version 1 or 2, whichever the machine has. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A memory limit for whatever is started in it.
pub struct Cgroup {
    path: PathBuf,
    version1: bool,
}

const VERSION1: &str = "/sys/fs/cgroup/memory";
const VERSION2: &str = "/sys/fs/cgroup";

impl Cgroup {
    /// A group that may hold so many bytes; more, and the kernel kills.
    pub fn limited(bytes: u64) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let version1 = Path::new(VERSION1).join("memory.limit_in_bytes").exists();
        let path = Path::new(if version1 { VERSION1 } else { VERSION2 });
        let path = path.join(format!("doppel-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("making a control group needs root");
        let group = Self { path, version1 };
        group.write(if version1 { "memory.limit_in_bytes" } else { "memory.max" }, &bytes.to_string());
        group
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The command, to be run in the group.
    pub fn run(&self, command: &Command) -> Command {
        let mut run = Command::new("sh");
        run.arg("-c").arg("echo $$ >\"$1\"/cgroup.procs && shift && exec \"$@\"").arg("sh").arg(&self.path);
        run.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => run.env(name, value),
                None => run.env_remove(name),
            };
        }
        run
    }

    /// How often the kernel has killed for the limit.
    pub fn kills(&self) -> u64 {
        let text = self.read(if self.version1 { "memory.oom_control" } else { "memory.events" });
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().trim().parse().unwrap()
    }

    /// Bytes that are not the cache of files: what a process holds.
    pub fn held(&self) -> u64 {
        let text = self.read("memory.stat");
        let name = if self.version1 { "rss " } else { "anon " };
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is empty once the kernel has seen the last process off.
        for _ in 0..500 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
