//! What is no condition, and what its writer is told.

use conditions::{Condition, Problem};

#[test]
fn errors_say_what_and_where() {
    let rows = [
        ("", "line 1, column 1: a condition is not empty"),
        (" \n // nothing", "line 1, column 1: a condition is not empty"),
        (
            "user.id == 1",
            "line 1, column 1: `user` is unknown; there are subject, resource, action, context and now",
        ),
        (
            "true &&\n  usr == 1",
            "line 2, column 3: `usr` is unknown; there are subject, resource, action, context and now",
        ),
        (
            "'ü' == 'ü' && x",
            "line 1, column 15: `x` is unknown; there are subject, resource, action, context and now",
        ),
        (
            "subject.role == 'admin'",
            "line 1, column 9: subject has no `role`, only id, type and properties; attributes stand in its properties",
        ),
        (
            "action.id == 'read'",
            "line 1, column 8: action has no `id`, only name and properties; attributes stand in its properties",
        ),
        (
            "subject == resource",
            "line 1, column 1: `subject` is read by its members: subject.id, subject.properties.role",
        ),
        (
            "'a' < subject['id']",
            "line 1, column 7: `subject` is read by its members: subject.id, subject.properties.role",
        ),
        (
            "context.a.matches('a')",
            "line 1, column 11: regular expressions are not part of conditions",
        ),
        (
            "context.a.map(x, x) == []",
            "line 1, column 11: exists_one, map and filter are not part of conditions",
        ),
        (
            "context.a.lower() == 'a'",
            "line 1, column 11: there is no function `lower` that is called like this",
        ),
        (
            "size(1, 2) == 1",
            "line 1, column 1: there is no function `size` that is called like this",
        ),
        (
            "'a'.int() == 1",
            "line 1, column 5: there is no function `int` that is called like this",
        ),
        (
            "_a(1)",
            "line 1, column 1: there is no function `_a` that is called like this",
        ),
        (
            "context.a == {'b': 1}",
            "line 1, column 14: maps and messages, `{`, are not part of conditions",
        ),
        (
            "context.a == 1u",
            "line 1, column 14: unsigned integers are not part of conditions",
        ),
        (
            "context.a == b'x'",
            "line 1, column 14: bytes are not part of conditions",
        ),
        (
            "context.`a b` == 1",
            "line 1, column 9: quoted names are not part of conditions",
        ),
        (
            "[[1]].exists(x, x.exists(y, y == 1))",
            "line 1, column 19: exists and all do not stand within one another",
        ),
        (
            "[1].exists(now, now == 1)",
            "line 1, column 12: items that are called as an attribute are not part of conditions",
        ),
        (
            "[1].exists(x, x == 1) && x == 1",
            "line 1, column 26: `x` is unknown; there are subject, resource, action, context and now",
        ),
        (
            "timestamp('yesterday') < now",
            "line 1, column 1: a timestamp is written 2026-01-31T12:00:00Z",
        ),
        (
            "now - now < duration('1 day')",
            "line 1, column 13: a duration is written 1h30m, 45s or 300ms",
        ),
        (
            "now - now < duration(context.d)",
            "line 1, column 13: duration takes a literal, as 1h30m",
        ),
        (
            "'admin'",
            "line 1, column 1: a condition is true or false, and this is neither",
        ),
        (
            "1 + 1",
            "line 1, column 1: a condition is true or false, and this is neither",
        ),
        (
            "context.a ? 1 : true",
            "line 1, column 1: a condition is true or false, and this is neither",
        ),
        (
            "subject.id",
            "line 1, column 1: a condition is true or false, and this is neither",
        ),
        (
            "context.a = 1",
            "line 1, column 11: Syntax error: mismatched input '=' expecting <EOF>",
        ),
        (
            "context.a == 'b",
            "line 1, column 14: unterminated string literal",
        ),
        (
            "context.a & true",
            "line 1, column 11: unexpected single '&', expected '&&'",
        ),
        ("context.é == 1", "line 1, column 9: unexpected character"),
        (
            "context.a == 9223372036854775808",
            "line 1, column 14: invalid int literal",
        ),
    ];
    for (source, message) in rows {
        let error = Condition::compile(source).expect_err(source);
        assert_eq!(error.to_string(), message, "{source}");
    }
}

#[test]
fn broken_sources_are_refused() {
    let sources = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "!",
        "-",
        ".",
        "?",
        ":",
        ",",
        "'",
        "\"",
        "a.",
        "a..b",
        "1 +",
        "== 1",
        "true true",
        "true ? false",
        "true ? : false",
        "f(",
        "f(,)",
        "f(1,)",
        "[1,,2] == 1",
        "[?context.a] == []",
        "context.?a == 1",
        "context[?'a'] == 1",
        "has(context)",
        "has(1)",
        "has(context.a, context.b)",
        "has()",
        "in in in",
        "if",
        "null",
        ".context.a == 1",
        "context.1",
        "context.'a'",
        "1.exists(1, true)",
        "[1].exists(x.y, true)",
        "[1].exists(x)",
        "r'",
        "\\",
        "#",
        "@result",
        "__result__",
        "\u{0}",
        "true\u{0}",
        "\u{feff}true",
        "a\u{301} == 1",
        "1e",
        "0x",
        "1_000",
        "'\\q' == 'a'",
        "'\\ud800' == 'a'",
        "context.a !== 1",
        "true and false",
        "context.a.b.",
        "size",
        "true;",
        "`",
        "```",
    ];
    for source in sources {
        let error = Condition::compile(source).expect_err(source);
        assert_eq!(error.place.line, 1, "{source}: {error}");
        assert!(
            error.place.column <= source.chars().count() + 1,
            "{source}: {error}"
        );
        assert!(!error.problem.to_string().is_empty(), "{source}");
    }
}

#[test]
fn sizes_are_bounded() {
    let long = format!("context.a == '{}'", "x".repeat(1_024 - 15));
    assert!(Condition::compile(&long).is_ok(), "1,024 bytes");
    let rows = [
        (format!("{long} "), Problem::TooLong),
        ("true".to_owned() + &"&&true".repeat(128), Problem::TooManyTokens),
        (
            "(".repeat(17) + "true" + &")".repeat(17),
            Problem::TooManyBrackets,
        ),
        ("true?true:".repeat(9) + "true", Problem::TooManyChoices),
        ("context".to_owned() + &".a".repeat(40), Problem::TooDeep),
        ("1".to_owned() + &"+1".repeat(40) + "==1", Problem::TooDeep),
    ];
    for (source, problem) in rows {
        let error = Condition::compile(&source).expect_err(&source);
        assert_eq!(error.problem, problem, "{source}");
    }
    let within = [
        "true".to_owned() + &"&&true".repeat(127),
        "(".repeat(16) + "true" + &")".repeat(16),
        "true?true:".repeat(8) + "true",
        "context".to_owned() + &".a".repeat(30),
    ];
    for source in within {
        assert!(
            Condition::compile(&source).is_ok(),
            "{source}: {:?}",
            Condition::compile(&source)
        );
    }
}
