//! Commands by hand that look into snapshots: `ls`, `dump` and `stats`. What may be long is written while it is found.

use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

use doppel_restic::error::Error;
use doppel_restic::look::{Entry, ListOptions, Look};
use doppel_restic::snapshots::Which as WhichSnapshot;
use doppel_restic::stats::{Mode, StatsOptions, stats as count};

use super::{Session, Trouble, text};
use crate::restic::args::{Dump, Ls, Stats, StatsMode};

pub(super) fn ls(session: &Session, ls: Ls, json: bool) -> Result<(), Trouble> {
    let Ls { snapshot, directories, recursive, long, which } = ls;
    let repository = session.open()?;
    let look = Look::new(&repository, &session.holder, &WhichSnapshot::parse(&snapshot), &which.into())?;
    let directories = directories.iter().map(|directory| directory.as_os_str().as_bytes().to_vec()).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = |line: String| out.write_all(line.as_bytes()).map_err(Error::Output);
    if json {
        write(text::snapshot_line(&look.snapshot))?;
    }
    let line = |entry: &Entry<'_>| match (json, long) {
        (true, _) => text::entry_json(entry),
        (false, true) => text::entry_long(entry),
        (false, false) => format!("{}\n", text::printable(&entry.path)),
    };
    look.list(&ListOptions { directories, recursive }, |entry| write(line(entry)))?;
    Ok(out.flush().map_err(Error::Output)?)
}

pub(super) fn dump(session: &Session, dump: Dump) -> Result<(), Trouble> {
    let Dump { snapshot, file, which } = dump;
    let repository = session.open()?;
    let look = Look::new(&repository, &session.holder, &WhichSnapshot::parse(&snapshot), &which.into())?;
    Ok(look.dump(file.as_os_str().as_bytes(), &mut io::stdout().lock())?)
}

pub(super) fn stats(session: &Session, stats: Stats, json: bool) -> Result<String, Trouble> {
    let Stats { snapshots, mode, which } = stats;
    let repository = session.open()?;
    let mode = match mode {
        StatsMode::RestoreSize => Mode::RestoreSize,
        StatsMode::FilesByContents => Mode::FilesByContents,
        StatsMode::RawData => Mode::RawData,
    };
    let options = StatsOptions { holder: session.holder.clone(), ids: snapshots, filter: which.into(), mode };
    let counted = count(&repository, &options)?;
    Ok(if json { text::stats_json(&counted) } else { text::stats(&counted) })
}
