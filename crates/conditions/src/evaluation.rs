//! One evaluation: it borrows the condition and the attributes, and takes a bounded number of steps.

use std::cmp::Ordering;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use crate::attributes::Attributes;
use crate::functions;
use crate::node::{Comparison, Function, Given, Node, Quantifier};
use crate::outcome::{Failure, Fault};
use crate::reads::Root;
use crate::steps::Steps;
use crate::value::Value;

/// What a sender without properties has sent.
static NOTHING: LazyLock<Map<String, Json>> = LazyLock::new(Map::new);

pub(crate) struct Evaluation<'a> {
    attributes: &'a Attributes<'a>,
    steps: Steps,
}

type Evaluated<'c, 'a> = Result<Value<'a>, Failure<'c>>;

impl<'a> Evaluation<'a> {
    pub fn of(attributes: &'a Attributes<'a>) -> Self {
        Self {
            attributes,
            steps: Steps::all(),
        }
    }

    /// `item` is that of the loop around the node.
    pub fn value<'c: 'a>(&self, node: &'c Node, item: Option<&Value<'a>>) -> Evaluated<'c, 'a> {
        self.steps.take(1)?;
        match node {
            Node::Constant(Value::Text(text)) => Ok(Value::text(text)),
            Node::Constant(value) => Ok(value.clone()),
            Node::Given(given) => Ok(self.given(*given)),
            Node::Item => {
                let item = item.ok_or(Fault::WrongType)?;
                self.steps.take_for_bytes(item.copied())?;
                Ok(item.clone())
            }
            Node::Field(of, name) => match self.member(of, name, item)? {
                Some(member) => Ok(Value::of(member)?),
                None => Err(Failure::missing(name)),
            },
            Node::Has(of, name) => Ok(Value::Bool(self.member(of, name, item)?.is_some())),
            Node::Index(parts) => self.index(parts, item),
            Node::List(nodes) => Ok(Value::List(self.all(nodes, item)?)),
            Node::Not(of) => Ok(Value::Bool(!self.boolean(of, item)?)),
            Node::Negate(of) => match self.value(of, item)? {
                Value::Int(value) => Ok(Value::Int(value.checked_neg().ok_or(Fault::Arithmetic)?)),
                Value::Double(value) => Ok(Value::Double(-value)),
                _ => Err(Fault::WrongType.into()),
            },
            Node::And(parts) => self.connective(parts, item, false),
            Node::Or(parts) => self.connective(parts, item, true),
            Node::Choose(parts) => {
                let [condition, one, two] = parts.as_ref();
                self.value(if self.boolean(condition, item)? { one } else { two }, item)
            }
            Node::Equal(parts) => Ok(Value::Bool(self.equal(parts, item)?)),
            Node::Unequal(parts) => Ok(Value::Bool(!self.equal(parts, item)?)),
            Node::Compare(comparison, parts) => self.compare(*comparison, parts, item),
            Node::In(parts) => self.contains(parts, item),
            Node::Arithmetic(operator, parts) => {
                let [one, two] = parts.as_ref();
                let (one, two) = (self.value(one, item)?, self.value(two, item)?);
                Ok(functions::arithmetic(*operator, &one, &two, &self.steps)?)
            }
            Node::Call(function, arguments) => self.call(*function, arguments, item),
            Node::Loop {
                quantifier,
                over,
                body,
            } => self.each(*quantifier, &self.value(over, item)?, body),
        }
    }

