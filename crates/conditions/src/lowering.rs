//! From what the parser found to what is evaluated: only what is allowed, with all names resolved.
//!
//! The parser does not say where a part stood. Both the identifiers of the source and this walk are in the order of
//! the source, so each part that has a name takes the next identifier, which says where it stands.

use std::collections::BTreeSet;
use std::vec;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use crate::error::{ConditionError, Place, Problem};
use crate::fence::Name;
use crate::functions;
use crate::limits::MAX_DEPTH;
use crate::node::{Comparison, Function, Given, Node, Operator, Quantifier};
use crate::reads::{Read, Root};
use crate::value::Value;

/// The condition, and what it reads.
pub(crate) fn lower(
    source: &str,
    names: Vec<Name<'_>>,
    expression: &IdedExpr,
) -> Result<(Node, BTreeSet<Read>), ConditionError> {
    let mut lowering = Lowering {
        source,
        names: names.into_iter(),
        at: 0,
        depth: 0,
        item: None,
        reads: BTreeSet::new(),
    };
    let node = lowering.whole(expression)?;
    if !may_be_boolean(&node) {
        lowering.at = 0;
        return Err(lowering.problem(Problem::NotBoolean));
    }
    Ok((node, lowering.reads))
}

struct Lowering<'s> {
    source: &'s str,
    names: vec::IntoIter<Name<'s>>,
    /// Of the newest name.
    at: usize,
    depth: usize,
    /// What the loop calls its item.
    item: Option<String>,
    reads: BTreeSet<Read>,
}

type Lowered = Result<Node, ConditionError>;

