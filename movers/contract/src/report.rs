//! How a run ended.

use serde::{Deserialize, Serialize};

use crate::{Line, RepositoryReport, TERMINATION_MESSAGE_LIMIT};

/// What a mover says about its run, in at most [`TERMINATION_MESSAGE_LIMIT`] bytes of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether everything that should have been moved was moved.
    pub verdict: Verdict,
    /// What was counted on the way.
    pub tally: Tally,
    /// What could not be kept although no data is missing, owners without privilege for example.
    #[serde(default, skip_serializing_if = "LeftOut::is_empty")]
    pub remarks: LeftOut,
    /// What was done with a repository, where the mover has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryReport>,
    /// Milliseconds from the begin of the work (for a destination: from its first authenticated peer) to its end.
    pub elapsed_ms: u64,
}

/// Whether everything that should have been moved was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was read, sent and stored, and is durable.
    Complete,
    /// The run ended in order, but these entries were left out. Not a success.
    Incomplete(LeftOut),
    /// The run ended early.
    Failed {
        /// Whose fault it seems to be.
        fault: Fault,
        /// When to try again.
        retry: Retry,
        /// What was being done to which object, and what a user can do.
        message: Line,
    },
}

/// Whose fault a failure seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// What a user wrote: an address, a key, a flag.
    User,
    /// The peer: it refused, or broke the protocol.
    Peer,
    /// The way to the peer: unreachable, reset, silent.
    Network,
    /// The volume: full, unreadable, damaged.
    Volume,
    /// A defect of this program.
    Ours,
}

/// When to try a failed run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// It may succeed by itself, later.
    Later,
    /// It cannot succeed until somebody changes something.
    AfterChange,
}

/// Entries about which there is something to say: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`LeftOut::LISTED`].
    pub first: Vec<Problem>,
}

impl LeftOut {
    /// How many entries are listed by name.
    pub const LISTED: usize = 20;

    /// Counts one more, and lists it while there is room.
    pub fn add(&mut self, path: Line, why: Line) {
        self.count += 1;
        if self.first.len() < Self::LISTED {
            self.first.push(Problem { path, why });
        }
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// One entry of a volume, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path beneath the volume's root.
    pub path: Line,
    /// What is wrong.
    pub why: Line,
}

/// What a run counted. "Sent" is the direction from source to destination, on both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// Entries of the source's tree: files, directories, links. A block device is one.
    pub entries: u64,
    /// Block devices among them: one, or none.
    pub devices: u64,
    /// Bytes of file content in the source's tree.
    pub bytes: u64,
    /// Files of which content was sent.
    pub files_sent: u64,
    /// Bytes of file content that were sent as such.
    pub literal_bytes: u64,
    /// Bytes of file content that the destination took from what it already had.
    pub matched_bytes: u64,
    /// Bytes that became zeros at the destination without being sent, of a device.
    pub zeroed_bytes: u64,
    /// Bytes that this end read from its device; its holes are not.
    pub read_bytes: u64,
    /// Entries that the destination deleted.
    pub deleted: u64,
    /// Bytes of this end's protocol stream to the peer, before encryption.
    pub wire_sent: u64,
    /// Bytes of the peer's protocol stream to this end, after decryption.
    pub wire_received: u64,
}

impl Report {
    /// The JSON of this report, never longer than [`TERMINATION_MESSAGE_LIMIT`]: what is listed, remarks first, gives way
    /// to the limit; the counts stay.
    #[must_use]
    pub fn to_termination_message(&self) -> String {
        let mut report = self.clone();
        loop {
            // Plain structs of strings and integers always serialize.
            let json = serde_json::to_string(&report).unwrap_or_default();
            if json.len() <= TERMINATION_MESSAGE_LIMIT || !report.forget_one() {
                return json;
            }
        }
    }

    /// Reads what [`Report::to_termination_message`] wrote.
    ///
    /// # Errors
    /// When the text is not such a report, for example because the mover was killed before it wrote one.
    pub fn from_termination_message(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn forget_one(&mut self) -> bool {
        if self.remarks.first.pop().is_some() {
            return true;
        }
        if self.repository.as_mut().and_then(|repository| repository.newest.pop()).is_some() {
            return true;
        }
        match &mut self.verdict {
            Verdict::Incomplete(left_out) => left_out.first.pop().is_some(),
            Verdict::Complete | Verdict::Failed { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::Snapshot;

    fn left_out() -> impl Strategy<Value = LeftOut> {
        (any::<u32>(), proptest::collection::vec((".{0,300}", ".{0,300}"), 0..30)).prop_map(|(more, problems)| {
            let mut left_out = LeftOut::default();
            for (path, why) in problems {
                left_out.add(Line::new(path), Line::new(why));
            }
            left_out.count += u64::from(more);
            left_out
        })
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            Just(Verdict::Complete),
            left_out().prop_map(Verdict::Incomplete),
            ".{0,600}".prop_map(|message| Verdict::Failed {
                fault: Fault::Peer,
                retry: Retry::Later,
                message: Line::new(message)
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_report_fits_a_termination_message_and_keeps_its_counts(verdict in verdict(), remarks in left_out(), snapshots in 0..20_usize) {
            let snapshot = || Snapshot { id: Line::new("0123abcd"), time: Line::new("2026-11-23T10:00:00.123456789Z"), bytes: Some(u64::MAX), incomplete: true };
            let newest = std::iter::repeat_with(snapshot).take(snapshots).collect();
            let repository = Some(RepositoryReport { newest, snapshots: u64::MAX, ..RepositoryReport::default() });
            let report = Report { verdict, remarks, tally: Tally::default(), repository, elapsed_ms: u64::MAX };
            let message = report.to_termination_message();
            prop_assert!(message.len() <= TERMINATION_MESSAGE_LIMIT);
            let back = Report::from_termination_message(&message).unwrap();
            prop_assert_eq!(back.remarks.count, report.remarks.count);
            match (&back.verdict, &report.verdict) {
                (Verdict::Incomplete(back), Verdict::Incomplete(sent)) => prop_assert_eq!(back.count, sent.count),
                (back, sent) => prop_assert_eq!(back, sent),
            }
        }
    }
}