    pub fn boolean<'c: 'a>(&self, node: &'c Node, item: Option<&Value<'a>>) -> Result<bool, Failure<'c>> {
        Ok(self.value(node, item)?.boolean()?)
    }

    fn given(&self, given: Given) -> Value<'a> {
        let attributes = self.attributes;
        match given {
            Given::SubjectType => Value::text(attributes.subject.kind),
            Given::SubjectId => Value::text(attributes.subject.id),
            Given::ResourceType => Value::text(attributes.resource.kind),
            Given::ResourceId => Value::text(attributes.resource.id),
            Given::ActionName => Value::text(attributes.action.name),
            Given::Now => Value::Time(attributes.now),
            Given::Properties(root) => Value::Object(self.properties(root)),
        }
    }

    fn properties(&self, root: Root) -> &'a Map<String, Json> {
        let properties = match root {
            Root::Subject => self.attributes.subject.properties,
            Root::Resource => self.attributes.resource.properties,
            Root::Action => self.attributes.action.properties,
            Root::Context => self.attributes.context,
        };
        properties.unwrap_or(&NOTHING)
    }

    fn all<'c: 'a>(
        &self,
        nodes: &'c [Node],
        item: Option<&Value<'a>>,
    ) -> Result<Vec<Value<'a>>, Failure<'c>> {
        nodes.iter().map(|node| self.value(node, item)).collect()
    }

    fn member<'c: 'a>(
        &self,
        of: &'c Node,
        name: &'c str,
        item: Option<&Value<'a>>,
    ) -> Result<Option<&'a Json>, Failure<'c>> {
        match self.value(of, item)? {
            Value::Object(members) => Ok(members.get(name)),
            _ => Err(Failure {
                fault: Fault::WrongType,
                name: Some(name),
            }),
        }
    }

    /// No function takes more than two; so nothing is allocated for them.
    fn call<'c: 'a>(
        &self,
        function: Function,
        arguments: &'c [Node],
        item: Option<&Value<'a>>,
    ) -> Evaluated<'c, 'a> {
        let result = match arguments {
            [one] => functions::call(function, &[self.value(one, item)?], &self.steps),
            [one, two] => {
                let both = [self.value(one, item)?, self.value(two, item)?];
                functions::call(function, &both, &self.steps)
            }
            _ => Err(Fault::WrongType),
        };
        Ok(result?)
    }

    fn index<'c: 'a>(&self, parts: &'c [Node; 2], item: Option<&Value<'a>>) -> Evaluated<'c, 'a> {
        let [of, index] = parts;
        let (of, index) = (self.value(of, item)?, self.value(index, item)?);
        match (&of, &index) {
            (Value::Object(members), Value::Text(name)) => {
                self.steps.take_for_bytes(name.len())?;
                Ok(Value::of(members.get(name.as_ref()).ok_or(Fault::Missing)?)?)
            }
            (Value::Array(_) | Value::List(_), Value::Int(index)) => {
                let index = usize::try_from(*index).map_err(|_| Fault::Missing)?;
                Ok(of.item(index).ok_or(Fault::Missing)??)
            }
            _ => Err(Fault::WrongType.into()),
        }
    }

    /// As in CEL, a side that decides does so whatever becomes of the other: `failure && false` is false.
    fn connective<'c: 'a>(
        &self,
        parts: &'c [Node; 2],
        item: Option<&Value<'a>>,
        deciding: bool,
    ) -> Evaluated<'c, 'a> {
        let [left, right] = parts;
        let left = self.boolean(left, item);
        if left == Ok(deciding) {
            return Ok(Value::Bool(deciding));
        }
        let right = self.boolean(right, item)?;
        if right == deciding {
            return Ok(Value::Bool(deciding));
        }
        left.map(Value::Bool)
    }

    fn equal<'c: 'a>(&self, parts: &'c [Node; 2], item: Option<&Value<'a>>) -> Result<bool, Failure<'c>> {
        let [one, two] = parts;
        let (one, two) = (self.value(one, item)?, self.value(two, item)?);
        Ok(one.equals(&two, &self.steps)?)
    }

    fn compare<'c: 'a>(
        &self,
        comparison: Comparison,
        parts: &'c [Node; 2],
        item: Option<&Value<'a>>,
    ) -> Evaluated<'c, 'a> {
        let [one, two] = parts;
        let (one, two) = (self.value(one, item)?, self.value(two, item)?);
        let order = one.order(&two, &self.steps)?;
        Ok(Value::Bool(match comparison {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        }))
    }

    fn contains<'c: 'a>(&self, parts: &'c [Node; 2], item: Option<&Value<'a>>) -> Evaluated<'c, 'a> {
        let [needle, within] = parts;
        let needle = self.value(needle, item)?;
        let mut found = false;
        if let Node::List(nodes) = within {
            // Every part is evaluated, as if the list were made first: a failure within is not passed over.
            for node in nodes {
                found |= needle.equals(&self.value(node, item)?, &self.steps)?;
            }
            return Ok(Value::Bool(found));
        }
        let within = self.value(within, item)?;
        match (&within, &needle) {
            (Value::Object(members), Value::Text(name)) => {
                self.steps.take_for_bytes(name.len())?;
                return Ok(Value::Bool(members.contains_key(name.as_ref())));
            }
            // CEL has maps with such keys.
            (Value::Object(_), Value::Int(_) | Value::Double(_) | Value::Bool(_)) => {
                return Ok(Value::Bool(false));
            }
            _ => {}
        }
        let length = within.length().ok_or(Fault::WrongType)?;
        for index in 0..length {
            let other = within.item(index).ok_or(Fault::Missing)??;
            found = needle.equals(&other, &self.steps)?;
            if found {
                break;
            }
        }
        Ok(Value::Bool(found))
    }

    /// As in CEL, an item that decides does so whatever became of those before it.
    fn each<'c: 'a>(&self, quantifier: Quantifier, over: &Value<'a>, body: &'c Node) -> Evaluated<'c, 'a> {
        let deciding = quantifier == Quantifier::Exists;
        let mut failure = None;
        for index in 0..over.length().ok_or(Fault::WrongType)? {
            self.steps.take(1)?;
            let item = over.item(index).ok_or(Fault::Missing)?;
            match item
                .map_err(Failure::from)
                .and_then(|item| self.boolean(body, Some(&item)))
            {
                Ok(value) if value == deciding => return Ok(Value::Bool(deciding)),
                Ok(_) => {}
                Err(other) => failure = Some(other),
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(Value::Bool(!deciding)),
        }
    }
}
