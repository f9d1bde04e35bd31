//! A network namespace that is reached by a link of its own, which can fail as a node's does: without a word.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The namespace; it goes with this.
pub struct Away {
    name: String,
    here: String,
    /// This machine's address on the link.
    pub address: String,
}

impl Away {
    /// Makes one whose link carries so many megabits a second.
    pub fn new(megabits: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() % 4096 * 4 + COUNT.fetch_add(1, Ordering::Relaxed) % 4;
        let (name, here) = (format!("doppel-away-{number}"), format!("away{number}"));
        // Benchmarking addresses (RFC 2544), two for each link.
        let [high, low] = u16::try_from(number * 4).unwrap().to_be_bytes();
        let at = |last: u8| format!("198.19.{high}.{}", low + last);
        let away = Self { name: name.clone(), here: here.clone(), address: at(1) };
        run(&["netns", "add", &name]);
        run(&["link", "add", &here, "type", "veth", "peer", "name", "there", "netns", &name]);
        run(&["address", "add", &format!("{}/30", at(1)), "dev", &here]);
        run(&["link", "set", "dev", &here, "up"]);
        run(&["-n", &name, "address", "add", &format!("{}/30", at(2)), "dev", "there"]);
        run(&["-n", &name, "link", "set", "dev", "there", "up"]);
        let rate = format!("{megabits}mbit");
        let slow = ["qdisc", "add", "dev", "there", "root", "tbf", "rate", &rate, "burst", "64kb", "latency", "100ms"];
        expect(Command::new("tc").args(["-n", &name]).args(slow));
        away
    }

    /// A program within.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn fall_silent(&self) {
        run(&["-n", &self.name, "link", "set", "dev", "there", "down"]);
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        // The link goes with the namespace, once nothing in it runs any more.
        let _ = Command::new("ip").args(["link", "delete", &self.here]).status();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn run(arguments: &[&str]) {
    expect(Command::new("ip").args(arguments));
}

fn expect(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
