//! Which snapshots of one group a policy keeps: restic's rules, one for one (its manual, "Removing snapshots according to a
//! policy").

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use crate::format::time::Time;

/// What is kept. A count of 0 keeps nothing, [`Policy::ALL`] everything; a span that is empty keeps nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The newest.
    pub last: u32,
    /// The newest of each of so many hours.
    pub hourly: u32,
    /// The newest of each of so many days.
    pub daily: u32,
    /// The newest of each of so many weeks.
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// The newest of each of so many years.
    pub yearly: u32,
    /// All within this span before the newest.
    pub within: Span,
    /// The newest of each hour in this span.
    pub within_hourly: Span,
    /// The newest of each day in this span.
    pub within_daily: Span,
    /// The newest of each week in this span.
    pub within_weekly: Span,
    /// The newest of each month in this span.
    pub within_monthly: Span,
    /// The newest of each year in this span.
    pub within_yearly: Span,
    /// All that have every tag of one of these lists.
    pub tags: Vec<Vec<String>>,
}

/// A span of time before a snapshot, as `1y5m7d2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Years.
    pub years: i32,
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Hours.
    pub hours: i32,
}

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no span of time; write it as 1y5m7d2h, with any of the four")]
pub struct NoSpan(pub String);

/// A snapshot, as far as a policy knows it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'s> {
    /// When it was made.
    pub time: Time,
    /// Its tags.
    pub tags: &'s [String],
}

impl Policy {
    /// A count that keeps everything.
    pub const ALL: u32 = u32::MAX;
}

impl Span {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NoSpan> {
        let no_span = || NoSpan(text.to_owned());
        let mut span = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(['y', 'm', 'd', 'h']).ok_or_else(no_span)?);
            let number: i32 = number.parse().map_err(|_| no_span())?;
            let (unit, after) = after.split_at(1);
            match unit {
                "y" => span.years = number,
                "m" => span.months = number,
                "d" => span.days = number,
                _ => span.hours = number,
            }
            rest = after;
        }
        Ok(span)
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The point in time that is this long before `latest`. A day that a month does not have is one of the next month.
    fn before(self, latest: Time) -> Timestamp {
        let civil = latest.civil();
        let months = i64::from(civil.year()) * 12 + i64::from(civil.month()) - 1;
        let months = months - i64::from(self.years) * 12 - i64::from(self.months);
        let date = || {
            let year = i16::try_from(months.div_euclid(12)).ok()?;
            let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
            let days = i64::from(civil.day()) - 1 - i64::from(self.days);
            let day = Date::new(year, month, 1).ok()?.checked_add(SignedDuration::from_hours(days * 24)).ok()?;
            let at = latest.when_it_shows(DateTime::from_parts(day, civil.time()))?;
            at.checked_sub(SignedDuration::from_hours(self.hours.into())).ok()
        };
        // Before all time: everything is within.
        date().unwrap_or(Timestamp::MIN)
    }
}

/// Two snapshots with the same number are of the same hour, day, and so on.
type Number = fn(DateTime, usize) -> i64;

fn always(_: DateTime, position: usize) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn hour(civil: DateTime, position: usize) -> i64 {
    day(civil, position) * 100 + i64::from(civil.hour())
}

fn day(civil: DateTime, position: usize) -> i64 {
    month(civil, position) * 100 + i64::from(civil.day())
}

fn week(civil: DateTime, _: usize) -> i64 {
    let week = civil.date().iso_week_date();
    i64::from(week.year()) * 100 + i64::from(week.week())
}

fn month(civil: DateTime, position: usize) -> i64 {
    year(civil, position) * 100 + i64::from(civil.month())
}

fn year(civil: DateTime, _: usize) -> i64 {
    civil.year().into()
}

/// A rule that keeps the newest of each hour, day, and so on.
struct Rule {
    number: Number,
    /// How many it may still keep.
    left: u32,
    /// Only what is later than this.
    after: Timestamp,
    /// What it kept last.
    last: Option<i64>,
}

