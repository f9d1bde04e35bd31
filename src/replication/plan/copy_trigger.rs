//! Copies that an application allows one by one: see [`crate::model::copy_trigger`].
//!
//! The value that a copy answers is written on the copy itself. So a value that the application sets while the copy is
//! being made, or moved, is not taken for answered: the next iteration answers it.

use jiff::{SignedDuration, Timestamp};

use super::{Draft, Late, Outcome, Wait};
use crate::model::copy_trigger::{Answer, CopyStatus, CopyTrigger};
use crate::model::observed::Claim;
use crate::model::step::Step;

/// After this long without a new value a user is told (VolSync's bound).
const USUAL_WAIT: SignedDuration = SignedDuration::from_mins(10);

/// Whether a copy of this claim may be made now, and the value that it will answer: none where the application takes no
/// part. To be asked only while there is no copy.
pub(super) fn allows(draft: &mut Draft, source: &Claim, now: Timestamp) -> Result<Option<String>, Outcome> {
    let Some(trigger) = &source.copy_trigger else {
        return Ok(None);
    };
    let new = trigger.wanted.as_ref().filter(|value| !value.is_empty() && Some(*value) != trigger.answered.as_ref());
    let Some(value) = new else {
        return Err(wait(draft, source, trigger, now));
    };
    if trigger.status != Some(CopyStatus::InProgress) || trigger.waiting_since.is_some() {
        answer(draft, source, Answer::InProgress);
    }
    Ok(Some(value.clone()))
}

fn wait(draft: &mut Draft, source: &Claim, trigger: &CopyTrigger, now: Timestamp) -> Outcome {
    // A time to come is as good as none.
    let since = trigger.waiting_since.filter(|since| trigger.status == Some(CopyStatus::Waiting) && *since <= now);
    if since.is_none() {
        answer(draft, source, Answer::Waiting { since: now });
    }
    draft.limit((since.unwrap_or(now), USUAL_WAIT), now, Late::CopyTrigger(source.name.clone()));
    Outcome::Waiting(Wait::CopyTrigger { claim: source.name.clone() })
}

/// The copy is made: the application may go on.
pub(super) fn copied(draft: &mut Draft, source: &Claim, answers: Option<&String>) {
    let Some(trigger) = &source.copy_trigger else {
        return;
    };
    // On a copy that VolSync was making there is no value. VolSync would answer the present one.
    let of_volsync = || trigger.wanted.as_ref().filter(|_| trigger.status == Some(CopyStatus::InProgress));
    let Some(value) = answers.or_else(of_volsync) else {
        return;
    };
    if trigger.status != Some(CopyStatus::Completed) || trigger.answered.as_ref() != Some(value) {
        answer(draft, source, Answer::Completed { trigger: value.clone() });
    }
}

fn answer(draft: &mut Draft, source: &Claim, answer: Answer) {
    draft.push(Step::AnswerCopyTrigger { claim: source.name.clone(), answer });
}
