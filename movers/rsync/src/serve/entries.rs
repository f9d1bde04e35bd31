//! Links, pipes, sockets and devices: made here from what the list says.

use std::os::fd::BorrowedFd;

use doppel_contract::Line;
use doppel_volume::attributes::Object;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::names::Name;
use doppel_volume::replace::{NewEntry, commit_over};
use doppel_volume::tree::metadata_at;
use rustix::io::Errno;

use crate::list::Entry;
use crate::proto::xattr::Values;
use crate::serve::extras::Lacking;
use crate::serve::session::Job;
use crate::serve::shared::State;

/// Makes the entry, unless it is there already. `is_new` says that its directory is new, so that nothing is in it. Returns
/// also which extended attributes it lacks.
pub(super) fn make<'t>(
    entry: &Entry,
    job: &Job<'t>,
    dirs: &mut Dirs<'t>,
    is_new: bool,
) -> Result<(State, Lacking), Errno> {
    let keep = job.arguments.keep;
    let kept = if entry.kind() == Kind::Symlink { keep.links } else { keep.specials };
    if !kept {
        return Ok((State::Idle, Lacking::default()));
    }
    let list = &job.received.list;
    let name = list.name(entry);
    let dir = dirs.open(list.directory(entry.parent))?;
    let old = match metadata_at(dir, name) {
        _ if is_new => None,
        Err(Errno::NOENT) => None,
        old => Some(old?),
    };
    let skipped = match &old {
        None => job.arguments.ignore_missing,
        Some(_) => job.arguments.ignore_existing,
    };
    if skipped {
        return Ok((State::Idle, Lacking::default()));
    }
    if let Some(old) = old.filter(|old| is_same(entry, old, job, dir, name)) {
        let wanted = job.attributes.wanted(entry, Some(&old));
        let object = Object::Named(dir, name);
        let lacking = job.attributes.apply(entry, object, &old, &wanted, &Values::default())?;
        return Ok((State::Stored, lacking));
    }
    let new = match entry.kind() {
        Kind::Symlink => NewEntry::symlink(dir, job.names, list.target(entry)),
        kind => NewEntry::special(dir, job.names, kind, list.device(entry)),
    };
    let mut new = match new {
        Err(Errno::PERM) if entry.kind().is_device() => {
            job.shared.remark(list.line(entry), Line::new("a device node cannot be made without privilege"));
            return Ok((State::Idle, Lacking::default()));
        }
        new => new?,
    };
    let (dir, temporary) = new.place();
    let have = metadata_at(dir, temporary)?;
    let wanted = job.attributes.wanted(entry, None);
    let object = Object::Named(dir, temporary);
    let lacking = job.attributes.apply(entry, object, &have, &wanted, &Values::default())?;
    commit_over(dir, name, |name| new.commit(name))?;
    Ok((State::Stored, lacking))
}

/// Whether what is there needs at most other attributes.
fn is_same(entry: &Entry, old: &Metadata, job: &Job<'_>, dir: BorrowedFd<'_>, name: Name<'_>) -> bool {
    let list = &job.received.list;
    old.kind == entry.kind()
        && match entry.kind() {
            Kind::Symlink => rustix::fs::readlinkat(dir, name.bytes(), Vec::new())
                .is_ok_and(|target| target.as_bytes() == list.target(entry)),
            kind if kind.is_device() => old.device_number == list.device(entry),
            _ => true,
        }
}
