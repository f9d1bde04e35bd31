//! What was typed behind `doppel-mover restic`: the flags of restic's own that people know, and no others.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use doppel_contract::Retain;

use super::VOLSYNC_HOST;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes, as restic's: 0 done; 1 failed; 3 a backup in which something was left out; 10 there is no \
                        repository; 11 it is locked; 12 the password is wrong; 130 interrupted.\n\
                        Environment: RESTIC_REPOSITORY, RESTIC_PASSWORD, RESTIC_COMPRESSION, RESTIC_PACK_SIZE, and the keys of each \
                        kind of store as restic has them (AWS_ACCESS_KEY_ID, ...)."
)]
pub(crate) struct Restic {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where the repository is: /PATH, s3:https://HOST/BUCKET/PATH, rest:https://HOST/PATH/, azure:CONTAINER:/PATH, gs:BUCKET:/PATH,
    /// b2:BUCKET:PATH [default: RESTIC_REPOSITORY]
    #[arg(short, long, value_name = "REPOSITORY", global = true)]
    pub(super) repo: Option<String>,
    /// The file with the repository's password [default: the password in RESTIC_PASSWORD]
    #[arg(short, long, value_name = "FILE", global = true, env = "RESTIC_PASSWORD_FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// Certificates to trust instead of the machine's, in PEM
    #[arg(long, value_name = "FILE", global = true, env = "RESTIC_CACERT")]
    pub(super) cacert: Option<PathBuf>,
    /// Where caches of repositories are, in restic's own layout [default: none is kept]
    #[arg(long, value_name = "DIRECTORY", global = true, env = "RESTIC_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,
    /// Do without a cache
    #[arg(long, global = true)]
    pub(super) no_cache: bool,
    /// Print lists as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    OnVolume(OnVolume),
    #[command(flatten)]
    OnRepository(OnRepository),
}

