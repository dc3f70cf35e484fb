//! Bodies of searches, and what they are answered with. The entity that is searched for has no id; one that is sent is
//! ignored, whatever it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attributes::{Attributes, SubjectProperties};
use super::body::{Action, Asked, Resource, Subject};
use super::object;
use super::page::{PageAnswer, PageRequest};

/// Which subjects are searched for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AnySubject<'a> {
    #[serde(rename = "type", borrow)]
    #[schema(value_type = String, example = "user")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    properties: Option<SubjectProperties<'a>>,
}

/// Which resources are searched for.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AnyResource<'a> {
    #[serde(rename = "type", borrow)]
    #[schema(value_type = String, example = "invoice")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    properties: Option<Attributes<'a>>,
}

/// Who may do this?
#[derive(Debug, Deserialize, ToSchema)]
pub struct SubjectSearch<'a> {
    #[serde(borrow, deserialize_with = "object::required")]
    subject: AnySubject<'a>,
    #[serde(borrow, deserialize_with = "object::required")]
    action: Action<'a>,
    #[serde(borrow, deserialize_with = "object::required")]
    resource: Resource<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    context: Option<Attributes<'a>>,
    #[serde(default, deserialize_with = "object::optional")]
    page: Option<PageRequest>,
}

/// With which resources may the subject do this?
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResourceSearch<'a> {
    #[serde(borrow, deserialize_with = "object::required")]
    subject: Subject<'a>,
    #[serde(borrow, deserialize_with = "object::required")]
    action: Action<'a>,
    #[serde(borrow, deserialize_with = "object::required")]
    resource: AnyResource<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    context: Option<Attributes<'a>>,
    #[serde(default, deserialize_with = "object::optional")]
    page: Option<PageRequest>,
}

/// What may the subject do with this?
#[derive(Debug, Deserialize, ToSchema)]
pub struct ActionSearch<'a> {
    #[serde(borrow, deserialize_with = "object::required")]
    subject: Subject<'a>,
    #[serde(borrow, deserialize_with = "object::required")]
    resource: Resource<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    context: Option<Attributes<'a>>,
    #[serde(default, deserialize_with = "object::optional")]
    page: Option<PageRequest>,
}

/// A search as the questions that it stands for, in which what is searched for is empty.
pub struct Search<'a> {
    pub asked: Asked<'a>,
    pub page: PageRequest,
}

impl<'a> From<SubjectSearch<'a>> for Search<'a> {
    fn from(search: SubjectSearch<'a>) -> Self {
        let AnySubject { kind, properties } = search.subject;
        let subject = Subject {
            kind,
            id: Cow::default(),
            properties,
        };
        Self {
            asked: Asked {
                subject,
                action: search.action,
                resource: search.resource,
                context: search.context,
            },
            page: search.page.unwrap_or_default(),
        }
    }
}

impl<'a> From<ResourceSearch<'a>> for Search<'a> {
    fn from(search: ResourceSearch<'a>) -> Self {
        let AnyResource { kind, properties } = search.resource;
        let resource = Resource {
            kind,
            id: Cow::default(),
            properties,
        };
        Self {
            asked: Asked {
                subject: search.subject,
                action: search.action,
                resource,
                context: search.context,
            },
            page: search.page.unwrap_or_default(),
        }
    }
}

impl<'a> From<ActionSearch<'a>> for Search<'a> {
    fn from(search: ActionSearch<'a>) -> Self {
        let action = Action {
            name: Cow::default(),
            properties: None,
        };
        Self {
            asked: Asked {
                subject: search.subject,
                action,
                resource: search.resource,
                context: search.context,
            },
            page: search.page.unwrap_or_default(),
        }
    }
}

impl<'a> Asked<'a> {
    /// The same about this subject.
    pub fn by(&self, id: String) -> Self {
        let mut asked = self.clone();
        asked.subject.id = Cow::Owned(id);
        asked
    }

    /// The same about this action.
    pub fn doing(&self, name: String) -> Self {
        let mut asked = self.clone();
        asked.action.name = Cow::Owned(name);
        asked
    }
}

/// What was found. The page stands first: whoever reads a long answer knows how long it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Found<T> {
    pub page: PageAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<FoundContext>,
    pub results: Vec<T>,
}

/// What the results do not say.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundContext {
    /// The subject may do it with every resource of the type, so there is no list of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The subject may do it with all resources whose ids begin so; there is no list of these either.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
}

/// A subject or a resource.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundEntity {
    #[serde(rename = "type")]
    #[schema(example = "user")]
    pub kind: String,
    #[schema(example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    pub id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FoundAction {
    #[schema(example = "read")]
    pub name: String,
}
