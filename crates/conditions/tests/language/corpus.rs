//! Released conditions mean what they meant: no row changes, new ones come at the end of a table.

use conditions::{Fault, Outcome};

use crate::question::{Question, compile};

#[test]
fn conditions_are_true() {
    let sources = [
        // What every question has.
        r#"subject.id == "alice" && subject.type == "user""#,
        r#"resource.id.startsWith("record-") && resource.type == "record" && action.name == "delete""#,
        r#"resource.properties.owner == subject.id"#,
        // Members.
        r#"resource.properties.status == "open""#,
        r#"resource.properties["status"] == 'open'"#,
        r#"context["a-b"] == 7"#,
        "context.map == 1",
        "resource.properties.size.width == 10",
        r#"resource.properties.tags[1] == "q3""#,
        "resource.properties.lines[0].n == 1",
        // Presence.
        "has(resource.properties.status)",
        "!has(resource.properties.closed)",
        "has(subject.properties.manager) && subject.properties.manager == null",
        "has(subject.id) && has(context.ip) && !has(context.port)",
        "!has(resource.properties.closed) || resource.properties.closed == false",
        // Booleans.
        "context.mfa",
        "!(!context.mfa)",
        "!!context.mfa",
        "true && (false || true)",
        "context.mfa ? action.properties.soft : false",
        "resource.properties.closed || true",
        "true || resource.properties.closed",
        "!(resource.properties.closed && false)",
        // Numbers are what they are worth.
        "resource.properties.amount == 250.0",
        "resource.properties.amount < 250.5 && resource.properties.rate > 2",
        "9007199254740993 > 9007199254740992.0",
        "-5 < -4 && -5 % 3 == -2 && -7 / 2 == -3",
        "-9223372036854775808 < 9223372036854775807",
        "0x10 == 16 && 1e2 == 100 && .5 < 1",
        "resource.properties.amount * 2 + 1 == 501",
        "resource.properties.amount * 0.1 == 25.0",
        "resource.properties.rate / 2 == 1.25 && -resource.properties.rate < 0",
        // Different types are unequal, and have no order.
        r#"resource.properties.amount != "250" && null != false && [1] != 1"#,
        r#""a" < "b" && "Z" < "a" && false < true"#,
        // Lists.
        r#"resource.properties.status in ["open", "new"]"#,
        r#""eu" in resource.properties.tags && !("us" in resource.properties.tags)"#,
        r#""width" in resource.properties.size && !("depth" in resource.properties.size) && !(1 in context)"#,
        r#"resource.properties.tags == ["eu", "q3"]"#,
        "[1, 2.0, [3]] == [1.0, 2, [3]]",
        "resource.properties.size == resource.properties.size",
        "size(resource.properties.tags) == 2 && resource.properties.tags.size() == 2",
        r#"size(resource.properties.name) == 5 && "".size() == 0 && size(resource.properties.size) == 2"#,
        "[[1, 2], [3]][0][1] == 2",
        // Loops.
        "subject.properties.teams.exists(team, team in resource.properties.tags)",
        "!subject.properties.teams.all(team, team in resource.properties.tags)",
        "resource.properties.empty.all(x, false) && !resource.properties.empty.exists(x, true)",
        "resource.properties.lines.exists(line, line.n == 2)",
        "!resource.properties.lines.all(line, line.n == 1)",
        "[1, 2, 3].all(n, n > 0) && [1, 2, 3].exists(n, n == 3)",
        // Texts.
        r#"context.ip.startsWith("10.") && context.ip.endsWith(".3") && context.ip.contains("1.2")"#,
        r#"context.ip.startsWith("") && "a" + "b" == "ab""#,
        r#""record-" + string(1) == resource.id && string(true) == "true""#,
        r#"int(context.count) == 12 && double("1.5") == 1.5 && int(2.9) == 2 && int(-2.9) == -2"#,
        "\"\\u00fc\" == \"ü\" && 'a\\'b' == \"a'b\" && r'\\d' == '\\\\d' && '''a'b''' == \"a'b\"",
        // Times, in UTC.
        r#"timestamp(resource.properties.created) == timestamp("2026-11-01T07:00:00Z")"#,
        r#"now - timestamp(resource.properties.created) > duration("24h")"#,
        r#"now < timestamp("2026-12-01T00:00:00Z") && now + duration("6h") > timestamp("2026-12-01T00:00:00Z")"#,
        "now.getDayOfWeek() == 1 && now.getHours() == 18 && now.getMinutes() == 20",
        "now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 30",
        r#"timestamp(0) == timestamp("1970-01-01T00:00:00Z") && int(timestamp("1970-01-01T00:01:00Z")) == 60"#,
        r#"duration("1h30m") == duration("90m") && duration("-1s") < duration("1ms")"#,
        // Over lines, with a comment.
        "context.mfa // a second factor\n  && subject.properties.level >= 3",
        "'a' in [ 'b', 'a', ]",
        // An item is called as it likes, but for the attributes.
        "[1].exists(exists, exists == 1)",
        "context.map == 1 && [true].exists(mfa, mfa)",
    ];
    for source in sources {
        assert_eq!(Question::usual().ask(&compile(source)), Outcome::True, "{source}");
    }
}

#[test]
fn conditions_are_false() {
    let sources = [
        "false",
        r#"resource.properties.status == "closed""#,
        r#"resource.properties.status == 1"#,
        "resource.properties.amount > 250",
        "has(resource.properties.size.depth)",
        r#"subject.properties.teams.all(team, team == "eu")"#,
        "resource.properties.closed && false",
        "false && resource.properties.closed",
        r#""EU" in resource.properties.tags"#,
        "!has(subject.properties)",
    ];
    for source in sources {
        assert_eq!(
            Question::usual().ask(&compile(source)),
            Outcome::False,
            "{source}"
        );
    }
}

