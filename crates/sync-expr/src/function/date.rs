//! Date and time: always UTC, of the years 1 to 9999.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};

use super::convert::short;
use super::{Body, Function, Group, Returns, date, each, number, text};
use crate::cell::Cell;
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::{Args, Run};
use crate::value::Value;

/// Seconds from 1601-01-01, where FILETIME begins, to 1970-01-01.
const FILETIME_EPOCH: i64 = 11_644_473_600;
/// Units of FILETIME in a second: 100 ns each.
const FILETIME_UNITS: i64 = 10_000_000;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "Now",
        group: Group::Date,
        parameters: &[],
        summary: "The time at which the run began, UTC: the same in the whole run.",
        examples: &[("FormatDateTime(Now(), \"yyyy-MM-dd\")", "\"2026-03-01\"")],
        returns: Returns { shape: super::Shape::One, ..each(Kinds::DATE) },
        body: Body::Each(|run, _| Ok(Cell::Value(Value::Date(run.context.now())))),
    },
    Function {
        name: "DateAdd",
        group: Group::Date,
        parameters: &[text("interval"), number("value"), date("date")],
        summary: "A date some intervals later, or earlier for a negative number: `yyyy` years, `q` quarters, `m` months, \
                  `y` `d` `w` days, `ww` weeks, `h` hours, `n` minutes, `s` seconds. The end of a month stays within its month.",
        examples: &[
            ("FormatDateTime(DateAdd(\"m\", 3, CDate(\"2001-01-01\")), \"yyyy-MM-dd\")", "\"2001-04-01\""),
            ("FormatDateTime(DateAdd(\"m\", 1, CDate(\"2001-01-31\")), \"yyyy-MM-dd\")", "\"2001-02-28\""),
            (
                "FormatDateTime(DateAdd(\"n\", -90, CDate(\"2001-01-01\")), \"yyyy-MM-dd HH:mm\")",
                "\"2000-12-31 22:30\"",
            ),
            ("IsNull(DateAdd(\"x\", 1, Now()))", "error: is no interval"),
        ],
        returns: each(Kinds::DATE),
        body: Body::Each(add),
    },
    Function {
        name: "DateFromNum",
        group: Group::Date,
        parameters: &[number("value")],
        summary: "The date of a FILETIME, as Active Directory keeps times: 100 ns since 1601. Negative numbers and dates \
                  after the year 9999 (\"never\") are errors.",
        examples: &[
            ("FormatDateTime(DateFromNum(129699324000000000), \"yyyy-MM-dd HH:mm\")", "\"2012-01-01 23:00\""),
            ("IsNull(DateFromNum(9223372036854775807))", "error: is no date"),
        ],
        returns: each(Kinds::DATE),
        body: Body::Each(|_, mut args| match args.number(0) {
            Some(number) => {
                let fault = || Fault::value(format!("the FILETIME {number} is no date"));
                from_filetime(number).map(|date| Cell::Value(Value::Date(date))).ok_or_else(fault)
            }
            None => Ok(Cell::Null),
        }),
    },
    Function {
        name: "NumFromDate",
        group: Group::Date,
        parameters: &[date("date")],
        summary: "The FILETIME of a date. A date before 1601 is an error.",
        examples: &[("NumFromDate(CDate(\"2012-01-01 23:00:00\"))", "129699324000000000")],
        returns: each(Kinds::NUMBER),
        body: Body::Each(|_, mut args| match args.date(0) {
            Some(date) => to_filetime(date).map(Cell::from).ok_or_else(|| Fault::value("the date is before 1601")),
            None => Ok(Cell::Null),
        }),
    },
    Function {
        name: "FormatDateTime",
        group: Group::Date,
        parameters: &[date("date"), text("format")],
        summary: "A date as text. In the format `yyyy` `yy` `y` is the year, `MMMM` `MMM` `MM` `M` the month, `dddd` `ddd` \
                  the weekday, `dd` `d` the day, `HH` `H` the hour of 24 and `hh` `h` of 12, `mm` `m` the minute, `ss` `s` \
                  the second, `f` to `fffffff` its fraction, `tt` `t` AM or PM, `zzz` `zz` `z` the zone; text between quotes \
                  and after a backslash, and every other character, stands for itself. The single letters `s`, `u`, `o` and \
                  `d` are the sortable, universal, round-trip and short forms.",
        examples: &[
            ("FormatDateTime(CDate(\"12/25/2007\"), \"yyyy-MM-dd\")", "\"2007-12-25\""),
            ("FormatDateTime(DateFromNum(129699324000000000), \"yyyyMMddHHmmss.0Z\")", "\"20120101230000.0Z\""),
            ("FormatDateTime(CDate(\"2007-12-25 15:04\"), \"ddd d MMM, h:mm tt\")", "\"Tue 25 Dec, 3:04 PM\""),
            ("FormatDateTime(CDate(\"2007-12-25\"), \"s\")", "\"2007-12-25T00:00:00\""),
        ],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let (date, format) = (args.date(0), args.text(1));
            date.map_or(Ok(Cell::Null), |date| self::format(date, &format).map(Cell::from))
        }),
    },
];

