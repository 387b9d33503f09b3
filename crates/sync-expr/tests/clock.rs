//! When expressions that ask for the time may say something else.

use chrono::{DateTime, TimeDelta, Utc};
use sync_expr::{Expression, Fields, NextChange, Value, parse_date};

const NOW: &str = "2026-03-01 12:00";

fn date(text: &str) -> DateTime<Utc> {
    parse_date(text).expect("a date")
}

fn at(now: DateTime<Utc>) -> Fields {
    let mut fields = Fields::default();
    fields.set_now(now);
    fields.set("ends", Value::from("2026-03-11 12:00"));
    fields.set("never", Value::from(i64::MAX));
    fields.set("fileTime", Value::from(134_177_040_000_000_000));
    fields
}

fn next(text: &str) -> NextChange {
    Expression::compile(text).expect("it compiles").next_change(&at(date(NOW)))
}

#[test]
fn comparisons_turn_over_when_the_time_is_there() {
    let within = |text: &str, days: i64| {
        let NextChange::At(found) = next(text) else { panic!("{text}: {:?}", next(text)) };
        let gap = found - date(NOW) - TimeDelta::days(days);
        assert!(gap > TimeDelta::zero() && gap <= TimeDelta::milliseconds(2), "{text}: {found}");
    };
    within("CDate([ends]) < Now()", 10);
    within("Now() >= CDate([ends])", 10);
    within("IIF(DateAdd(\"d\", 3, Now()) > CDate([ends]), \"soon\", NULL)", 7);
    within("IIF(CDate([ends]) < DateAdd(\"h\", -24, Now()), \"gone\", NULL)", 11);
    within("DateFromNum([fileTime]) <= Now() || CDate([ends]) <= Now()", 10);
    within("NumFromDate(Now()) < [fileTime] + 864000000000", 11);
}

#[test]
fn what_the_time_does_not_concern_any_more_never_changes() {
    for text in [
        "[ends]",
        "CDate(\"2026-01-01\") < Now()",
        "IIF(IsNull([nothing]), 1, IIF(CDate([ends]) < Now(), 2, 3))",
        "CDate([nothing]) < Now()",
    ] {
        assert_eq!(next(text), NextChange::Never, "{text}");
    }
}

#[test]
fn other_uses_of_the_time_may_change_whenever_it_does() {
    for text in [
        "FormatDateTime(Now(), \"HH\")",
        "Now() = CDate([ends])",
        "With($n, Now(), CDate([ends]) < $n)",
        "IIF(CDate([ends]) < Now(), FormatDateTime(Now(), \"yyyy\"), NULL)",
        "DateAdd(\"d\", 1, Now()) > Now()",
    ] {
        assert_eq!(next(text), NextChange::Anytime, "{text}");
    }
}

/// Months differ in length: the place where the comparison turns over is never stepped over.
#[test]
fn no_step_passes_a_change() {
    for text in ["DateAdd(\"m\", 1, Now()) > CDate([ends])", "DateAdd(\"yyyy\", -1, Now()) >= CDate([ends])"] {
        let expression = Expression::compile(text).expect("it compiles");
        let said = |now: DateTime<Utc>| format!("{:?}", expression.evaluate(&at(now)));
        let mut now = date("2026-01-01");
        for _ in 0..2000 {
            let NextChange::At(next) = expression.next_change(&at(now)) else { break };
            assert!(next > now);
            assert_eq!(said(next - TimeDelta::milliseconds(3)), said(now), "{text} between {now} and {next}");
            now = next;
        }
        assert_eq!(expression.next_change(&at(now)), NextChange::Never, "{text}");
        assert!(said(now).contains("true"), "{text}: {}", said(now));
    }
}
