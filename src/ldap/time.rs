//! The times that directories write.

use crate::identity::Timestamp;

/// Milliseconds between 1601-01-01 and 1970-01-01.
const FILETIME_EPOCH: i64 = 11_644_473_600_000;

/// GeneralizedTime in UTC, to the minute, second or a fraction of one (RFC 4517, section 3.3.13).
pub fn generalized(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix(['Z', 'z'])?;
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || !matches!(whole.len(), 12 | 14) {
        return None;
    }
    let padded = format!("{whole:0<14}");
    let seconds = chrono::NaiveDateTime::parse_from_str(&padded, "%Y%m%d%H%M%S").ok()?.and_utc().timestamp();
    // A fraction of a minute, where seconds are left out, is of no use to anybody here.
    let millis: i64 = if whole.len() == 14 { format!("{fraction:0<3}")[..3].parse().ok()? } else { 0 };
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?.checked_add(millis)?))
}

/// An AD time: 100-nanosecond steps since 1601 (MS-DTYP, section 2.3.3). `None` for 0 and for "never".
pub fn filetime(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>().ok()? {
        0 | i64::MIN..0 | i64::MAX => None,
        steps => Some(Timestamp::from_millis(steps / 10_000 - FILETIME_EPOCH)),
    }
}

/// Days since 1970, as the `shadow*` attributes count (RFC 2307). `None` for a negative number, which means "off".
pub fn shadow_days(text: &str) -> Option<Timestamp> {
    let days = text.parse::<u32>().ok()?;
    Some(Timestamp::from_secs(i64::from(days) * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generalized_times_are_read_to_the_millisecond() {
        let read = |text| generalized(text).map(|time| time.rfc3339());
        assert_eq!(read("20200102030405Z").as_deref(), Some("2020-01-02T03:04:05.000Z"));
        assert_eq!(read("20200102030405.678901Z").as_deref(), Some("2020-01-02T03:04:05.678Z"));
        assert_eq!(read("202001020304Z").as_deref(), Some("2020-01-02T03:04:00.000Z"));
        for text in
            ["", "Z", "20200102030405", "2020010203Z", "20201302030405Z", "20200102030405+0100", "2020ä102030405Z"]
        {
            assert_eq!(generalized(text), None, "{text}");
        }
    }

    #[test]
    fn filetimes_and_days_count_from_their_epochs() {
        assert_eq!(filetime("132223104000000000"), Timestamp::parse_rfc3339("2020-01-01T00:00:00Z"));
        for never in ["0", "9223372036854775807", "-1", "", "x"] {
            assert_eq!(filetime(never), None, "{never}");
        }
        assert_eq!(shadow_days("18262"), Timestamp::parse_rfc3339("2020-01-01T00:00:00Z"));
        assert_eq!(shadow_days("-1"), None);
    }
}