impl Rule {
    fn keeps(&mut self, time: Time, position: usize, is_oldest: bool) -> bool {
        if self.left == 0 || time.at() <= self.after {
            return false;
        }
        let number = (self.number)(time.civil(), position);
        // The oldest of all is kept while there is room, so that the history is as long as it can be.
        let keeps = self.last != Some(number) || is_oldest;
        if keeps {
            self.last = Some(number);
            if self.left != Policy::ALL {
                self.left -= 1;
            }
        }
        keeps
    }
}

/// Whether each of these is kept. They are of one group, newest first.
#[must_use]
pub fn select(candidates: &[Candidate<'_>], policy: &Policy, now: Timestamp) -> Vec<bool> {
    if *policy == Policy::default() {
        return vec![true; candidates.len()];
    }
    // Spans begin at the newest, but one from the future would begin them too late.
    let latest = candidates.iter().map(|candidate| candidate.time).filter(|time| time.at() < now);
    let latest = latest.reduce(|latest, time| if time.at() > latest.at() { time } else { latest });
    let within = |span: Span, number: Number| Rule {
        number,
        left: if span.is_empty() { 0 } else { Policy::ALL },
        after: latest.map_or(Timestamp::MIN, |latest| span.before(latest)),
        last: None,
    };
    let count = |left, number: Number| Rule { number, left, after: Timestamp::MIN, last: None };
    let mut rules = [
        within(policy.within, always),
        count(policy.last, always),
        count(policy.hourly, hour),
        count(policy.daily, day),
        count(policy.weekly, week),
        count(policy.monthly, month),
        count(policy.yearly, year),
        within(policy.within_hourly, hour),
        within(policy.within_daily, day),
        within(policy.within_weekly, week),
        within(policy.within_monthly, month),
        within(policy.within_yearly, year),
    ];
    let has_tags = |tags: &[String]| {
        let has_all = |list: &Vec<String>| {
            (tags.is_empty() && list.iter().any(String::is_empty)) || list.iter().all(|tag| tags.contains(tag))
        };
        policy.tags.iter().any(has_all)
    };
    let decide = |(position, candidate): (usize, &Candidate<'_>)| {
        let is_oldest = position + 1 == candidates.len();
        // Every rule counts what it keeps, also where another keeps it, too.
        let kept = rules.iter_mut().fold(false, |kept, rule| rule.keeps(candidate.time, position, is_oldest) | kept);
        kept || has_tags(candidate.tags)
    };
    candidates.iter().enumerate().map(decide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(times: &[&str], policy: &Policy) -> Vec<bool> {
        let candidates: Vec<_> =
            times.iter().map(|time| Candidate { time: Time::parse(time).unwrap(), tags: &[] }).collect();
        select(&candidates, policy, Time::parse("2026-12-31T00:00:00Z").unwrap().at())
    }

    #[test]
    fn a_day_is_that_of_the_clock_that_made_the_snapshot() {
        let times = ["2026-01-02T23:30:00-05:00", "2026-01-02T20:00:00-05:00", "2026-01-01T12:00:00-05:00"];
        let policy = Policy { daily: 2, ..Policy::default() };
        assert_eq!(kept(&times, &policy), [true, false, true]);
    }

    #[test]
    fn a_span_ends_where_the_calendar_says() {
        let times = ["2026-03-31T12:00:00Z", "2026-03-03T12:00:00.1Z", "2026-03-03T12:00:00Z", "2026-02-28T12:00:00Z"];
        // A month before 31 March is 31 February, which is 3 March.
        let policy = Policy { within: Span::parse("1m").unwrap(), ..Policy::default() };
        assert_eq!(kept(&times, &policy), [true, true, false, false]);
    }

    #[test]
    fn spans_are_read() {
        let expected = Span { years: 1, months: 5, days: 7, hours: 2 };
        assert_eq!(Span::parse("1y5m7d2h"), Ok(expected));
        assert_eq!(Span::parse(" 3d "), Ok(Span { days: 3, ..Span::default() }));
        for bad in ["3", "d", "3w", "3d4", "1.5h", "y1"] {
            assert_eq!(Span::parse(bad), Err(NoSpan(bad.to_owned())));
        }
    }

    #[test]
    fn no_policy_keeps_everything() {
        assert_eq!(kept(&["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"], &Policy::default()), [true, true]);
    }
}
