//! The report, for a person.

use std::fmt::Write;

use doppel_contract::{LeftOut, Report, RepositoryReport, Retry, Tally, Verdict};
use indicatif::{HumanBytes, HumanCount};

/// A few lines that say how it went.
pub(crate) fn summary(report: &Report) -> String {
    let Report { verdict, tally, remarks, repository, elapsed_ms } = report;
    let counts = || match repository {
        Some(repository) => counts_of_restic(repository, tally, *elapsed_ms),
        None => counts(tally, *elapsed_ms),
    };
    // Writing to a string cannot fail.
    let mut text = String::new();
    let _ = match verdict {
        Verdict::Complete => writeln!(text, "Complete: {}", counts()),
        Verdict::Incomplete(left_out) => {
            let _ = writeln!(text, "Incomplete: {} left out; {}", entries(left_out.count), counts());
            list(&mut text, left_out);
            Ok(())
        }
        Verdict::Failed { retry, message, fault: _ } => {
            let advice = match retry {
                Retry::Later => "it may succeed later",
                Retry::AfterChange => "it will fail again until this is changed",
            };
            writeln!(text, "Failed: {message} ({advice})")
        }
    };
    if !remarks.is_empty() {
        let _ = writeln!(text, "Remarks on {}:", entries(remarks.count));
        list(&mut text, remarks);
    }
    text
}

fn counts(tally: &Tally, elapsed_ms: u64) -> String {
    let Tally {
        entries: all,
        devices,
        bytes,
        files_sent,
        literal_bytes,
        matched_bytes: _,
        zeroed_bytes,
        read_bytes,
        deleted,
        wire_sent,
        wire_received,
    } = tally;
    let moved = if *devices > 0 {
        format!(
            "a device of {}; {} read here, {} sent, {} zeroed",
            HumanBytes(*bytes),
            HumanBytes(*read_bytes),
            HumanBytes(*literal_bytes),
            HumanBytes(*zeroed_bytes),
        )
    } else {
        format!(
            "{} with {}; content of {} sent ({} new), {} deleted",
            entries(*all),
            HumanBytes(*bytes),
            if *files_sent == 1 { "1 file".to_owned() } else { format!("{} files", HumanCount(*files_sent)) },
            HumanBytes(*literal_bytes),
            entries(*deleted),
        )
    };
    let seconds = std::time::Duration::from_millis(elapsed_ms).as_secs_f64();
    format!("{moved}; {} on the wire; {seconds:.1} s", HumanBytes(wire_sent + wire_received))
}

fn counts_of_restic(repository: &RepositoryReport, tally: &Tally, elapsed_ms: u64) -> String {
    let Tally { entries: all, bytes, files_sent, literal_bytes, deleted, .. } = tally;
    let snapshot =
        repository.snapshot.as_ref().map_or_else(|| "no snapshot".to_owned(), |it| format!("snapshot {}", it.id));
    let seconds = std::time::Duration::from_millis(elapsed_ms).as_secs_f64();
    format!(
        "{snapshot}; {} with {}; {} files and {} of content new, {} deleted; {seconds:.1} s",
        entries(*all),
        HumanBytes(*bytes),
        HumanCount(*files_sent),
        HumanBytes(*literal_bytes),
        entries(*deleted),
    )
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{} entries", HumanCount(count)) }
}

fn list(text: &mut String, left_out: &LeftOut) {
    for problem in &left_out.first {
        let _ = writeln!(text, "  {}: {}", problem.path, problem.why);
    }
    let unlisted = left_out.count.saturating_sub(left_out.first.len() as u64);
    if unlisted > 0 {
        let _ = writeln!(text, "  and {} more", HumanCount(unlisted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doppel_contract::{Fault, Line};

    fn report(verdict: Verdict) -> Report {
        let tally = Tally { entries: 1234, bytes: 5 << 20, files_sent: 1, deleted: 2, ..Tally::default() };
        Report { verdict, tally, remarks: LeftOut::default(), repository: None, elapsed_ms: 1500 }
    }

    #[test]
    fn a_complete_run_is_one_line() {
        assert_eq!(
            summary(&report(Verdict::Complete)),
            "Complete: 1,234 entries with 5.00 MiB; content of 1 file sent (0 B new), 2 entries deleted; 0 B on the wire; \
             1.5 s\n"
        );
    }

    #[test]
    fn a_device_says_what_was_read_and_sent_of_it() {
        let tally =
            Tally { devices: 1, read_bytes: 3 << 20, literal_bytes: 1 << 20, bytes: 5 << 20, ..Tally::default() };
        assert_eq!(
            summary(&Report { tally, ..report(Verdict::Complete) }),
            "Complete: a device of 5.00 MiB; 3.00 MiB read here, 1.00 MiB sent, 0 B zeroed; 0 B on the wire; 1.5 s\n"
        );
    }

    #[test]
    fn what_was_left_out_is_named() {
        let mut left_out = LeftOut::default();
        left_out.add(Line::new("a/b"), Line::new("read: Permission denied"));
        left_out.count = 3;
        let text = summary(&report(Verdict::Incomplete(left_out)));
        assert!(text.starts_with("Incomplete: 3 entries left out;"), "{text}");
        assert!(text.contains("\n  a/b: read: Permission denied\n  and 2 more\n"), "{text}");
    }

    #[test]
    fn a_failure_says_whether_to_try_again() {
        let text =
            |retry| summary(&report(Verdict::Failed { fault: Fault::User, retry, message: Line::new("no key") }));
        assert_eq!(text(Retry::Later), "Failed: no key (it may succeed later)\n");
        assert!(text(Retry::AfterChange).contains("until this is changed"));
    }
}