fn in_range(date: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (1..=9999).contains(&date.year()).then_some(date)
}

fn add<'a>(_: &mut Run<'a>, mut args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    let interval = args.text(0);
    let (Some(count), Some(date)) = (args.number(1), args.date(2)) else { return Ok(Cell::Null) };
    let months = |each: i64| {
        let months = count.checked_mul(each)?;
        let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 { date.checked_sub_months(size) } else { date.checked_add_months(size) }
    };
    let days = |each: i64| {
        let days = count.checked_mul(each)?;
        let size = Days::new(days.unsigned_abs());
        if days < 0 { date.checked_sub_days(size) } else { date.checked_add_days(size) }
    };
    let seconds = |each: i64| date.checked_add_signed(TimeDelta::try_seconds(count.checked_mul(each)?)?);
    let result = match &*interval {
        "yyyy" => months(12),
        "q" => months(3),
        "m" => months(1),
        "y" | "d" | "w" => days(1),
        "ww" => days(7),
        "h" => seconds(3600),
        "n" => seconds(60),
        "s" => seconds(1),
        other => {
            let cause = format!("`{}` is no interval: yyyy, q, m, y, d, w, ww, h, n or s", short(other));
            return Err(Fault::value(cause));
        }
    };
    let fault = || Fault::value("the result is no date of the years 1 to 9999");
    result.and_then(in_range).map(|date| Cell::Value(Value::Date(date))).ok_or_else(fault)
}

fn from_filetime(number: i64) -> Option<DateTime<Utc>> {
    if number < 0 {
        return None;
    }
    let nanos = u32::try_from(number % FILETIME_UNITS * 100).ok()?;
    in_range(DateTime::from_timestamp(number / FILETIME_UNITS - FILETIME_EPOCH, nanos)?)
}

fn to_filetime(date: DateTime<Utc>) -> Option<i64> {
    let units = (date.timestamp() + FILETIME_EPOCH).checked_mul(FILETIME_UNITS)?;
    let number = units.checked_add(i64::from(date.timestamp_subsec_nanos() / 100))?;
    (number >= 0).then_some(number)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn format(date: DateTime<Utc>, format: &str) -> Result<String, Fault> {
    let format = match format {
        "s" => "yyyy-MM-ddTHH:mm:ss",
        "u" => "yyyy-MM-dd HH:mm:ssZ",
        "o" | "O" => "yyyy-MM-ddTHH:mm:ss.fffffffZ",
        "d" => "MM/dd/yyyy",
        single if single.chars().count() == 1 => {
            return Err(Fault::value(format!("`{single}` is no standard form: s, u, o or d")));
        }
        "" => return Err(Fault::value("the format is empty")),
        other => other,
    };
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|c| *c == first).count();
        let mut used = first.len_utf8() * run;
        match first {
            'y' | 'M' | 'd' | 'H' | 'h' | 'm' | 's' | 'f' | 'F' | 't' | 'z' => field(date, first, run, &mut out)?,
            'K' => out.push_str(&"Z".repeat(run)),
            '\'' | '"' => {
                let quoted = &rest[1..];
                let end = quoted.find(first).ok_or_else(|| Fault::value("a quote in the format is not closed"))?;
                out.push_str(&quoted[..end]);
                used = end + 2;
            }
            '\\' => {
                let escaped = rest[1..].chars().next().ok_or_else(|| Fault::value("the format ends in a backslash"))?;
                out.push(escaped);
                used = 1 + escaped.len_utf8();
            }
            // Marks a lone letter as part of a custom format.
            '%' => used = 1,
            other => {
                out.push(other);
                used = other.len_utf8();
            }
        }
        rest = &rest[used..];
    }
    Ok(out)
}