impl Lowering<'_> {
    fn problem(&self, problem: Problem) -> ConditionError {
        ConditionError {
            place: Place::of(self.source, self.at),
            problem,
        }
    }

    /// The part that is lowered next has this name.
    fn name(&mut self, text: &str) -> Result<(), ConditionError> {
        match self.names.next() {
            Some(name) if name.text == text.trim_start_matches('.') => {
                self.at = name.offset;
                Ok(())
            }
            _ => Err(self.problem(Problem::Syntax(format!("`{text}` is not where it is written")))),
        }
    }

    /// A value that is read as a whole.
    fn whole(&mut self, expression: &IdedExpr) -> Lowered {
        let node = self.part(expression)?;
        if let Node::Given(Given::Properties(root)) = node {
            self.reads.insert(Read { root, member: None });
        }
        Ok(node)
    }

    /// A value of which only a member may be read.
    fn part(&mut self, expression: &IdedExpr) -> Lowered {
        if self.depth == MAX_DEPTH {
            return Err(self.problem(Problem::TooDeep));
        }
        self.depth += 1;
        let node = match &expression.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) if call.target.is_none() && !starts_as_name(&call.func_name) => {
                self.operation(call)
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) if list.optional_indices.is_empty() => Ok(Node::List(self.all(&list.elements)?)),
            Expr::List(_) => Err(self.problem(Problem::NotPartOf("optional values"))),
            Expr::Map(_) | Expr::Struct(_) => Err(self.problem(Problem::NotPartOf("maps and messages"))),
            Expr::Unspecified => Err(self.problem(Problem::Syntax("an expression is missing".to_owned()))),
        }?;
        self.depth -= 1;
        Ok(node)
    }

    fn all(&mut self, expressions: &[IdedExpr]) -> Result<Box<[Node]>, ConditionError> {
        expressions
            .iter()
            .map(|expression| self.whole(expression))
            .collect()
    }

    fn literal(&self, literal: &LiteralValue) -> Lowered {
        Ok(Node::Constant(match literal {
            LiteralValue::Null => Value::Null,
            LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
            LiteralValue::Int(value) => Value::Int(*value.inner()),
            LiteralValue::Double(value) => Value::Double(*value.inner()),
            LiteralValue::String(text) => Value::Text(text.inner().to_owned().into()),
            LiteralValue::Bytes(_) => return Err(self.problem(Problem::NotPartOf("bytes"))),
            LiteralValue::UInt(_) => return Err(self.problem(Problem::NotPartOf("unsigned integers"))),
        }))
    }

    fn identifier(&mut self, name: &str) -> Lowered {
        self.name(name)?;
        if self.item.as_deref() == Some(name) {
            return Ok(Node::Item);
        }
        match name {
            "context" => Ok(Node::Given(Given::Properties(Root::Context))),
            "now" => Ok(Node::Given(Given::Now)),
            "subject" => Err(self.problem(Problem::WholeEntity("subject"))),
            "resource" => Err(self.problem(Problem::WholeEntity("resource"))),
            "action" => Err(self.problem(Problem::WholeEntity("action"))),
            _ => Err(self.problem(Problem::UnknownName(name.to_owned()))),
        }
    }

    fn select(&mut self, select: &SelectExpr) -> Lowered {
        if select.test {
            self.name("has")?;
        }
        if let Expr::Ident(name) = &select.operand.expr
            && self.item.as_deref() != Some(name)
            && let Some(entity) = Entity::find(name)
        {
            self.name(name)?;
            self.name(&select.field)?;
            let given = entity.member(&select.field).ok_or_else(|| {
                self.problem(Problem::UnknownMember {
                    of: entity.name,
                    has: entity.has,
                    name: select.field.clone(),
                })
            })?;
            // They are there whatever was asked.
            return Ok(if select.test {
                Node::Constant(Value::Bool(true))
            } else {
                Node::Given(given)
            });
        }
        let operand = self.part(&select.operand)?;
        self.name(&select.field)?;
        self.reads_member(&operand, Some(&select.field));
        let (operand, field) = (Box::new(operand), select.field.as_str().into());
        Ok(if select.test {
            Node::Has(operand, field)
        } else {
            Node::Field(operand, field)
        })
    }

    fn reads_member(&mut self, of: &Node, member: Option<&str>) {
        if let Node::Given(Given::Properties(root)) = of {
            self.reads.insert(Read {
                root: *root,
                member: member.map(Into::into),
            });
        }
    }

    fn operation(&mut self, call: &CallExpr) -> Lowered {
        match call.args.as_slice() {
            [one] => {
                let one = Box::new(self.whole(one)?);
                match call.func_name.as_str() {
                    operators::LOGICAL_NOT => Ok(Node::Not(one)),
                    operators::NEGATE => Ok(Node::Negate(one)),
                    _ => Err(self.unknown(call)),
                }
            }
            [of, index] if call.func_name == operators::INDEX => {
                let of = self.part(of)?;
                let index = self.whole(index)?;
                let member = match &index {
                    Node::Constant(Value::Text(name)) => Some(name.as_ref()),
                    _ => None,
                };
                self.reads_member(&of, member);
                Ok(Node::Index(Box::new([of, index])))
            }
            [one, two] => {
                let both = Box::new([self.whole(one)?, self.whole(two)?]);
                Ok(match call.func_name.as_str() {
                    operators::LOGICAL_AND => Node::And(both),
                    operators::LOGICAL_OR => Node::Or(both),
                    operators::EQUALS => Node::Equal(both),
                    operators::NOT_EQUALS => Node::Unequal(both),
                    operators::LESS => Node::Compare(Comparison::Less, both),
                    operators::LESS_EQUALS => Node::Compare(Comparison::LessOrEqual, both),
                    operators::GREATER => Node::Compare(Comparison::Greater, both),
                    operators::GREATER_EQUALS => Node::Compare(Comparison::GreaterOrEqual, both),
                    operators::IN => Node::In(both),
                    operators::ADD => Node::Arithmetic(Operator::Add, both),
                    operators::SUBSTRACT => Node::Arithmetic(Operator::Subtract, both),
                    operators::MULTIPLY => Node::Arithmetic(Operator::Multiply, both),
                    operators::DIVIDE => Node::Arithmetic(Operator::Divide, both),
                    operators::MODULO => Node::Arithmetic(Operator::Remainder, both),
                    _ => return Err(self.unknown(call)),
                })
            }
            [condition, one, two] if call.func_name == operators::CONDITIONAL => {
                Ok(Node::Choose(Box::new([
                    self.whole(condition)?,
                    self.whole(one)?,
                    self.whole(two)?,
                ])))
            }
            _ => Err(self.unknown(call)),
        }
    }

    fn unknown(&self, call: &CallExpr) -> ConditionError {
        self.problem(Problem::UnknownFunction(call.func_name.clone()))
    }

    fn call(&mut self, call: &CallExpr) -> Lowered {
        let target = match &call.target {
            Some(target) => Some(self.whole(target)?),
            None => None,
        };
        self.name(&call.func_name)?;
        let at = self.at;
        let function = Function::find(&call.func_name, target.is_some(), call.args.len())
            .ok_or_else(|| self.unknown(call))?;
        let mut arguments: Vec<Node> = target.into_iter().collect();
        arguments.extend(self.all(&call.args)?);
        self.at = at;
        match (function, arguments.as_slice()) {
            (Function::Timestamp, [Node::Constant(Value::Text(text))]) => functions::timestamp(text)
                .map(|time| Node::Constant(Value::Time(time)))
                .map_err(|_| self.problem(Problem::Literal("a timestamp is written 2026-01-31T12:00:00Z"))),
            (Function::Duration, [Node::Constant(Value::Text(text))]) => functions::duration(text)
                .map(|span| Node::Constant(Value::Span(span)))
                .ok_or_else(|| self.problem(Problem::Literal("a duration is written 1h30m, 45s or 300ms"))),
            (Function::Duration, _) => {
                Err(self.problem(Problem::Literal("duration takes a literal, as 1h30m")))
            }
            _ => Ok(Node::Call(function, arguments.into())),
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Lowered {
        let over = self.whole(&comprehension.iter_range)?;
        let unknown = || Problem::NotPartOf("loops other than exists and all");
        let Expr::Call(step) = &comprehension.loop_step.expr else {
            return Err(self.problem(unknown()));
        };
        let (quantifier, name) = match step.func_name.as_str() {
            operators::LOGICAL_OR => (Quantifier::Exists, operators::EXISTS),
            operators::LOGICAL_AND => (Quantifier::All, operators::ALL),
            _ => return Err(self.problem(unknown())),
        };
        let [accumulated, body] = step.args.as_slice() else {
            return Err(self.problem(unknown()));
        };
        if accumulated.expr != Expr::Ident(comprehension.accu_var.clone())
            || comprehension.iter_var2.is_some()
        {
            return Err(self.problem(unknown()));
        }
        self.name(name)?;
        if self.item.is_some() {
            return Err(self.problem(Problem::NestedLoop));
        }
        self.name(&comprehension.iter_var)?;
        let item = comprehension.iter_var.as_str();
        if matches!(item, "subject" | "resource" | "action" | "context" | "now") {
            return Err(self.problem(Problem::NotPartOf("items that are called as an attribute")));
        }
        self.item = Some(item.to_owned());
        let body = self.whole(body)?;
        self.item = None;
        Ok(Node::Loop {
            quantifier,
            over: Box::new(over),
            body: Box::new(body),
        })
    }
}

/// Operators have names that cannot be written: `_&&_`, `@in`.
fn starts_as_name(function: &str) -> bool {
    function.starts_with(|first: char| first.is_ascii_alphabetic() || first == '.')
        || function
            .trim_start_matches('_')
            .starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// What has an id and properties.
struct Entity {
    name: &'static str,
    has: &'static str,
    members: &'static [(&'static str, Given)],
}

