//! Values while a condition is evaluated: they borrow the attributes and the condition.

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value as Json};

use crate::Fault;
use crate::steps::Steps;

/// Deeper values are not compared.
const MAX_DEPTH: usize = 32;
/// Doubles at and beyond 2^63 may stand for integers that JSON's reader has already rounded.
const BEYOND_INTEGERS: f64 = 9_223_372_036_854_775_808.0;

#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// Of the attributes.
    Array(&'a [Json]),
    /// Written in the condition.
    List(Vec<Value<'a>>),
    Object(&'a Map<String, Json>),
    Time(DateTime<Utc>),
    Span(TimeDelta),
}

impl<'a> Value<'a> {
    pub fn of(json: &'a Json) -> Result<Self, Fault> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Self::Int(value),
                (None, Some(value)) if value.abs() < BEYOND_INTEGERS => Self::Double(value),
                _ => return Err(Fault::OutOfRange),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(items) => Self::Array(items),
            Json::Object(members) => Self::Object(members),
        })
    }

    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub fn boolean(&self) -> Result<bool, Fault> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(Fault::WrongType),
        }
    }

    /// How many items a list has.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::Array(items) => Some(items.len()),
            Self::List(items) => Some(items.len()),
            _ => None,
        }
    }

    /// Of a list; None beyond its end, and for what is no list.
    pub fn item(&self, index: usize) -> Option<Result<Self, Fault>> {
        match self {
            Self::Array(items) => items.get(index).map(Self::of),
            Self::List(items) => items.get(index).cloned().map(Ok),
            _ => None,
        }
    }

    /// Bytes that a clone copies beside the value itself.
    pub fn copied(&self) -> usize {
        match self {
            Self::Text(Cow::Owned(text)) => text.len(),
            Self::List(items) => items.iter().map(|item| size_of::<Self>() + item.copied()).sum(),
            _ => 0,
        }
    }

    /// As CEL's `==`: numbers by what they are worth, values of different types are unequal.
    pub fn equals(&self, other: &Self, steps: &Steps) -> Result<bool, Fault> {
        self.equals_at(other, steps, 0)
    }

    fn equals_at(&self, other: &Self, steps: &Steps, depth: usize) -> Result<bool, Fault> {
        steps.take(1)?;
        if depth > MAX_DEPTH {
            return Err(Fault::TooCostly);
        }
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(two)) => one == two,
            (Self::Int(_) | Self::Double(_), Self::Int(_) | Self::Double(_)) => {
                self.order(other, steps)? == Ordering::Equal
            }
            (Self::Text(one), Self::Text(two)) => {
                one.len() == two.len() && {
                    steps.take_for_bytes(one.len())?;
                    one == two
                }
            }
            (Self::Time(one), Self::Time(two)) => one == two,
            (Self::Span(one), Self::Span(two)) => one == two,
            (Self::Object(one), Self::Object(two)) => {
                one.len() == two.len() && equal_members(one, two, steps, depth)?
            }
            _ => match (self.length(), other.length()) {
                (Some(one), Some(two)) => one == two && self.equal_items(other, one, steps, depth)?,
                _ => false,
            },
        })
    }

    fn equal_items(&self, other: &Self, length: usize, steps: &Steps, depth: usize) -> Result<bool, Fault> {
        for index in 0..length {
            let (Some(one), Some(two)) = (self.item(index), other.item(index)) else {
                return Ok(false);
            };
            if !one?.equals_at(&two?, steps, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of two values of one type, or of two numbers.
    pub fn order(&self, other: &Self, steps: &Steps) -> Result<Ordering, Fault> {
        Ok(match (self, other) {
            (Self::Int(one), Self::Int(two)) => one.cmp(two),
            (Self::Double(one), Self::Double(two)) => one.partial_cmp(two).ok_or(Fault::Arithmetic)?,
            (Self::Int(one), Self::Double(two)) => order_mixed(*one, *two),
            (Self::Double(one), Self::Int(two)) => order_mixed(*two, *one).reverse(),
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Text(one), Self::Text(two)) => {
                steps.take_for_bytes(one.len().min(two.len()))?;
                one.cmp(two)
            }
            (Self::Time(one), Self::Time(two)) => one.cmp(two),
            (Self::Span(one), Self::Span(two)) => one.cmp(two),
            _ => return Err(Fault::WrongType),
        })
    }
}

fn equal_members(
    one: &Map<String, Json>,
    two: &Map<String, Json>,
    steps: &Steps,
    depth: usize,
) -> Result<bool, Fault> {
    for (name, value) in one {
        steps.take_for_bytes(name.len())?;
        let Some(other) = two.get(name) else {
            return Ok(false);
        };
        if !Value::of(value)?.equals_at(&Value::of(other)?, steps, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Exact, where a cast of the integer to a double would round. No value is NaN: JSON has none, and none is calculated.
fn order_mixed(int: i64, double: f64) -> Ordering {
    if double >= BEYOND_INTEGERS {
        return Ordering::Less;
    }
    if double < -BEYOND_INTEGERS {
        return Ordering::Greater;
    }
    let whole = double.trunc(); // in range by the lines above
    int.cmp(&(whole as i64))
        .then_with(|| 0.0_f64.total_cmp(&(double - whole + 0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_doubles_are_ordered_exactly() {
        let near = 9_007_199_254_740_993; // 2^53 + 1, which no double holds
        assert_eq!(order_mixed(near, 9_007_199_254_740_992.0), Ordering::Greater);
        assert_eq!(order_mixed(3, 3.5), Ordering::Less);
        assert_eq!(order_mixed(-3, -3.5), Ordering::Greater);
        assert_eq!(order_mixed(i64::MAX, BEYOND_INTEGERS), Ordering::Less);
        assert_eq!(order_mixed(i64::MIN, -BEYOND_INTEGERS), Ordering::Equal);
    }

    #[test]
    fn numbers_that_the_reader_may_have_rounded_are_not_believed() {
        for text in ["18446744073709551615", "-9223372036854775809", "1e300"] {
            let json: Json = serde_json::from_str(text).expect("JSON");
            assert!(matches!(Value::of(&json), Err(Fault::OutOfRange)), "{text}");
        }
    }
}
