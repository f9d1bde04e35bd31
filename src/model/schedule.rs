//! A cron schedule in a time zone.
//!
//! The syntax is that of VolSync's library (robfig/cron v3, standard parser): five fields or a descriptor, with an
//! optional prefix `CRON_TZ=<zone>` or `TZ=<zone>`; `N/step` means from N to the field's end. Evaluation is croner's
//! (docs/adr/0004). Without a prefix the zone is UTC, as in the images of VolSync and Doppel.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// A schedule that fires at least once.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    rule: Rule,
    /// Millionths of its period by which each firing is late; less than a half.
    late: u32,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron { cron: Box<Cron>, zone: TimeZone },
    Every(Duration),
}

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The time zone of a prefix is unknown.
    #[error("unknown time zone {0:?}; use an IANA name such as Europe/Paris")]
    Zone(String),
    /// Not five fields.
    #[error("expected 5 fields (minute hour day-of-month month day-of-week) or a descriptor, found {0} in {1:?}")]
    Fields(usize, String),
    /// A field that the cron library refuses.
    #[error("{0:?} is not a cron schedule: {1}")]
    Pattern(String, String),
    /// An `@every` whose duration cannot be read or is shorter than a second.
    #[error("@every needs a duration of at least one second such as 1h30m, found {0:?}")]
    Every(String),
    /// A date that never comes.
    #[error("{0:?} never comes")]
    Never(String),
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// When it is not one, or never fires.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let (zone, pattern) = split_zone(text)?;
        if let Some(every) = pattern.strip_prefix("@every") {
            return Ok(Self { text: text.to_owned(), rule: Rule::Every(parse_every(every)?), late: 0 });
        }
        let fields = pattern.split_whitespace().count();
        if !pattern.starts_with('@') && fields != 5 {
            return Err(ScheduleError::Fields(fields, pattern.to_owned()));
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build()
            .parse(pattern)
            .map_err(|error| ScheduleError::Pattern(pattern.to_owned(), error.to_string()))?;
        let schedule = Self { text: text.to_owned(), rule: Rule::Cron { cron: Box::new(cron), zone }, late: 0 };
        // Any instant serves: a pattern without years either repeats for ever or never comes.
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(text.to_owned())),
        }
    }

    /// The same schedule, each firing late by so many millionths of the time until the next one. `@every` counts from the end
    /// of the last run, which spreads itself.
    #[must_use]
    pub fn late_by(self, millionths: u32) -> Self {
        Self { late: millionths, ..self }
    }

    /// The first time that is strictly after this one.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron { cron, zone } if self.late == 0 => next(cron, zone, time),
            Rule::Cron { cron, zone } => {
                let late = |written: Timestamp| delay(written, next(cron, zone, written)?, self.late);
                // The firing before this time may not be over yet.
                let before = cron.find_previous_occurrence(&Zoned::new(time, zone.clone()), true).ok();
                let before = before.and_then(|before| late(before.timestamp())).filter(|late| *late > time);
                before.or_else(|| late(next(cron, zone, time)?))
            }
            Rule::Every(interval) => time.checked_add(*interval).ok(),
        }
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.late) == (&other.text, other.late)
    }
}

fn next(cron: &Cron, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    let start = Zoned::new(time, zone.clone());
    cron.find_next_occurrence(&start, false).ok().map(|next| next.timestamp())
}

/// In whole seconds, as statuses show it.
fn delay(written: Timestamp, next: Timestamp, millionths: u32) -> Option<Timestamp> {
    let period = next.duration_since(written).as_secs();
    let late = period.checked_mul(i64::from(millionths))? / 1_000_000;
    written.checked_add(SignedDuration::from_secs(late)).ok()
}

fn split_zone(text: &str) -> Result<(TimeZone, &str), ScheduleError> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) else {
        return Ok((TimeZone::UTC, text));
    };
    let (name, pattern) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let zone = TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?;
    Ok((zone, pattern.trim_start()))
}

