//! What compiling and evaluating conditions costs, beside the crate `cel` in the same run:
//! `cargo run --release -p conditions --example measure`, which prints the table of docs/performance.md.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cel::parser::PrattParser;
use cel::{Context, Env, Value};
use conditions::{Action, Attributes, Condition, Entity, Outcome};
use serde_json::{Value as Json, json};

/// Calls that are timed as one, since a clock reading costs as much as an evaluation.
const BLOCK: u32 = 64;
const DURING: Duration = Duration::from_secs(1);

/// True with [`question`].
const CONDITIONS: [&str; 5] = [
    r#"resource.properties.status == "open""#,
    r#"resource.properties.owner == subject.id"#,
    r#"context.ip.startsWith("10.") && context.mfa"#,
    r#"subject.properties.role == "admin" && has(action.properties.soft) && action.properties.soft"#,
    r#"resource.properties.amount < 1000 && "finance" in resource.properties.tags && subject.properties.level >= 3"#,
];

fn question() -> Json {
    json!({
        "subject": {"type": "user", "id": "018f5f2e-0000-7000-8000-000000000001",
            "properties": {"role": "admin", "department": "sales", "level": 3}},
        "resource": {"type": "record", "id": "record-1", "properties": {
            "status": "open", "owner": "018f5f2e-0000-7000-8000-000000000001", "amount": 250,
            "tags": ["eu", "finance", "internal", "q3"]}},
        "action": {"name": "delete", "properties": {"soft": true}},
        "context": {"ip": "10.1.2.3", "mfa": true, "time": "2026-11-30T18:00:00Z"}
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let question = question();
    println!(
        "| condition | compiled, p50 and p99 | evaluated, p50 and p99 | by `cel`, p50 and p99 | ratio | by `cel`, JSON converted |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for source in CONDITIONS {
        let compiled = time(|| Condition::compile(black_box(source)).is_ok());
        let condition = Condition::compile(source)?;
        let attributes = attributes(&question);
        assert_eq!(condition.evaluate(&attributes), Outcome::True);
        let ours = time(|| condition.evaluate(black_box(&attributes)));
        let parsed = PrattParser::new().parse(source)?;
        let env = Arc::new(Env::default().with_optional_support(false).with_stdlib());
        let ready = context(&env, &question)?;
        assert_eq!(Value::resolve(&parsed, &ready), Ok(Value::Bool(true)));
        let theirs = time(|| Value::resolve(black_box(&parsed), &ready));
        let converted = time(|| context(&env, &question).map(|ready| Value::resolve(&parsed, &ready)));
        println!(
            "| `{source}` | {} | {} | {} | {:.2} | {} |",
            shown(compiled),
            shown(ours),
            shown(theirs),
            ours.0 / theirs.0,
            shown(converted),
        );
    }
    hostile_attributes()?;
    hostile_sources();
    Ok(())
}

fn attributes(question: &Json) -> Attributes<'_> {
    let text = |pointer: &str| {
        question
            .pointer(pointer)
            .and_then(Json::as_str)
            .unwrap_or_default()
    };
    let object = |pointer: &str| question.pointer(pointer).and_then(Json::as_object);
    Attributes {
        subject: Entity {
            kind: text("/subject/type"),
            id: text("/subject/id"),
            properties: object("/subject/properties"),
        },
        resource: Entity {
            kind: text("/resource/type"),
            id: text("/resource/id"),
            properties: object("/resource/properties"),
        },
        action: Action {
            name: text("/action/name"),
            properties: object("/action/properties"),
        },
        context: object("/context"),
        now: chrono::DateTime::UNIX_EPOCH,
    }
}

fn context<'v>(env: &Arc<Env>, question: &Json) -> Result<Context<'static, 'v>, Box<dyn Error>> {
    let mut context = Context::with_env(Arc::clone(env));
    for name in ["subject", "resource", "action", "context"] {
        context
            .add_variable(name, &question[name])
            .map_err(|error| error.to_string())?;
    }
    Ok(context)
}