#[derive(Debug, Subcommand)]
pub(super) enum OnVolume {
    /// Back up a directory; what it holds is the snapshot's root, as VolSync does it
    #[command(after_help = "Example:\n  doppel-mover restic -r /srv/repository backup /srv/data")]
    Backup {
        /// The directory whose content is backed up
        directory: PathBuf,
        /// The snapshot's host
        #[arg(long, value_name = "NAME", default_value = VOLSYNC_HOST)]
        host: String,
        /// The snapshot's path [default: the directory's]
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
    },
    /// Restore a snapshot into a directory
    #[command(after_help = "Example:\n  doppel-mover restic -r /srv/repository restore latest --target /srv/data")]
    Restore {
        /// `latest`, or how the snapshot's ID begins
        snapshot: String,
        /// The directory that becomes like the snapshot
        #[arg(long, value_name = "DIR")]
        target: PathBuf,
        /// With latest: not newer than this, for example 2026-11-23T04:05:06Z
        #[arg(long, value_name = "TIME")]
        as_of: Option<jiff::Timestamp>,
        /// With latest: pass over so many of the newest
        #[arg(long, value_name = "COUNT", default_value_t = 0)]
        previous: u32,
        /// Delete what the snapshot does not have
        #[arg(long)]
        delete: bool,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum OnRepository {
    /// Make a new repository
    Init,
    /// List snapshots, oldest first
    Snapshots {
        #[command(flatten)]
        which: Which,
    },
    /// Forget the snapshots that no --keep flag keeps; incomplete ones never count
    #[command(
        after_help = "Example:\n  doppel-mover restic -r /srv/repository forget --keep-daily 7 --keep-weekly 4 --prune"
    )]
    Forget {
        #[command(flatten)]
        keep: Keep,
        #[command(flatten)]
        which: Which,
        /// Say what would be forgotten, and forget nothing
        #[arg(long)]
        dry_run: bool,
        /// Remove what no snapshot needs any more, afterwards
        #[arg(long)]
        prune: bool,
    },
    /// Remove what no snapshot needs
    Prune,
    /// Look for damage
    Check {
        /// Read all content too
        #[arg(long)]
        read_data: bool,
    },
    /// List what is in a snapshot
    #[command(after_help = "Example:\n  doppel-mover restic -r /srv/repository ls latest /a/directory")]
    Ls(Ls),
    /// Write the content of a file in a snapshot to standard output
    #[command(after_help = "Example:\n  doppel-mover restic -r /srv/repository dump latest /a/file >file")]
    Dump(Dump),
    /// Count what snapshots hold, or what they take in the repository
    Stats(Stats),
    /// Copy snapshots from another repository to this one; those that are there already are passed by
    #[command(
        after_help = "Both repositories take what they need of the environment from the same variables. The polynomials by which \
                            files are cut differ from repository to repository: what both hold of the same files is held twice.\n\n\
                            Example:\n  doppel-mover restic -r /srv/copy copy --from-repo /srv/repository --from-password-file password latest"
    )]
    Copy(Copy),
    /// Remove locks that nobody holds any more
    Unlock {
        /// Remove all locks; only if nobody else works in the repository
        #[arg(long)]
        remove_all: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Ls {
    /// `latest`, or how the snapshot's ID begins
    pub(super) snapshot: String,
    /// Only these directories and what is in them, each from the snapshot's root on: /a/directory
    #[arg(value_parser = from_the_root)]
    pub(super) directories: Vec<PathBuf>,
    /// With directories: also what is further beneath them
    #[arg(long)]
    pub(super) recursive: bool,
    /// Permissions, owner, group, size and time too
    #[arg(short, long)]
    pub(super) long: bool,
    #[command(flatten)]
    pub(super) which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Dump {
    /// `latest`, or how the snapshot's ID begins
    pub(super) snapshot: String,
    /// The file, from the snapshot's root on
    #[arg(value_parser = from_the_root)]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    /// `latest`, or how snapshots' IDs begin [default: all of them]
    pub(super) snapshots: Vec<String>,
    /// What is counted
    #[arg(long, value_enum, default_value_t = StatsMode::RestoreSize)]
    pub(super) mode: StatsMode,
    #[command(flatten)]
    pub(super) which: Which,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum StatsMode {
    /// What a restore of each snapshot writes
    RestoreSize,
    /// Files, each content once
    FilesByContents,
    /// What is in the repository, as it is there
    RawData,
}

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// `latest`, or how snapshots' IDs begin [default: all of them]
    pub(super) snapshots: Vec<String>,
    /// The repository that is copied from [default: RESTIC_FROM_REPOSITORY]
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) from_repo: Option<String>,
    /// The file with its password [default: the password in RESTIC_FROM_PASSWORD]
    #[arg(long, value_name = "FILE", env = "RESTIC_FROM_PASSWORD_FILE")]
    pub(super) from_password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) which: Which,
}

/// A path that begins with a slash, as restic wants it.
fn from_the_root(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') { Ok(path.into()) } else { Err("give it from the snapshot's root on: /a/path".to_owned()) }
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only snapshots of this host
    #[arg(long, value_name = "NAME")]
    pub(super) host: Option<String>,
    /// Only snapshots of this path
    #[arg(long, value_name = "PATH")]
    pub(super) path: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Keep {
    /// So many of the last ones
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_last: u32,
    /// The last one of each of so many hours
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_hourly: u32,
    /// The last one of each of so many days
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_daily: u32,
    /// The last one of each of so many weeks
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_weekly: u32,
    /// The last one of each of so many months
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_monthly: u32,
    /// The last one of each of so many years
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_yearly: u32,
    /// All that are at most so much older than the last one, for example 1y5m7d2h
    #[arg(long, value_name = "TIME")]
    keep_within: Option<String>,
}

impl Keep {
    pub(super) fn retain(self) -> Retain {
        let Self { keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_within } = self;
        Retain {
            last: keep_last,
            hourly: keep_hourly,
            daily: keep_daily,
            weekly: keep_weekly,
            monthly: keep_monthly,
            yearly: keep_yearly,
            within: keep_within,
        }
    }
}
