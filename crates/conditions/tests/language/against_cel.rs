//! Conditions mean what CEL means: the same sources are evaluated by the crate whose parser they are read with.
//!
//! Left out is what differs on purpose: numbers of JSON are added up whether they are integers or not, what is no
//! finite number fails, and only texts are concatenated.

use std::collections::HashMap;
use std::sync::Arc;

use cel::parser::PrattParser;
use cel::{Context, Env, Value};
use conditions::{Condition, Outcome, Problem};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::question::Question;

/// With what every expression of [`condition`] may read.
pub fn question() -> impl Strategy<Value = Question> {
    let scalar = || {
        prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            (-3_i64..4).prop_map(Json::from),
            "[ab]{0,2}".prop_map(Json::from),
        ]
    };
    let list = prop::collection::vec(scalar(), 0..4);
    let map = prop::collection::hash_map("[ab]", scalar(), 0..3);
    (scalar(), scalar(), list, map, any::<bool>()).prop_map(|(one, two, list, map, flag)| {
        Question(json!({
            "subject": {"type": "user", "id": "ab", "properties": {"one": one}},
            "resource": {"type": "record", "id": "b", "properties": {"list": list, "map": map, "half": 1.5}},
            "action": {"name": "a", "properties": {"flag": flag}},
            "context": {"two": two},
        }))
    })
}

/// A source that is not always a condition.
pub fn condition() -> impl Strategy<Value = String> {
    let atom = prop::sample::select(
        &[
            "subject.properties.one",
            "context.two",
            "resource.properties.map.a",
            "resource.properties.missing",
            "action.properties.flag",
            "subject.id",
            "resource.properties.list[0]",
            "resource.properties.map['b']",
            "0",
            "1",
            "-2",
            "'a'",
            "'ab'",
            "true",
            "false",
            "null",
        ][..],
    );
    let list = prop::sample::select(
        &[
            "resource.properties.list",
            "resource.properties.map",
            "[1, 'a', null]",
            "[subject.properties.one, context.two]",
            "[]",
            "subject.id",
        ][..],
    );
    let any = prop_oneof![
        4 => atom.clone().prop_map(str::to_owned),
        1 => list.clone().prop_map(str::to_owned),
        1 => Just("resource.properties.half".to_owned()),
        1 => Just("1.5".to_owned()),
    ];
    let sum = (
        atom.clone(),
        prop::sample::select(&["+", "-", "*", "/", "%"][..]),
        atom,
    )
        .prop_map(|(one, operator, two)| format!("({one} {operator} {two})"));
    let value = prop_oneof![3 => any, 1 => sum];
    let compared = (
        value.clone(),
        prop::sample::select(&["==", "!=", "<", "<=", ">", ">="][..]),
        value.clone(),
    )
        .prop_map(|(one, operator, two)| format!("{one} {operator} {two}"));
    let contained = (value.clone(), list.clone()).prop_map(|(one, list)| format!("{one} in {list}"));
    let called = (
        value.clone(),
        prop::sample::select(&["startsWith", "endsWith", "contains"][..]),
        value.clone(),
    )
        .prop_map(|(one, function, two)| format!("({one}).{function}({two})"));
    let sized = list.prop_map(|list| format!("size({list}) > 1"));
    let present = prop::sample::select(
        &[
            "has(resource.properties.map.a)",
            "has(resource.properties.missing.a)",
            "has(context.two)",
            "has(context.two.a)",
        ][..],
    )
    .prop_map(str::to_owned);
    let looped = (
        prop::sample::select(&["exists", "all"][..]),
        prop::sample::select(&["resource.properties.list", "[1, 'a', context.two]", "['a', 'b']"][..]),
        prop::sample::select(
            &[
                "x == context.two",
                "x > 0",
                "x.startsWith('a')",
                "x",
                "x in resource.properties.map",
                "x == 1 || x + 1 == 2",
            ][..],
        ),
    )
        .prop_map(|(name, list, body)| format!("{list}.{name}(x, {body})"));
    let leaf = prop_oneof![
        value.prop_map(|value| format!("({value})")),
        compared.prop_map(|text| format!("({text})")),
        contained.prop_map(|text| format!("({text})")),
        called,
        sized.prop_map(|text| format!("({text})")),
        present,
        looped,
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} && {two})")),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one} || {two})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(one, two, three)| format!("({one} ? {two} : {three})")),
            inner.prop_map(|one| format!("!{one}")),
        ]
    })
}

/// As conditions take JSON: integers stay integers.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().expect("a double")),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        Json::Object(members) => {
            let members: HashMap<String, Value> = members
                .iter()
                .map(|(name, member)| (name.clone(), value(member)))
                .collect();
            members.into()
        }
    }
}

fn by_cel(source: &str, question: &Question) -> Option<bool> {
    let parsed = PrattParser::new().parse(source).expect("what compiled is parsed");
    let env = Env::default().with_optional_support(false).with_stdlib();
    let mut context = Context::with_env(Arc::new(env));
    for name in ["subject", "resource", "action", "context"] {
        context.add_variable_from_value(name, value(&question.0[name]));
    }
    match Value::resolve(&parsed, &context) {
        Ok(Value::Bool(value)) => Some(value),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn conditions_mean_what_cel_means(source in condition(), question in question()) {
        let condition = match Condition::compile(&source) {
            Ok(condition) => condition,
            Err(error) => {
                prop_assert!(
                    matches!(error.problem, Problem::NotBoolean | Problem::TooLong | Problem::TooManyTokens
                        | Problem::TooManyBrackets | Problem::TooDeep),
                    "{}: {}", source, error
                );
                return Ok(());
            }
        };
        let ours = match question.ask(&condition) {
            Outcome::True => Some(true),
            Outcome::False => Some(false),
            Outcome::Failed(_) => None,
        };
        prop_assert_eq!(ours, by_cel(&source, &question), "{} with {}", source, question.0);
    }
}
