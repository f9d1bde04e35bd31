//! A snapshot that something is to be made of: a source's point in time, a destination's image.

use super::{Draft, Outcome, Wait, require_usable};
use crate::model::observed::Snapshot;
use crate::model::step::{NewSnapshot, Step};

/// The snapshot, taken if need be, once it is ready to use.
pub(super) fn ready<'a>(
    draft: &mut Draft,
    seen: Option<&'a Snapshot>,
    wanted: NewSnapshot,
) -> Result<&'a Snapshot, Outcome> {
    let Some(snapshot) = seen else {
        let name = wanted.name.clone();
        draft.push(Step::TakeSnapshot(wanted));
        return Err(Outcome::Waiting(Wait::SnapshotReady { name, error: None }));
    };
    require_usable("VolumeSnapshot", &snapshot.name, &snapshot.ownership, snapshot.deleting)?;
    if !snapshot.ready {
        let (name, error) = (snapshot.name.clone(), snapshot.error.clone());
        return Err(Outcome::Waiting(Wait::SnapshotReady { name, error }));
    }
    Ok(snapshot)
}
