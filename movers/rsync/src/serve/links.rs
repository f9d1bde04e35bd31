//! Hard links, made when what they link to is complete.

use doppel_contract::Line;
use doppel_volume::dirs::Dirs;
use doppel_volume::replace::{NewEntry, commit_over};
use doppel_volume::tree::metadata_at;
use rustix::io::Errno;

use crate::serve::directories::{Directories, Presence};
use crate::serve::session::Job;
use crate::serve::shared::State;

/// Makes each follower a link of its leader.
pub(super) fn make<'t>(followers: &[(u32, u32)], job: &Job<'t>, dirs: &mut Dirs<'t>, directories: &Directories) {
    let list = &job.received.list;
    let mut leaders = Dirs::new(job.tree);
    for (follower, leader) in followers {
        let (Some(entry), Some(first)) = (list.get(*follower), list.get(*leader)) else { continue };
        let linked = match job.shared.state(*leader) {
            // Nothing was to be made, so neither is this.
            State::Idle => continue,
            State::Stored if directories.get(entry.parent) == Presence::Absent => continue,
            State::Stored => dirs.open(list.directory(entry.parent)).and_then(|dir| {
                let from = (leaders.open(list.directory(first.parent))?, list.name(&first));
                let name = list.name(&entry);
                let same = metadata_at(from.0, from.1)?.identity;
                match metadata_at(dir, name) {
                    Ok(old) if old.identity == same => return Ok(()),
                    Ok(_) if job.arguments.ignore_existing => return Ok(()),
                    Err(Errno::NOENT) if job.arguments.ignore_missing => return Ok(()),
                    Ok(_) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                }
                let mut new = NewEntry::hard_link(dir, job.names, from)?;
                commit_over(dir, name, |name| new.commit(name))
            }),
            State::Failed | State::Withheld | State::Requested | State::Again | State::LacksXattrs => Err(Errno::NOENT),
        };
        match linked {
            Ok(()) => job.shared.set(*follower, State::Stored),
            Err(errno) => {
                let why = format!("make the hard link: {}", std::io::Error::from(errno));
                job.shared.set(*follower, State::Failed);
                job.shared.leave_out(list.line(&entry), Line::new(why));
            }
        }
        job.monitor.done(1, entry.size);
    }
}