fn field(date: DateTime<Utc>, letter: char, run: usize, out: &mut String) -> Result<(), Fault> {
    let year = date.year();
    let twelve = match date.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let nanos = date.nanosecond() % 1_000_000_000;
    let text = match (letter, run) {
        ('y', 1) => (year % 100).to_string(),
        ('y', 2) => format!("{:02}", year % 100),
        ('y', run) => format!("{year:0run$}", run = run.min(9)),
        ('M', 1) => date.month().to_string(),
        ('M', 2) => format!("{:02}", date.month()),
        ('M', 3) => MONTHS[date.month0() as usize][..3].to_owned(),
        ('M', _) => MONTHS[date.month0() as usize].to_owned(),
        ('d', 1) => date.day().to_string(),
        ('d', 2) => format!("{:02}", date.day()),
        ('d', 3) => WEEKDAYS[date.weekday().num_days_from_monday() as usize][..3].to_owned(),
        ('d', _) => WEEKDAYS[date.weekday().num_days_from_monday() as usize].to_owned(),
        ('H', 1) => date.hour().to_string(),
        ('H', _) => format!("{:02}", date.hour()),
        ('h', 1) => twelve.to_string(),
        ('h', _) => format!("{twelve:02}"),
        ('m', 1) => date.minute().to_string(),
        ('m', _) => format!("{:02}", date.minute()),
        ('s', 1) => date.second().to_string(),
        ('s', _) => format!("{:02}", date.second()),
        ('f' | 'F', run) if run > 7 => return Err(Fault::value("a second has at most 7 fraction digits")),
        ('f', run) => format!("{nanos:09}")[..run].to_owned(),
        ('F', run) => format!("{nanos:09}")[..run].trim_end_matches('0').to_owned(),
        ('t', 1) => (if date.hour() < 12 { "A" } else { "P" }).to_owned(),
        ('t', _) => (if date.hour() < 12 { "AM" } else { "PM" }).to_owned(),
        ('z', 1) => "+0".to_owned(),
        ('z', 2) => "+00".to_owned(),
        _ => "+00:00".to_owned(),
    };
    out.push_str(&text);
    Ok(())
}

/// A date as `CDate` reads it; `None` when the text is none.
pub fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    if text.len() >= 10 && text.as_bytes()[..8].iter().all(u8::is_ascii_digit) {
        return generalised(text).and_then(in_range);
    }
    let spaced = text.replace(',', " ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    let split_at_t;
    if let Some((day, time)) = words.first().and_then(|word| word.split_once('T'))
        && time.starts_with(|c: char| c.is_ascii_digit())
    {
        split_at_t = (day, time);
        words.splice(0..1, [split_at_t.0, split_at_t.1]);
    }
    let (day, rest) = calendar_day(&words)?;
    let (time, minutes) = time_of_day(rest)?;
    in_range(day.and_time(time).and_utc().checked_sub_signed(TimeDelta::minutes(minutes))?)
}

/// `yyyyMMddHHmmss`, minutes and seconds optional, a fraction, and `Z` or an offset (RFC 4517 section 3.3.13).
fn generalised(text: &str) -> Option<DateTime<Utc>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (stamp, rest) = text.split_at(digits);
    let part = |from: usize, to: usize| stamp.get(from..to)?.parse::<u32>().ok();
    let day = NaiveDate::from_ymd_opt(part(0, 4)?.cast_signed(), part(4, 6)?, part(6, 8)?)?;
    let time = match digits {
        10 => NaiveTime::from_hms_opt(part(8, 10)?, 0, 0)?,
        12 => NaiveTime::from_hms_opt(part(8, 10)?, part(10, 12)?, 0)?,
        14 => NaiveTime::from_hms_opt(part(8, 10)?, part(10, 12)?, part(12, 14)?)?,
        _ => return None,
    };
    let zone = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            (digits > 0).then(|| &fraction[digits..])?
        }
        None => rest,
    };
    let minutes = zone_minutes(zone)?;
    day.and_time(time).and_utc().checked_sub_signed(TimeDelta::minutes(minutes))
}