/// Reads a Go duration of whole units (`1h30m`, `90s`), as `@every` takes it.
///
/// # Errors
/// When it is none, or shorter than a second.
pub fn parse_every(text: &str) -> Result<Duration, ScheduleError> {
    let refuse = || ScheduleError::Every(text.trim().to_owned());
    let mut seconds = 0_u64;
    let mut digits = String::new();
    for character in text.trim().chars() {
        let unit = match character {
            '0'..='9' => {
                digits.push(character);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(refuse()),
        };
        let count: u64 = digits.parse().map_err(|_| refuse())?;
        digits.clear();
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(refuse)?;
    }
    if seconds == 0 || !digits.is_empty() {
        return Err(refuse());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, after: &str, expected: &str) {
        let next = Schedule::parse(schedule).unwrap().next_after(after.parse().unwrap()).unwrap();
        assert_eq!(next.to_string(), expected, "{schedule}");
    }

    #[test]
    fn schedules_fire_when_volsync_fires() {
        check("*/5 * * * *", "2026-11-23T10:02:00Z", "2026-11-23T10:05:00Z");
        check("*/5 * * * *", "2026-11-23T10:05:00Z", "2026-11-23T10:10:00Z");
        check("0 0 1 1 *", "2026-11-23T10:02:00Z", "2027-01-01T00:00:00Z");
        check("@daily", "2026-11-23T10:02:00Z", "2026-11-24T00:00:00Z");
        check("@hourly", "2026-11-23T10:02:00Z", "2026-11-23T11:00:00Z");
        check("@annually", "2026-11-23T10:02:00Z", "2027-01-01T00:00:00Z");
        check("9-17/2 * * * *", "2026-11-23T10:12:00Z", "2026-11-23T10:13:00Z");
        check("@every 1h30m", "2026-11-23T10:02:00Z", "2026-11-23T11:32:00Z");
    }

    #[test]
    fn a_number_with_a_step_goes_on_to_the_end_of_the_field() {
        check("20/15 * * * *", "2026-11-23T10:21:00Z", "2026-11-23T10:35:00Z");
        check("20/15 * * * *", "2026-11-23T10:51:00Z", "2026-11-23T11:20:00Z");
    }

    #[test]
    fn days_of_month_and_week_are_alternatives_when_both_are_restricted() {
        // 2026-11-23 is a Monday.
        check("0 0 13 * 5", "2026-11-23T00:00:00Z", "2026-11-27T00:00:00Z");
    }

    #[test]
    fn a_prefix_sets_the_time_zone() {
        check("CRON_TZ=Asia/Tokyo 0 0 * * *", "2026-11-23T10:00:00Z", "2026-11-23T15:00:00Z");
        check("TZ=America/New_York 30 2 * * *", "2026-11-23T00:00:00Z", "2026-11-23T07:30:00Z");
    }

    #[track_caller]
    fn check_late(schedule: &str, millionths: u32, after: &str, expected: &str) {
        let schedule = Schedule::parse(schedule).unwrap().late_by(millionths);
        let next = schedule.next_after(after.parse().unwrap()).unwrap();
        assert_eq!(next.to_string(), expected, "{millionths} {after}");
    }

    #[test]
    fn a_schedule_that_is_spread_fires_once_a_period_and_always_as_late() {
        let hourly = |after, expected| check_late("0 * * * *", 250_000, after, expected);
        hourly("2026-11-23T09:59:59Z", "2026-11-23T10:15:00Z");
        hourly("2026-11-23T10:00:00Z", "2026-11-23T10:15:00Z");
        hourly("2026-11-23T10:14:59Z", "2026-11-23T10:15:00Z");
        hourly("2026-11-23T10:15:00Z", "2026-11-23T11:15:00Z");
        hourly("2026-11-23T13:30:00Z", "2026-11-23T14:15:00Z");
        check_late("0 * * * *", 0, "2026-11-23T10:15:00Z", "2026-11-23T11:00:00Z");
        check_late("@every 1h", 250_000, "2026-11-23T10:15:00Z", "2026-11-23T11:15:00Z");
        // From a Friday to the Monday after it is three days, and the clock is put back on the Sunday between.
        check_late("CRON_TZ=Europe/Berlin 0 3 * * 1-5", 400_000, "2026-10-23T01:00:00Z", "2026-10-24T06:12:00Z");
    }

    #[test]
    fn what_is_not_a_schedule_is_refused_with_its_place() {
        let error = |text: &str| Schedule::parse(text).unwrap_err().to_string();
        assert!(error("* * * *").contains("found 4"), "{}", error("* * * *"));
        assert!(error("0 0 0 * * *").contains("found 6"));
        assert!(error("12345").contains("found 1"));
        assert!(error("60 * * * *").contains("60"), "{}", error("60 * * * *"));
        assert!(error("CRON_TZ=Mars/Base 0 0 * * *").contains("Mars/Base"));
        assert!(error("@every").contains("at least one second"));
        assert!(error("@every 0s").contains("at least one second"));
        assert!(error("@sometimes").contains("@sometimes"));
        assert!(error("").contains("found 0"));
    }

    #[test]
    fn a_date_that_never_comes_is_refused() {
        assert_eq!(Schedule::parse("0 0 30 2 *").unwrap_err(), ScheduleError::Never("0 0 30 2 *".to_owned()));
    }
}
