//! PURE: times, names and the words of strangers, as a person reads them in one line of a terminal.

use jiff::Timestamp;

/// How long ago, or how far off, with at most two units: `45s`, `3m10s`, `2h5m`, `4d3h`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: i64, unit: char, small: i64, of: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{of}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => two(minutes, 'm', seconds % 60, 's'),
        (0, hours, minutes) => two(hours, 'h', minutes, 'm'),
        (days, hours, _) => two(days, 'd', hours, 'h'),
    }
}

/// How long it has been since then.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_secs())
}

/// When something comes: `in 5m`, or `due` when it should have come already.
pub(crate) fn until(then: Timestamp, now: Timestamp) -> String {
    if then > now { format!("in {}", span(then.duration_since(now).as_secs())) } else { "due".to_owned() }
}

/// A point in time with how far it is away: `2026-11-24T03:00:00Z, 3h10m ago`.
pub(crate) fn moment(then: Timestamp, now: Timestamp) -> String {
    if then > now { format!("{then}, {}", until(then, now)) } else { format!("{then}, {} ago", age(then, now)) }
}

/// A word of the API as words: `WaitingForSchedule` is `waiting for schedule`.
pub(crate) fn words(camel: &str) -> String {
    let mut words = String::with_capacity(camel.len() + 4);
    let mut after_lower = false;
    for letter in one_line(camel).chars() {
        if letter.is_uppercase() && after_lower {
            words.push(' ');
        }
        after_lower = letter.is_lowercase() || letter.is_ascii_digit();
        words.extend(letter.to_lowercase());
    }
    words
}

/// Text as it may be shown: whoever may write a status can write anything, so what would move a terminal's cursor or end the
/// line becomes a space, and so does what would hide or reorder text.
pub(crate) fn one_line(text: &str) -> String {
    let shown = |letter: char| {
        let hides = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || hides { ' ' } else { letter }
    };
    text.trim().chars().map(shown).collect()
}

/// The beginning of a text, at most so many characters of it.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let text = one_line(text);
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_two_units_at_most() {
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (190, "3m10s"),
            (7_500, "2h5m"),
            (7_200, "2h"),
            (86_399, "23h59m"),
            (356_400, "4d3h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn what_comes_and_what_is_overdue_are_told_apart() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-24T10:00:00Z");
        assert_eq!(until(at("2026-11-24T10:05:00Z"), now), "in 5m");
        assert_eq!(until(now, now), "due");
        assert_eq!(moment(at("2026-11-24T09:59:00Z"), now), "2026-11-24T09:59:00Z, 1m ago");
        assert_eq!(moment(at("2026-11-24T11:00:00Z"), now), "2026-11-24T11:00:00Z, in 1h");
    }

    #[test]
    fn a_reason_becomes_words_also_one_that_is_not_known() {
        for (camel, expected) in [
            ("WaitingForSchedule", "waiting for schedule"),
            ("Queued", "queued"),
            ("SyncInProgress", "sync in progress"),
            ("", ""),
        ] {
            assert_eq!(words(camel), expected);
        }
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_shown() {
        assert_eq!(one_line("a\u{1b}[2Jb\r\nc\u{202e}d\n"), "a [2Jb  c d");
        assert_eq!(shortened("one two three", 9), "one tw...");
        assert_eq!(shortened("ä".repeat(9).as_str(), 9), "ä".repeat(9));
    }
}
