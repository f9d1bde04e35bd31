//! Directories: made first, so that entries can be in them; given their attributes last, because every entry that comes
//! or goes changes their time, and because one may forbid writing.

use doppel_contract::Line;
use doppel_volume::attributes::{Object, Powers, Wanted};
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::Kind;
use doppel_volume::remove::{Removed, open_up, remove};
use doppel_volume::tree::metadata_at;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::list::{DirectoryId, Entry, FileList};
use crate::proto::xattr::Values;
use crate::serve::extras::Lacking;
use crate::serve::session::Job;
use crate::serve::shared::State;

/// What is known of each directory of the list.
#[derive(Debug)]
pub(super) struct Directories {
    presence: Vec<Presence>,
    /// Root may write everywhere.
    privileged: bool,
}

/// Whether entries can be in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It was there.
    Old,
    /// It was made in this session, empty.
    New,
    /// It is not there, and is not to be made.
    Absent,
    /// It could not be made.
    Broken,
}

impl Directories {
    pub(super) fn new(list: &FileList) -> Self {
        // Until a directory's turn comes nothing can be in it; only the root is there already.
        let mut presence = vec![Presence::Broken; list.directories()];
        if let Some(root) = presence.first_mut() {
            *root = Presence::Old;
        }
        Self { presence, privileged: rustix::process::geteuid().is_root() }
    }

    pub(super) fn get(&self, id: DirectoryId) -> Presence {
        self.presence.get(id.0 as usize).copied().unwrap_or(Presence::Broken)
    }

    /// Notes what became of the directory that `entry` is, if it is one.
    pub(super) fn set_own(&mut self, entry: &Entry, presence: Presence) {
        if let Some(place) = entry.directory().and_then(|id| self.presence.get_mut(id.0 as usize)) {
            *place = presence;
        }
    }

    /// Makes a directory, if it is not there. Returns also which extended attributes it lacks, so that they are there when
    /// it is given all others.
    pub(super) fn make<'t>(
        &mut self,
        entry: &Entry,
        job: &Job<'t>,
        dirs: &mut Dirs<'t>,
    ) -> Result<(State, Lacking), Errno> {
        let made = self.make_one(entry, job, dirs);
        self.set_own(entry, made.unwrap_or(Presence::Broken));
        match made? {
            Presence::Old | Presence::New => {
                let list = &job.received.list;
                let object = Object::Named(dirs.open(list.directory(entry.parent))?, list.name(entry));
                Ok((State::Stored, job.attributes.lacking(entry, object)?))
            }
            Presence::Absent | Presence::Broken => Ok((State::Stored, Lacking::default())),
        }
    }

    fn make_one<'t>(&self, entry: &Entry, job: &Job<'t>, dirs: &mut Dirs<'t>) -> Result<Presence, Errno> {
        let list = &job.received.list;
        let name = list.name(entry);
        let old = if self.get(entry.parent) == Presence::New {
            None
        } else {
            match metadata_at(dirs.open(list.directory(entry.parent))?, name) {
                Err(Errno::NOENT) => None,
                old => Some(old?),
            }
        };
        let other = match old {
            Some(old) if old.kind == Kind::Directory => {
                if !self.privileged && old.permissions & 0o700 != 0o700 {
                    open_up(dirs.open(list.directory(entry.parent))?, name)?;
                }
                return Ok(Presence::Old);
            }
            Some(_) if job.arguments.ignore_existing => return Ok(Presence::Absent),
            None if job.arguments.ignore_missing => return Ok(Presence::Absent),
            other => other,
        };
        if let Some(own) = entry.directory() {
            dirs.forget(list.directory(own));
        }
        let dir = dirs.open(list.directory(entry.parent))?;
        if other.is_some() {
            remove(dir, name, &mut Removed::default())?;
        }
        rustix::fs::mkdirat(dir, name.bytes(), Mode::RWXU)?;
        Ok(Presence::New)
    }

    /// Lets entries be made in the root, if its owner forbade that and is us. It gets its permissions in the end.
    pub(super) fn open_root(&self, job: &Job<'_>) {
        let root = job.tree.descriptor();
        let Ok(have) = doppel_volume::tree::metadata_of(root) else { return };
        if !self.privileged && have.permissions & 0o700 != 0o700 {
            let permissions = Some(have.permissions | 0o700);
            let wanted = Wanted { permissions, uid: None, gid: None, modified: None };
            // If it is not ours, making entries in it will tell.
            let _ = Object::Open(root).apply(&have, &wanted, &Powers::default());
        }
    }

    /// Gives all directories their attributes, inner ones first.
    pub(super) fn finish<'t>(&self, job: &Job<'t>, dirs: &mut Dirs<'t>) {
        let list = &job.received.list;
        let is_there =
            |entry: &Entry| entry.directory().is_some_and(|id| matches!(self.get(id), Presence::Old | Presence::New));
        let there = list.entries().filter(|(_, entry)| entry.is_active() && is_there(entry));
        let there: Vec<u32> = there.map(|(index, _)| index).collect();
        for entry in there.into_iter().rev().filter_map(|index| list.get(index)) {
            if let Err(errno) = finish_one(&entry, job, dirs) {
                let why = format!("set the attributes of the directory: {}", std::io::Error::from(errno));
                job.shared.leave_out(list.line(&entry), Line::new(why));
            }
        }
    }
}

fn finish_one<'t>(entry: &Entry, job: &Job<'t>, dirs: &mut Dirs<'t>) -> Result<(), Errno> {
    let list = &job.received.list;
    if entry.is_root() {
        let root = job.tree.descriptor();
        let have = doppel_volume::tree::metadata_of(root)?;
        let wanted = job.attributes.wanted(entry, Some(&have));
        return job.attributes.apply_all(entry, Object::Open(root), &have, &wanted, &Values::default());
    }
    let dir = dirs.open(list.directory(entry.parent))?;
    let name = list.name(entry);
    let have = metadata_at(dir, name)?;
    if have.kind != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    let wanted = job.attributes.wanted(entry, Some(&have));
    job.attributes.apply_all(entry, Object::Named(dir, name), &have, &wanted, &Values::default())
}