fn calendar_day<'w>(words: &'w [&'w str]) -> Option<(NaiveDate, &'w [&'w str])> {
    let numbers = |word: &str, mark: char| -> Option<[u32; 3]> {
        let parts: Option<Vec<u32>> = word.split(mark).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let day = |year: u32, month: u32, day: u32| NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day);
    let (first, rest) = words.split_first()?;
    for mark in ['-', '/', '.'] {
        if let Some([a, b, c]) = numbers(first, mark) {
            let year_first = first.find(mark) == Some(4);
            let year_last = first.rsplit(mark).next().is_some_and(|year| year.len() == 4);
            return match (year_first, year_last) {
                (true, _) => Some((day(a, b, c)?, rest)),
                (false, true) => Some((day(c, a, b)?, rest)),
                (false, false) => None,
            };
        }
    }
    let month = |word: &str| {
        let word = word.to_ascii_lowercase();
        let of_name = |name: &&str| {
            let name = name.to_ascii_lowercase();
            word == name || word == name[..3]
        };
        MONTHS.iter().position(of_name).map(|month| month as u32 + 1)
    };
    let (second, rest) = rest.split_first()?;
    let (third, rest) = rest.split_first()?;
    let year = (third.len() == 4).then(|| third.parse().ok())??;
    match (month(first), month(second)) {
        (Some(month), None) => Some((day(year, month, second.parse().ok()?)?, rest)),
        (None, Some(month)) => Some((day(year, month, first.parse().ok()?)?, rest)),
        _ => None,
    }
}

/// The time of day and the minutes by which its zone is ahead of UTC.
fn time_of_day(words: &[&str]) -> Option<(NaiveTime, i64)> {
    let Some((first, rest)) = words.split_first() else { return Some((NaiveTime::MIN, 0)) };
    if !first.contains(':') && !is_half(first) && rest.first().is_none_or(|word| !is_half(word)) {
        return if rest.is_empty() { Some((NaiveTime::MIN, zone_minutes(first)?)) } else { None };
    }
    // The zone and AM or PM may follow without a blank.
    let end = first.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(first.len());
    let (clock, glued) = first.split_at(end);
    let mut after: Vec<&str> = Vec::new();
    if !glued.is_empty() {
        after.push(glued);
    }
    after.extend(rest);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let parts: Option<Vec<u32>> = clock.split(':').map(|part| part.parse().ok()).collect();
    let (mut hour, minute, second) = match parts?.as_slice() {
        [hour] => (*hour, 0, 0),
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    if let Some(half) = after.first().copied().filter(|word| is_half(word)) {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if half.eq_ignore_ascii_case("pm") { 12 } else { 0 };
        after.remove(0);
    }
    let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && fraction.len() <= 9;
    let nanos = digits.then(|| format!("{fraction:0<9}").parse().ok())??;
    let time = NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?;
    match after.as_slice() {
        [] => Some((time, 0)),
        [zone] => Some((time, zone_minutes(zone)?)),
        _ => None,
    }
}

fn is_half(word: &str) -> bool {
    word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm")
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if zone.is_empty() || ["z", "utc", "gmt"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let number = |text: &str| (text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i64>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_the_forms_that_occur() {
        for (text, expected) in [
            ("2013-01-10 4:00 PM -8", "2013-01-11T00:00:00"),
            ("2013-01-10", "2013-01-10T00:00:00"),
            ("12/25/2007", "2007-12-25T00:00:00"),
            ("2012-01-01 23:00:00", "2012-01-01T23:00:00"),
            ("2013-01-10T16:00:00Z", "2013-01-10T16:00:00"),
            ("2013-01-10T16:00:00.250+05:30", "2013-01-10T10:30:00"),
            ("2013-01-10 16:00 UTC", "2013-01-10T16:00:00"),
            ("2013-01-10 12:00AM", "2013-01-10T00:00:00"),
            ("2013-01-10 4 PM", "2013-01-10T16:00:00"),
            ("10 Jan 2013", "2013-01-10T00:00:00"),
            ("January 10, 2013 08:05", "2013-01-10T08:05:00"),
            ("20130110160000Z", "2013-01-10T16:00:00"),
            ("20130110160000.0Z", "2013-01-10T16:00:00"),
            ("20130110160000-0800", "2013-01-11T00:00:00"),
        ] {
            let date = parse_date(text).map(|date| format(date, "s"));
            assert_eq!(date, Some(Ok(expected.to_owned())), "{text}");
        }
        for wrong in [
            "",
            "soon",
            "2013-13-01",
            "2013-02-30",
            "13/45/2007",
            "2013-01-10 25:00",
            "2013-01-10 13 PM",
            "2013-01-10 4:00 PM -99",
            "1/2/3",
            "2013-01-10 x",
            "20131301000000Z",
            "10000-01-01",
            "2013-01-10 4:00 4:00",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn filetimes_and_dates_are_inverse() {
        for number in [0, 1, 129_699_324_000_000_000, 129_699_324_000_000_007] {
            assert_eq!(from_filetime(number).and_then(to_filetime), Some(number));
        }
        assert_eq!(from_filetime(-1), None);
        assert_eq!(from_filetime(i64::MAX), None);
    }
}
