//! Sources and attributes that mean harm. Whatever they are, compiling stays within the stack that a task has, and
//! evaluating within the steps.

use conditions::limits::{MAX_SOURCE_BYTES, MAX_TOKENS};
use conditions::{Condition, Fault, Outcome};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::question::{Question, compile};

/// A quarter of what threads of the services have.
const STACK: usize = 512 * 1_024;

/// An overflow ends the process, and so the test.
fn on_a_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, run)
            .expect("a thread")
            .join()
            .expect("no panic");
    });
}

/// Repeated, they fill a source of any size.
const MOTIFS: [&str; 40] = [
    "!",
    "-",
    "!-",
    "(",
    "[",
    "{",
    "(!",
    "[[",
    "{1:",
    "true?",
    "true?true:",
    "true?(true:",
    "1+",
    "1*-",
    "true&&",
    "true||!",
    ".a",
    "[0]",
    "f(",
    "a.f(",
    ".f()",
    ".size()",
    "has(",
    "[1].all(x,",
    "[1].exists(x,[1].all(y,",
    ".exists(x,true)",
    "'",
    "\"",
    "'''",
    "r'",
    "b'",
    "`",
    "//",
    "\n",
    "\\",
    "a",
    "9",
    "é",
    "in",
    "!!(!!!!!!(!!!!(((((!!(!!(!!!!((",
];

#[test]
fn repeated_motifs_are_compiled_or_refused() {
    on_a_small_stack(|| {
        for motif in MOTIFS {
            for size in [16, 100, 200, MAX_SOURCE_BYTES, 1_000_000] {
                let many = motif.repeat(size / motif.len());
                for source in [
                    many.clone(),
                    format!("{many}true"),
                    format!("context{many}"),
                    format!("{many}true{}", ")".repeat(size / motif.len())),
                    format!("{many}true{}", "]".repeat(size / motif.len())),
                ] {
                    let compiled = Condition::compile(&source);
                    let is_large = source.len() > MAX_SOURCE_BYTES;
                    assert!(!is_large || compiled.is_err(), "{motif} {size}");
                    if let Ok(condition) = compiled {
                        Question::usual().ask(&condition);
                    }
                }
            }
        }
    });
}

/// The widest and deepest that are accepted.
#[test]
fn the_largest_conditions_are_evaluated() {
    on_a_small_stack(|| {
        let sources = [
            "true".to_owned() + &"&&true".repeat(MAX_TOKENS / 2 - 1),
            format!("{}context.mfa{}", "!(".repeat(14), ")".repeat(14)),
            format!("{}1{} == 1", "[".repeat(15), "][0]".repeat(15)),
            "1".to_owned() + &"+1".repeat(29) + " == 30",
            "false?true:".repeat(8) + "true",
        ];
        for source in sources {
            let outcome = Condition::compile(&source)
                .map(|condition| Question::usual().ask(&condition) != Outcome::False);
            assert_eq!(outcome, Ok(true), "{source}");
        }
    });
}

fn assert_too_costly(source: &str, properties: Json) {
    let condition = compile(source);
    let question = Question::of_resource(properties);
    let outcome = question.ask(&condition);
    assert!(
        matches!(outcome, Outcome::Failed(failure) if failure.fault == Fault::TooCostly),
        "{source}: {outcome:?}"
    );
}

#[test]
fn attributes_that_would_cost_too_much_fail() {
    let long = "a".repeat(1_000_000);
    let many: Vec<u32> = (0..100_000).collect();
    assert_too_costly(
        "resource.properties.a == resource.properties.b",
        json!({"a": long, "b": long}),
    );
    assert_too_costly(
        "resource.properties.a < resource.properties.b",
        json!({"a": long, "b": long}),
    );
    assert_too_costly("resource.properties.a.contains('b')", json!({"a": long}));
    assert_too_costly("size(resource.properties.a) > 0", json!({"a": long}));
    assert_too_costly(
        "resource.properties.a + resource.properties.a == ''",
        json!({"a": long}),
    );
    assert_too_costly("-1 in resource.properties.a", json!({"a": many}));
    assert_too_costly("resource.properties.a.exists(x, x < 0)", json!({"a": many}));
    assert_too_costly(
        "resource.properties.a.all(x, x in resource.properties.a)",
        json!({"a": many}),
    );
    assert_too_costly(
        "resource.properties.a == resource.properties.b",
        json!({"a": many, "b": many}),
    );
}

