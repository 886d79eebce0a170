//! Unix seconds and dates of the Gregorian calendar, UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds of a day.
pub(crate) const DAY: u64 = 86_400;

/// Where the day of a time begins, in UTC.
pub(crate) fn day_of(unix: u64) -> u64 {
    unix / DAY * DAY
}

/// Last second of the year 9999: what a chain says beyond it is shown as this.
const LAST: u64 = 253_402_300_799;

/// Now, unix seconds; 0 on a machine whose clock stands before 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// RFC 3339, UTC, whole seconds.
pub fn rfc3339(unix: u64) -> String {
    let unix = unix.min(LAST);
    let (days, second) = (unix / DAY, unix % DAY);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Date and time as RSS has them (RFC 822 with four digits of the year), UTC.
pub fn rfc822(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let unix = unix.min(LAST);
    let (days, second) = (unix / DAY, unix % DAY);
    let (year, month, day) = civil(days);
    // 1970-01-01 was a Thursday; both remainders are inside of their lists.
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[(month - 1) as usize]);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{:02} GMT", second % 60)
}

/// Date and time for people, UTC, to the minute.
pub fn plain(unix: u64) -> String {
    let text = rfc3339(unix);
    format!("{} {} UTC", &text[..text.len() - 10], &text[text.len() - 9..text.len() - 4])
}

/// First second of a day written `YYYY-MM-DD`, from 1970 to 9999; none for anything else.
pub fn parse_date(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let is_date = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() });
    if !is_date {
        return None;
    }
    let (year, month, day): (u64, u64, u64) =
        (text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    // A day that the month does not have would be one of the next month.
    (civil(days) == (year, month, day)).then_some(days * DAY)
}

/// The day of a date, `YYYY-MM-DD`.
pub fn date(unix: u64) -> String {
    let (year, month, day) = civil(unix.min(LAST) / DAY);
    format!("{year:04}-{month:02}-{day:02}")
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    years + (1..month).map(|month| days_of(year, month)).sum::<u64>()
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Too late by the leap days in it, since a year has at least 365 days.
    let mut year = 1970 + days / 365;
    while days_before(year, 1) > days {
        year -= 1;
    }
    let mut day = days - days_before(year, 1);
    let mut month = 1;
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_rfc_3339() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(unix), text);
        }
        assert_eq!(plain(1_700_000_000), "2023-11-14 22:13 UTC");
        assert_eq!(rfc822(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(rfc822(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn every_day_of_two_centuries_is_read_back() {
        for day in 0..80_000 {
            assert_eq!(parse_date(&date(day * DAY)), Some(day * DAY));
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in ["", "2023-02-29", "2023-13-01", "2023-00-10", "2023-1-1", "1969-12-31", "2023-04-31", "２023-01-1"]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
