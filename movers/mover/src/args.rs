//! What was typed.

use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use doppel_contract::Volume;

use crate::restic::args::Restic;

/// Moves the content of a volume.
#[derive(Debug, Parser)]
#[command(
    name = "doppel-mover",
    version,
    about = "Moves the content of a volume: one run, one report, one exit code",
    long_about = "Moves the content of a volume: one run, one report, one exit code.\n\n\
                  On a terminal there is a progress bar and a summary. Anywhere else progress is printed as JSON lines on \
                  standard output, the report as the last of them, and the log as JSON lines on standard error.",
    after_help = "Exit codes: 0 complete; 3 incomplete, some entries were left out; 10 failed, may succeed later; \
                  11 failed until something is changed; 2 the command line or the request was not understood.\n\
                  Environment: DEBUG_MOVER, set to anything, logs everything."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Do what the environment variable DOPPEL_REQUEST asks for (what a pod of the operator runs)
    Run {
        /// Write the report to this file too [default: /dev/termination-log, if there is one]
        #[arg(long, value_name = "FILE")]
        termination_message: Option<PathBuf>,
    },
    /// Copy a directory or a block device in TLS with a pre-shared key, to or from Doppel, VolSync, or rsync behind stunnel
    #[command(subcommand)]
    RsyncTls(RsyncTls),
    /// Back up to repositories that restic and VolSync know, restore from them, and keep them in order
    Restic(Restic),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RsyncTls {
    /// Send a directory or a block device to a destination
    #[command(after_help = "Examples:\n  \
        doppel-mover rsync-tls source --volume /srv/data --address backup.example.org --key-file psk.txt\n  \
        doppel-mover rsync-tls source --block-device /dev/vg/lv --address backup.example.org --key-file psk.txt")]
    Source {
        #[command(flatten)]
        common: Common,
        /// The destination's host name or IP address
        #[arg(long, value_name = "HOST")]
        address: String,
        /// The destination's port
        #[arg(long, value_name = "PORT", default_value = "8000")]
        port: NonZeroU16,
        /// Read every file at both ends once everything is sent, and compare; the destination must be a Doppel too
        #[arg(long)]
        verify: bool,
    },
    /// Wait for a source and become like it: what the source does not have is deleted or overwritten here
    #[command(after_help = "Example:\n  \
        (umask 077; echo \"volsync:$(openssl rand -hex 64)\" > psk.txt)\n  \
        doppel-mover rsync-tls destination --volume /srv/copy --key-file psk.txt")]
    Destination {
        #[command(flatten)]
        common: Common,
        /// The port to listen on
        #[arg(long, value_name = "PORT", default_value = "8000")]
        port: NonZeroU16,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) what: What,
    /// The file with the pre-shared key: a line IDENTITY:KEY, the key in hexadecimal, at least 32 digits
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    /// Let an empty source, or a device of zeros, empty the destination; refused otherwise, for a volume that was not
    /// mounted looks empty
    #[arg(long)]
    pub(crate) allow_empty_source: bool,
    /// Give up after this long: seconds, or with a unit as in 90s, 30m, 12h [default: never]. For a destination the time
    /// begins when a source has connected
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(crate) deadline: Option<NonZeroU64>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// The directory whose content is moved
    #[arg(long, value_name = "DIR")]
    volume: Option<PathBuf>,
    /// The block device whose content is moved, or a file that stands for one. Both ends must be devices, and the
    /// destination's at least as large
    #[arg(long, value_name = "PATH")]
    block_device: Option<PathBuf>,
}

impl What {
    pub(crate) fn volume(self) -> Volume {
        let Self { volume, block_device } = self;
        match (volume, block_device) {
            (_, Some(device)) => Volume::device(device),
            // One of the two is required.
            (tree, None) => Volume::Tree(tree.unwrap_or_default()),
        }
    }
}

/// Seconds, minutes or hours.
fn seconds(text: &str) -> Result<NonZeroU64, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((end, _)) => text.split_at(end),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("give seconds, or a number with the unit s, m or h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "give a number, for example 30m".to_owned())?;
    number
        .checked_mul(factor)
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "must be more than nothing, and not endless".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn a_volume_is_a_directory_or_a_device_and_never_both_or_none() {
        let parse = |what: &[&str]| {
            let words = ["doppel-mover", "rsync-tls", "destination", "--key-file", "k"];
            Args::try_parse_from(words.iter().chain(what))
        };
        assert!(parse(&["--volume", "/data"]).is_ok() && parse(&["--block-device", "/dev/block"]).is_ok());
        assert!(parse(&[]).is_err() && parse(&["--volume", "/data", "--block-device", "/dev/block"]).is_err());
    }

    #[test]
    fn a_deadline_has_a_unit_or_is_seconds() {
        for (text, expected) in [("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43_200)] {
            assert_eq!(seconds(text).unwrap().get(), expected);
        }
        for text in ["", "0", "0h", "h", "1d", "-1", "1.5h", "1 h", "99999999999999999h"] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }
}
