//! The functions of the language, on values.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

use crate::Fault;
use crate::node::{Function, Operator};
use crate::steps::Steps;
use crate::value::Value;

/// `arguments` begins with the receiver of a method.
pub(crate) fn call<'a>(
    function: Function,
    arguments: &[Value<'a>],
    steps: &Steps,
) -> Result<Value<'a>, Fault> {
    match (function, arguments) {
        (Function::Size, [of]) => size(of, steps).map(Value::Int),
        (Function::StartsWith, [Value::Text(text), Value::Text(part)]) => {
            steps.take_for_bytes(part.len())?;
            Ok(Value::Bool(text.starts_with(part.as_ref())))
        }
        (Function::EndsWith, [Value::Text(text), Value::Text(part)]) => {
            steps.take_for_bytes(part.len())?;
            Ok(Value::Bool(text.ends_with(part.as_ref())))
        }
        (Function::Contains, [Value::Text(text), Value::Text(part)]) => {
            steps.take_for_bytes(text.len())?;
            Ok(Value::Bool(text.contains(part.as_ref())))
        }
        (Function::Int, [value]) => int(value).map(Value::Int),
        (Function::Double, [value]) => double(value).map(Value::Double),
        (Function::String, [value]) => string(value),
        (Function::Timestamp, [Value::Time(time)]) => Ok(Value::Time(*time)),
        (Function::Timestamp, [Value::Int(seconds)]) => DateTime::from_timestamp(*seconds, 0)
            .map(Value::Time)
            .ok_or(Fault::Arithmetic),
        (Function::Timestamp, [Value::Text(text)]) => timestamp(text).map(Value::Time),
        (_, [Value::Time(time)]) => part_of(function, *time).map(Value::Int),
        _ => Err(Fault::WrongType),
    }
}

fn size(value: &Value<'_>, steps: &Steps) -> Result<i64, Fault> {
    let size = match value {
        Value::Text(text) => {
            steps.take_for_bytes(text.len())?;
            text.chars().count()
        }
        Value::Object(members) => members.len(),
        _ => value.length().ok_or(Fault::WrongType)?,
    };
    i64::try_from(size).map_err(|_| Fault::Arithmetic)
}

/// As CEL's `int`: towards zero, and seconds since 1970.
fn int(value: &Value<'_>) -> Result<i64, Fault> {
    match value {
        Value::Int(value) => Ok(*value),
        // Both ends are exact; the greatest integer itself is no double.
        Value::Double(value)
            if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(value) =>
        {
            Ok(*value as i64)
        }
        Value::Double(_) => Err(Fault::Arithmetic),
        Value::Text(text) => short(text)?.parse().map_err(|_| Fault::BadText),
        Value::Time(time) => Ok(time.timestamp()),
        _ => Err(Fault::WrongType),
    }
}

fn double(value: &Value<'_>) -> Result<f64, Fault> {
    match value {
        Value::Int(value) => Ok(*value as f64),
        Value::Double(value) => Ok(*value),
        Value::Text(text) => {
            let parsed: f64 = short(text)?.parse().map_err(|_| Fault::BadText)?;
            parsed.is_finite().then_some(parsed).ok_or(Fault::BadText)
        }
        _ => Err(Fault::WrongType),
    }
}

fn string<'a>(value: &Value<'a>) -> Result<Value<'a>, Fault> {
    match value {
        Value::Text(text) => Ok(Value::Text(text.clone())),
        Value::Int(value) => Ok(Value::Text(value.to_string().into())),
        Value::Bool(value) => Ok(Value::text(if *value { "true" } else { "false" })),
        _ => Err(Fault::WrongType),
    }
}

/// Numbers and times are; reading a long text would take uncounted time.
fn short(text: &str) -> Result<&str, Fault> {
    const LONGEST: usize = 64;
    (text.len() <= LONGEST).then_some(text).ok_or(Fault::BadText)
}

/// RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<DateTime<Utc>, Fault> {
    let time = DateTime::parse_from_rfc3339(short(text)?).map_err(|_| Fault::BadText)?;
    Ok(time.with_timezone(&Utc))
}

