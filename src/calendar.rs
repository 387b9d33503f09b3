//! Times that come back every week, as people name them: days, hours, and a time zone with its summer time.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::identity::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    #[error("the day is none of mon, tue, wed, thu, fri, sat, sun")]
    Day,
    #[error("the time of day is not HH:MM")]
    TimeOfDay,
    #[error("the time zone is not known")]
    Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Day {
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    fn of(date: Date) -> Self {
        Self::ALL[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs()) % 7]
    }
}

impl FromStr for Day {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "mon" => Self::Monday,
            "tue" => Self::Tuesday,
            "wed" => Self::Wednesday,
            "thu" => Self::Thursday,
            "fri" => Self::Friday,
            "sat" => Self::Saturday,
            "sun" => Self::Sunday,
            _ => return Err(CalendarError::Day),
        })
    }
}

/// Hour and minute by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay(Time);

impl FromStr for TimeOfDay {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let two = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<i8>().ok()).flatten()
        };
        let (hour, minute) = text.split_once(':').ok_or(CalendarError::TimeOfDay)?;
        let (Some(hour), Some(minute)) = (two(hour), two(minute)) else { return Err(CalendarError::TimeOfDay) };
        Time::new(hour, minute, 0, 0).map(Self).map_err(|_| CalendarError::TimeOfDay)
    }
}

/// A zone of the IANA time zone database, such as `Europe/Berlin`. The machine's database is asked first; the one that
/// comes with the program knows what the machine's does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = CalendarError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TimeZone::get(text).map(Self).map_err(|_| CalendarError::Zone)
    }
}

/// From one time of day to another, on some days of the week. One that ends no later than it begins ends on the next
/// day; the day is that of its begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeeklyWindow {
    pub days: BTreeSet<Day>,
    pub from: TimeOfDay,
    pub to: TimeOfDay,
    pub zone: Zone,
}

impl WeeklyWindow {
    /// When the window that is open at `now` closes; `None` while none is. The end is not part of it.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let today = jiff::Timestamp::from_millisecond(now.millis()).ok()?.to_zoned(self.zone.0.clone()).date();
        [today.yesterday().ok(), Some(today)]
            .into_iter()
            .flatten()
            .filter(|date| self.days.contains(&Day::of(*date)))
            .filter_map(|date| self.on(date))
            .filter(|(begins, ends)| (*begins..*ends).contains(&now))
            .map(|(_, ends)| ends)
            .max()
    }

    /// Begin and end of the window of a day. A time that the clocks leap over is the one after the leap, one that
    /// comes twice is the first.
    fn on(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let last = if self.to.0 > self.from.0 { date } else { date.tomorrow().ok()? };
        let instant = |date: Date, time: TimeOfDay| {
            let zoned = date.to_datetime(time.0).to_zoned(self.zone.0.clone()).ok()?;
            Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
        };
        Some((instant(date, self.from)?, instant(last, self.to)?))
    }
}

impl fmt::Display for WeeklyWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<String> = self.days.iter().map(|day| format!("{day:?}")[..3].to_lowercase()).collect();
        let (from, to) = (self.from.0.strftime("%H:%M"), self.to.0.strftime("%H:%M"));
        write!(f, "{} {from} to {to} {}", days.join(","), self.zone.0.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[&str], from: &str, to: &str, zone: &str) -> WeeklyWindow {
        WeeklyWindow {
            days: days.iter().map(|day| day.parse().expect("a day")).collect(),
            from: from.parse().expect("a time"),
            to: to.parse().expect("a time"),
            zone: zone.parse().expect("a zone"),
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    #[test]
    fn a_window_is_open_on_its_days_from_its_begin_until_before_its_end() {
        // 2026-11-21 is a Saturday; Berlin is one hour ahead of UTC then.
        let window = window(&["sat"], "22:00", "23:30", "Europe/Berlin");
        let ends = Some(at("2026-11-21T22:30:00Z"));
        for (now, expected) in [
            ("2026-11-21T20:59:59Z", None),
            ("2026-11-21T21:00:00Z", ends),
            ("2026-11-21T22:29:59Z", ends),
            ("2026-11-21T22:30:00Z", None),
            ("2026-11-22T21:30:00Z", None),
        ] {
            assert_eq!(window.open_until(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let window = window(&["sun"], "22:00", "02:00", "UTC");
        let ends = Some(at("2026-11-23T02:00:00Z"));
        for (now, expected) in [
            ("2026-11-22T01:00:00Z", None),
            ("2026-11-22T23:00:00Z", ends),
            ("2026-11-23T01:59:59Z", ends),
            ("2026-11-23T02:00:00Z", None),
            ("2026-11-23T22:30:00Z", None),
        ] {
            assert_eq!(window.open_until(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn equal_ends_are_a_whole_day_and_overlapping_days_end_last() {
        let window = window(&["sat", "sun"], "12:00", "12:00", "UTC");
        assert_eq!(window.open_until(at("2026-11-22T11:59:59Z")), Some(at("2026-11-22T12:00:00Z")));
        assert_eq!(window.open_until(at("2026-11-22T12:00:00Z")), Some(at("2026-11-23T12:00:00Z")));
        assert_eq!(window.open_until(at("2026-11-23T12:00:00Z")), None);
    }

    #[test]
    fn summer_time_moves_the_instants_and_not_the_hours() {
        // Clocks in Berlin leap from 02:00 to 03:00 on 2026-03-29, and go back from 03:00 to 02:00 on 2026-10-25.
        let window = window(&["sun"], "02:30", "04:00", "Europe/Berlin");
        assert_eq!(window.open_until(at("2026-03-29T01:29:59Z")), None);
        assert_eq!(window.open_until(at("2026-03-29T01:30:00Z")), Some(at("2026-03-29T02:00:00Z")));
        assert_eq!(window.open_until(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T03:00:00Z")));
    }

    #[test]
    fn what_is_no_day_time_or_zone_is_refused() {
        assert_eq!("Sat".parse::<Day>(), Err(CalendarError::Day));
        for text in ["24:00", "7:00", "07:60", "0700", "+7:00", ""] {
            assert_eq!(text.parse::<TimeOfDay>(), Err(CalendarError::TimeOfDay), "{text}");
        }
        assert_eq!("Europe/Nowhere".parse::<Zone>(), Err(CalendarError::Zone));
    }

    #[test]
    fn a_window_is_told_as_it_is_written() {
        let window = window(&["sat", "fri"], "22:00", "02:00", "Europe/Berlin");
        assert_eq!(window.to_string(), "fri,sat 22:00 to 02:00 Europe/Berlin");
    }
}
