//! A snapshot that something is to be made of: a source's point in time, a destination's image.

use jiff::{SignedDuration, Timestamp};

use super::{Draft, Late, Outcome, Wait, require_usable};
use crate::model::observed::Snapshot;
use crate::model::step::{NewSnapshot, Step};

/// After this long without content a user is told (VolSync's bound).
const USUAL_WAIT: SignedDuration = SignedDuration::from_secs(30);

/// The snapshot, once it is ready to use; if it is missing it is taken.
pub(super) fn ready<'a>(
    draft: &mut Draft,
    seen: Option<&'a Snapshot>,
    wanted: impl FnOnce(&mut Draft) -> Result<NewSnapshot, Outcome>,
    now: Timestamp,
) -> Result<&'a Snapshot, Outcome> {
    let Some(snapshot) = seen else {
        let wanted = wanted(draft)?;
        let name = wanted.name.clone();
        draft.push(Step::TakeSnapshot(wanted));
        return Err(Outcome::Waiting(Wait::SnapshotReady { name, error: None }));
    };
    require_usable("VolumeSnapshot", &snapshot.name, &snapshot.ownership, snapshot.deleting)?;
    if !snapshot.ready {
        draft.limit((snapshot.created, USUAL_WAIT), now, Late::Snapshot(snapshot.name.clone()));
        let (name, error) = (snapshot.name.clone(), snapshot.error.clone());
        return Err(Outcome::Waiting(Wait::SnapshotReady { name, error }));
    }
    Ok(snapshot)
}