/// `1h30m`, `-45s`, `300ms`: whole numbers of h, m, s and ms.
pub(crate) fn duration(text: &str) -> Option<TimeDelta> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut millis: i64 = 0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, length) = match rest.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b's', ..] => (1_000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            _ => return None,
        };
        millis = millis.checked_add(number.checked_mul(unit)?)?;
        rest = rest.get(length..)?;
        if rest.is_empty() {
            return TimeDelta::try_milliseconds(millis.checked_mul(sign)?);
        }
    }
}

/// In UTC. Months and days of the week from 0 on, as in CEL; Sunday is 0.
fn part_of(function: Function, time: DateTime<Utc>) -> Result<i64, Fault> {
    Ok(match function {
        Function::Year => i64::from(time.year()),
        Function::Month => i64::from(time.month0()),
        Function::Date => i64::from(time.day()),
        Function::Weekday => i64::from(time.weekday().num_days_from_sunday()),
        Function::Hours => i64::from(time.hour()),
        Function::Minutes => i64::from(time.minute()),
        _ => return Err(Fault::WrongType),
    })
}

/// An integer and a double make a double, since JSON does not tell them apart. What is no finite number is a fault.
pub(crate) fn arithmetic<'a>(
    operator: Operator,
    one: &Value<'a>,
    two: &Value<'a>,
    steps: &Steps,
) -> Result<Value<'a>, Fault> {
    match (one, two) {
        (Value::Int(one), Value::Int(two)) => integers(operator, *one, *two)
            .map(Value::Int)
            .ok_or(Fault::Arithmetic),
        (Value::Double(one), Value::Double(two)) => doubles(operator, *one, *two),
        (Value::Int(one), Value::Double(two)) => doubles(operator, *one as f64, *two),
        (Value::Double(one), Value::Int(two)) => doubles(operator, *one, *two as f64),
        (Value::Text(one), Value::Text(two)) if operator == Operator::Add => {
            steps.take_for_bytes(one.len() + two.len())?;
            Ok(Value::Text(format!("{one}{two}").into()))
        }
        _ => times(operator, one, two),
    }
}

fn integers(operator: Operator, one: i64, two: i64) -> Option<i64> {
    match operator {
        Operator::Add => one.checked_add(two),
        Operator::Subtract => one.checked_sub(two),
        Operator::Multiply => one.checked_mul(two),
        Operator::Divide => one.checked_div(two),
        Operator::Remainder => one.checked_rem(two),
    }
}

fn doubles<'a>(operator: Operator, one: f64, two: f64) -> Result<Value<'a>, Fault> {
    let result = match operator {
        Operator::Add => one + two,
        Operator::Subtract => one - two,
        Operator::Multiply => one * two,
        Operator::Divide => one / two,
        Operator::Remainder => return Err(Fault::WrongType),
    };
    if result.is_finite() {
        Ok(Value::Double(result))
    } else {
        Err(Fault::Arithmetic)
    }
}

fn times<'a>(operator: Operator, one: &Value<'a>, two: &Value<'a>) -> Result<Value<'a>, Fault> {
    let result = match (operator, one, two) {
        (Operator::Subtract, Value::Time(one), Value::Time(two)) => {
            return Ok(Value::Span(one.signed_duration_since(*two)));
        }
        (Operator::Add, Value::Time(time), Value::Span(span))
        | (Operator::Add, Value::Span(span), Value::Time(time)) => {
            time.checked_add_signed(*span).map(Value::Time)
        }
        (Operator::Subtract, Value::Time(time), Value::Span(span)) => {
            time.checked_sub_signed(*span).map(Value::Time)
        }
        (Operator::Add, Value::Span(one), Value::Span(two)) => one.checked_add(two).map(Value::Span),
        (Operator::Subtract, Value::Span(one), Value::Span(two)) => one.checked_sub(two).map(Value::Span),
        _ => return Err(Fault::WrongType),
    };
    result.ok_or(Fault::Arithmetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_of_units() {
        let millis = |text: &str| duration(text).map(|span| span.num_milliseconds());
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("-45s"), Some(-45_000));
        assert_eq!(millis("1m300ms"), Some(60_300));
        for broken in [
            "",
            "-",
            "1",
            "h",
            "1.5h",
            "1d",
            "1h ",
            "1h-1m",
            "9223372036854775807h",
            "ms",
        ] {
            assert_eq!(millis(broken), None, "{broken}");
        }
    }
}