#[test]
fn conditions_fail() {
    let sources = [
        ("resource.properties.closed", Fault::Missing),
        ("!resource.properties.closed", Fault::Missing),
        ("resource.properties.closed && true", Fault::Missing),
        ("resource.properties.closed || false", Fault::Missing),
        ("resource.properties.closed != true", Fault::Missing),
        ("has(resource.properties.a.b)", Fault::Missing),
        ("has(resource.properties.status.b)", Fault::WrongType),
        ("subject.properties.manager.id == 1", Fault::WrongType),
        ("resource.properties.tags[2] == 1", Fault::Missing),
        ("resource.properties.tags[-1] == 1", Fault::Missing),
        (r#"resource.properties.tags["0"] == 1"#, Fault::WrongType),
        (r#"resource.properties["no"] == 1"#, Fault::Missing),
        ("resource.properties.status", Fault::WrongType),
        ("resource.properties.amount && true", Fault::WrongType),
        ("resource.properties.status ? true : false", Fault::WrongType),
        (r#"resource.properties.amount < "300""#, Fault::WrongType),
        ("null < 1", Fault::WrongType),
        (r#"1 in resource.properties.status"#, Fault::WrongType),
        ("null in context", Fault::WrongType),
        (
            "resource.properties.status in [resource.properties.closed]",
            Fault::Missing,
        ),
        (
            r#""open" in ["open", resource.properties.closed]"#,
            Fault::Missing,
        ),
        ("resource.properties.huge > 1", Fault::OutOfRange),
        ("9223372036854775807 + 1 > 0", Fault::Arithmetic),
        ("-(-9223372036854775807 - 1) > 0", Fault::Arithmetic),
        ("1 / 0 == 1", Fault::Arithmetic),
        ("1 % 0 == 1", Fault::Arithmetic),
        ("1.0 / 0.0 > 1.0", Fault::Arithmetic),
        ("1e308 * 10.0 > 1.0", Fault::Arithmetic),
        ("5.5 % 2.0 > 1.0", Fault::WrongType),
        ("true + true == 2", Fault::WrongType),
        ("[1] + [2] == [1, 2]", Fault::WrongType),
        ("size(1) == 1", Fault::WrongType),
        ("resource.properties.amount.startsWith('2')", Fault::WrongType),
        ("int('1x') == 1", Fault::BadText),
        ("double('nan') == 1.0", Fault::BadText),
        ("int(1e300) == 1", Fault::Arithmetic),
        ("string(1.5) == '1.5'", Fault::WrongType),
        ("timestamp(context.ip) < now", Fault::BadText),
        ("timestamp(9223372036854775807) < now", Fault::Arithmetic),
        ("now + duration('3000000000h') < now", Fault::Arithmetic),
        ("now + now == now", Fault::WrongType),
        ("now.getHours() == 'x'.getHours()", Fault::WrongType),
        ("context.exists(x, true)", Fault::WrongType),
        ("[1, 'a'].all(x, x > 0)", Fault::WrongType),
        ("[resource.properties.closed].exists(x, true)", Fault::Missing),
        ("resource.properties.lines.all(line, line.n > 0)", Fault::Missing),
    ];
    for (source, fault) in sources {
        let condition = compile(source);
        let outcome = Question::usual().ask(&condition);
        assert!(
            matches!(outcome, Outcome::Failed(failure) if failure.fault == fault),
            "{source}: {outcome:?}"
        );
        assert!(!outcome.gives() && outcome.denies(), "{source}");
    }
}

#[test]
fn a_failure_names_the_member_that_was_looked_for() {
    let condition = compile("resource.properties.closed == true");
    let Outcome::Failed(failure) = Question::usual().ask(&condition) else {
        panic!("there is no such member");
    };
    assert_eq!(failure.to_string(), "there is no such member or item: closed");
}

#[test]
fn a_condition_says_what_it_reads() {
    let rows = [
        ("true", ""),
        ("subject.id == resource.id && now > timestamp(0)", ""),
        (
            "resource.properties.status == 'open' && resource.properties.status != 'x'",
            "resource.properties.status",
        ),
        (
            "has(action.properties.soft) && context.a.b == 1",
            "action.properties.soft context.a",
        ),
        ("subject.properties['role'] == 'x'", "subject.properties.role"),
        (
            "subject.properties[context.name] == 'x'",
            "subject.properties context.name",
        ),
        ("size(context) == 0 && context.a", "context context.a"),
        ("'role' in subject.properties", "subject.properties"),
        (
            "subject.properties.teams.exists(x, x == context.team)",
            "subject.properties.teams context.team",
        ),
    ];
    for (source, reads) in rows {
        let condition = compile(source);
        let found: Vec<String> = condition.reads().iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), reads, "{source}");
    }
}

#[test]
fn a_compiled_condition_is_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let condition = compile("context.mfa");
    shared(&condition);
    assert_eq!(condition.source(), "context.mfa");
}

/// They would be read without being counted.
#[test]
fn long_texts_are_no_numbers_and_no_times() {
    let digits = Question::of_resource(serde_json::json!({ "a": "1".repeat(65) }));
    for function in ["int", "double", "timestamp"] {
        let condition = compile(&format!("{function}(resource.properties.a) == {function}(0)"));
        let outcome = digits.ask(&condition);
        assert!(
            matches!(outcome, Outcome::Failed(failure) if failure.fault == Fault::BadText),
            "{function}: {outcome:?}"
        );
    }
}