/// Adding a text up again and again makes no more of it than the steps allow.
#[test]
fn texts_do_not_grow_without_bound() {
    let sum = ["resource.properties.a"; 25].join(" + ");
    assert_too_costly(&format!("size({sum}) > 0"), json!({"a": "a".repeat(20_000)}));
}

#[test]
fn deep_attributes_are_not_followed_without_end() {
    on_a_small_stack(|| {
        // As deep as the reader of requests lets through.
        let deep: Json = serde_json::from_str(&("[".repeat(120) + &"]".repeat(120))).expect("JSON");
        assert_too_costly(
            "resource.properties.a == resource.properties.b",
            json!({"a": deep, "b": deep}),
        );
    });
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map("[a-d]", inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn question() -> impl Strategy<Value = Question> {
    let properties = || prop::collection::hash_map("[a-d]", json(), 0..5);
    (properties(), properties(), properties(), properties(), ".{0,8}").prop_map(
        |(subject, resource, action, context, id)| {
            Question(json!({
                "subject": {"type": "user", "id": id, "properties": subject},
                "resource": {"type": "record", "id": "record-1", "properties": resource},
                "action": {"name": "read", "properties": action},
                "context": context,
            }))
        },
    )
}

/// Words of the language in any order: much of it is refused, but late.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(
        &[
            "subject.id",
            "subject.properties.a",
            "resource.properties.b",
            "context.c",
            "context",
            "now",
            "x",
            "has(",
            "size(",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ".a",
            ".exists(x,",
            ".all(x,",
            "&&",
            "||",
            "!",
            "?",
            ":",
            "==",
            "<",
            " in ",
            "+",
            "-",
            "*",
            "/",
            "%",
            "1",
            "0.5",
            "'a'",
            "true",
            "null",
            ",",
            ".",
            "timestamp(",
            "int(",
            "'",
            "\"",
            "\\",
            "//",
            "\n",
            "é",
        ][..],
    );
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// Neither panics, and what is refused is refused within the source.
fn compile_and_ask(source: &str, question: &Question) {
    match Condition::compile(source) {
        Ok(condition) => {
            question.ask(&condition);
            assert!(source.len() <= MAX_SOURCE_BYTES);
        }
        Err(error) => {
            assert!(
                error.place.line >= 1 && error.place.line <= source.split('\n').count(),
                "{error}"
            );
            assert!(!error.to_string().is_empty());
        }
    }
}

/// What it reads, and nothing else.
fn pruned(question: &Question, condition: &Condition) -> Question {
    let mut left = json!({});
    for read in condition.reads() {
        let pointer = match read.root {
            conditions::Root::Subject => "/subject/properties",
            conditions::Root::Resource => "/resource/properties",
            conditions::Root::Action => "/action/properties",
            conditions::Root::Context => "/context",
        };
        let all = question.0.pointer(pointer).cloned().unwrap_or_default();
        match &read.member {
            None => left[pointer] = all,
            Some(member) => {
                if let Some(value) = all.get(member.as_ref()) {
                    left[pointer][member.as_ref()] = value.clone();
                }
            }
        }
    }
    let mut question = Question(question.0.clone());
    for pointer in [
        "/subject/properties",
        "/resource/properties",
        "/action/properties",
        "/context",
    ] {
        if let Some(place) = question.0.pointer_mut(pointer) {
            *place = left[pointer].clone();
        }
    }
    question
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_sources_and_attributes_never_panic(source in ".{0,1500}", question in question()) {
        on_a_small_stack(|| compile_and_ask(&source, &question));
    }

    #[test]
    fn words_of_the_language_never_panic(source in soup(), question in question()) {
        on_a_small_stack(|| compile_and_ask(&source, &question));
    }
}

proptest! {
    #[test]
    fn nothing_but_what_is_said_to_be_read_is_read(
        source in crate::against_cel::condition(),
        question in crate::against_cel::question(),
    ) {
        if let Ok(condition) = Condition::compile(&source) {
            prop_assert_eq!(question.ask(&condition), pruned(&question, &condition).ask(&condition), "{}", source);
        }
    }
}
