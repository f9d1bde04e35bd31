//! What a Job was made for, in one annotation: tells a wish that has changed from a version of Doppel that has.

use std::fmt;

use crate::model::observed::Privilege;

/// Which version this is.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Written as `VERSION/WISH/RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The object's generation, and what else decides that is not in its spec. It means the same in every version.
    wish: String,
    /// A digest of the run. It says something only to the version that made it: another one has other fields.
    run: String,
}

impl Fingerprint {
    /// The one of a run that this version would start.
    pub(super) fn new(generation: Option<i64>, privilege: Privilege, run: &[u8]) -> Self {
        let privilege = match privilege {
            Privilege::Unprivileged => "",
            Privilege::Assigned => "+assigned",
            Privilege::Privileged => "+privileged",
        };
        let run = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(run));
        Self { wish: format!("{}{privilege}", generation.unwrap_or_default()), run }
    }

    /// Whether a Job with this annotation was made for something else. Of a Job that another version made only the wish
    /// counts, so that an upgrade ends no run that nobody asked to end; a spec that was changed since then does end it.
    #[must_use]
    pub fn outdates(&self, job: &str) -> bool {
        let mut parts = job.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(VERSION), _, Some(run)) => run != self.run,
            (Some(_), Some(wish), Some(_)) => wish != self.wish,
            _ => true,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}/{}/{}", self.wish, self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(generation: i64, privilege: Privilege, run: &str) -> Fingerprint {
        Fingerprint::new(Some(generation), privilege, run.as_bytes())
    }

    #[test]
    fn a_job_of_this_version_is_judged_by_its_run_and_one_of_another_by_its_wish() {
        use Privilege::{Privileged, Unprivileged};
        let made = of(3, Unprivileged, "run").to_string();
        let other = made.replace(VERSION, "0.0.9");
        for (now, outdates, outdates_other) in [
            (of(3, Unprivileged, "run"), false, false),
            // A trigger is part of the spec, and not of the run.
            (of(4, Unprivileged, "run"), false, true),
            (of(3, Unprivileged, "another run"), true, false),
            (of(3, Privileged, "another run"), true, true),
        ] {
            assert_eq!((now.outdates(&made), now.outdates(&other)), (outdates, outdates_other), "{now}");
        }
    }

    #[test]
    fn a_job_that_does_not_say_what_it_was_made_for_was_made_for_something_else() {
        for unknown in ["", "0123456789abcdef", "0.0.9/3"] {
            assert!(of(3, Privilege::Unprivileged, "run").outdates(unknown), "{unknown}");
        }
    }
}