impl Entity {
    const ALL: [Self; 3] = [
        Self {
            name: "subject",
            has: "id, type and properties",
            members: &[
                ("id", Given::SubjectId),
                ("type", Given::SubjectType),
                ("properties", Given::Properties(Root::Subject)),
            ],
        },
        Self {
            name: "resource",
            has: "id, type and properties",
            members: &[
                ("id", Given::ResourceId),
                ("type", Given::ResourceType),
                ("properties", Given::Properties(Root::Resource)),
            ],
        },
        Self {
            name: "action",
            has: "name and properties",
            members: &[
                ("name", Given::ActionName),
                ("properties", Given::Properties(Root::Action)),
            ],
        },
    ];

    fn find(name: &str) -> Option<&'static Self> {
        const { &Self::ALL }.iter().find(|entity| entity.name == name)
    }

    fn member(&self, name: &str) -> Option<Given> {
        let found = self.members.iter().find(|(member, _)| *member == name);
        found.map(|(_, given)| *given)
    }
}

/// Whether there are attributes with which it is true or false.
fn may_be_boolean(node: &Node) -> bool {
    match node {
        Node::Constant(value) => matches!(value, Value::Bool(_)),
        Node::Given(_) | Node::List(_) | Node::Negate(_) | Node::Arithmetic(..) => false,
        Node::Item | Node::Field(..) | Node::Index(_) => true,
        Node::Has(..) | Node::Not(_) | Node::And(_) | Node::Or(_) | Node::Loop { .. } => true,
        Node::Equal(_) | Node::Unequal(_) | Node::Compare(..) | Node::In(_) => true,
        Node::Choose(parts) => may_be_boolean(&parts[1]) && may_be_boolean(&parts[2]),
        Node::Call(function, _) => matches!(
            function,
            Function::StartsWith | Function::EndsWith | Function::Contains
        ),
    }
}
