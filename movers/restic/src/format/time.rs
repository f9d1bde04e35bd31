//! Points in time, as Go writes them into JSON: RFC 3339 with as many digits of a second as are needed, and an offset.

use std::fmt;

use doppel_volume::metadata::Moment;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, with the offset of the clock that it was read from: retention counts the days of that clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    at: Timestamp,
    offset: Offset,
}

impl Time {
    /// This point in time, of a clock that shows UTC.
    #[must_use]
    pub fn utc(at: Timestamp) -> Self {
        Self { at, offset: Offset::UTC }
    }

    /// Reads RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.offset()?.to_numeric_offset();
        let at = offset.to_timestamp(pieces.date().to_datetime(pieces.time()?)).ok()?;
        Some(Self { at, offset })
    }

    /// The point in time alone.
    #[must_use]
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// What the clock showed.
    pub(crate) fn civil(self) -> DateTime {
        self.offset.to_datetime(self.at)
    }

    /// The point at which that clock shows this.
    pub(crate) fn when_it_shows(self, civil: DateTime) -> Option<Timestamp> {
        self.offset.to_timestamp(civil).ok()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offset == Offset::UTC {
            self.at.fmt(formatter)
        } else {
            self.at.display_with_offset(self.offset).fmt(formatter)
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a time that is not RFC 3339"))
    }
}

/// The moment that this text says.
pub(crate) fn parse_moment(text: &str) -> Option<Moment> {
    let nanoseconds = Time::parse(text)?.at.as_nanosecond();
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let nanoseconds = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    Some(Moment { seconds, nanoseconds })
}

/// The text of a moment, in UTC. Years that cannot be written become the first or last that can, as restic does it.
pub(crate) fn moment_text(moment: Moment) -> String {
    // 0000-01-01 and 9999-12-30: one day short of what the format could hold, but the last that is known here.
    const FIRST: i64 = -62_167_219_200;
    const LAST: i64 = 253_402_207_199;
    let seconds = moment.seconds.clamp(FIRST, LAST);
    let nanoseconds = i32::try_from(moment.nanoseconds).unwrap_or_default();
    Timestamp::new(seconds, nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_go_does() {
        for text in [
            "2014-12-06T17:50:23.34513538+01:00",
            "2026-11-29T12:00:00Z",
            "2026-11-29T12:00:00.000000001Z",
            "1969-12-31T23:59:59.5Z",
            "0001-01-01T00:00:00Z",
            "2015-01-02T18:10:13.48307196-03:30",
        ] {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "2026-11-29", "2026-11-29T12:00:00", "12:00:00Z", "yesterday"] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn years_beyond_four_digits_are_bent() {
        for (seconds, text) in [(i64::MAX, "9999-12-30T21:59:59Z"), (i64::MIN, "0000-01-01T00:00:00Z")] {
            assert_eq!(moment_text(Moment { seconds, nanoseconds: 0 }), text);
        }
    }

    proptest! {
        #[test]
        fn a_moment_is_read_as_it_was_written(
            seconds in -62_167_219_200..253_402_207_199_i64,
            nanoseconds in 0..1_000_000_000_u32,
        ) {
            let moment = Moment { seconds, nanoseconds };
            prop_assert_eq!(parse_moment(&moment_text(moment)), Some(moment));
        }
    }
}