/// Evaluations that use up all their steps, each in its own way.
fn hostile_attributes() -> Result<(), Box<dyn Error>> {
    println!("\n| evaluation that takes as long as it may | outcome | p50 and p99 |\n| --- | --- | --- |");
    let long = format!("{}b", "a".repeat(600_000));
    let many: Vec<u32> = (0..9_000).collect();
    let strings: Vec<String> = (0..4_000).map(|n| format!("{n:032}")).collect();
    let question = json!({"context": {"long": long, "same": long, "many": many, "strings": strings, "long_items": vec!["x".repeat(600); 1_000]}});
    let attributes = attributes(&question);
    for source in [
        "context.long == context.same",
        "context.long.contains('aaaaaaaaaaaaaaac')",
        "size(context.long) > 0",
        "-1 in context.many",
        "context.many.all(x, x >= 0 && x < 100000)",
        "context.strings.exists(x, x.startsWith('1') && x.endsWith('1'))",
        "context.long_items.exists(x, int(x) == 0)",
        "size(context.long + context.long + context.long) > 0",
        "context.many == context.many && context.strings == context.strings",
    ] {
        let condition = Condition::compile(source)?;
        let outcome = condition.evaluate(&attributes);
        let (p50, p99) = time_each(|| condition.evaluate(black_box(&attributes)));
        println!("| `{source}` | {outcome:?} | {} |", shown((p50, p99)));
    }
    Ok(())
}

/// As large as sources may be, and as many tokens as the fence lets through.
fn hostile_sources() {
    let motifs = [
        "!",
        "-",
        "!-",
        "(",
        "[",
        "true?true:",
        "1+",
        "true&&",
        ".a",
        "[0]",
        "f(",
        "a.f(",
        ".f()",
        ".size()",
        ".exists(x,true)",
        "'",
        "\n",
        "true||!(false)&&",
        "!!(!!!!!!(!!!!(((((!!(!!(!!!!((",
    ];
    let sources = motifs.iter().flat_map(|motif| {
        [30, 60, 120, 1_000].into_iter().flat_map(move |times| {
            let many = motif.repeat(times.min(1_000 / motif.len()));
            let closed = format!("{many}true{}", ")".repeat(times.min(20)));
            [
                many.clone(),
                format!("{many}true"),
                format!("context{many}"),
                closed,
            ]
        })
    });
    let measured: Vec<(f64, f64, bool, String)> = sources
        .map(|source| {
            let is_condition = Condition::compile(&source).is_ok();
            let (p50, p99) = measure(1, DURING / 20, &mut || {
                Condition::compile(black_box(&source)).is_ok()
            });
            (p50, p99, is_condition, source)
        })
        .collect();
    println!(
        "\n| the slowest of {} hostile sources | begins with | p50 and p99 |\n| --- | --- | --- |",
        measured.len()
    );
    for (is_condition, outcome) in [(true, "compiled"), (false, "refused")] {
        let slowest = measured
            .iter()
            .filter(|(_, _, compiled, _)| *compiled == is_condition)
            .max_by(|one, two| one.0.total_cmp(&two.0));
        if let Some((p50, p99, _, source)) = slowest {
            let beginning: String = source.chars().take(24).collect();
            println!(
                "| to be {outcome} | `{}` | {} |",
                beginning.escape_debug(),
                shown((*p50, *p99))
            );
        }
    }
}

/// p50 and p99 of the mean of a block, in nanoseconds.
fn time<T>(mut once: impl FnMut() -> T) -> (f64, f64) {
    measure(BLOCK, DURING, &mut once)
}

fn time_each<T>(mut once: impl FnMut() -> T) -> (f64, f64) {
    measure(1, DURING / 5, &mut once)
}

fn measure<T>(block: u32, during: Duration, once: &mut impl FnMut() -> T) -> (f64, f64) {
    let mut blocks = Vec::new();
    let began = Instant::now();
    while began.elapsed() < during {
        let block_began = Instant::now();
        for _ in 0..block {
            black_box(once());
        }
        blocks.push(block_began.elapsed().as_secs_f64() * 1e9 / f64::from(block));
    }
    blocks.sort_by(f64::total_cmp);
    let at = |share: usize| {
        blocks
            .get(blocks.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    (at(50), at(99))
}

fn shown((p50, p99): (f64, f64)) -> String {
    format!("{:.2} us, {:.2} us", p50 / 1e3, p99 / 1e3)
}
