//! Pages of results. The token of a page says where the next one begins and which search it belongs to. It gives no
//! right and holds no secret: each page is decided anew.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::Sha256Digest;
use serde::{Deserialize, Serialize};
use service_kit::problem::Problem;
use utoipa::ToSchema;

use super::body::Asked;
use super::object::bad_request;

/// Names the encoding, so that another can follow.
const VERSION: &str = "p1.";
const LIMIT: u64 = 50;
const MOST: u64 = 1_000;

/// Which part of the results is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct PageRequest {
    /// `next_token` of the page before. All else must be as it was; `limit` may be left out.
    token: Option<String>,
    /// Results at most: 50 if it is not said, and never more than 1,000.
    #[schema(value_type = Option<u64>, minimum = 0, example = 50)]
    limit: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PageAnswer {
    /// Empty: there is nothing more.
    pub next_token: String,
    /// How many results this page has.
    pub count: usize,
    /// How many all pages have together, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
}

/// A page to be filled with results, which are told apart and put in order by a text.
#[derive(Debug)]
pub struct Page {
    search: [u8; 16],
    limit: u64,
    after: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    search: [u8; 16],
    limit: u64,
    after: Option<String>,
}

impl Page {
    /// The page of a search of this kind. Refuses a token of another search.
    pub fn of(wanted: PageRequest, kind: &str, asked: &Asked<'_>) -> Result<Self, Problem> {
        let search = digest(kind, asked)?;
        let limit = wanted.limit.map(|limit| limit.min(MOST));
        let Some(token) = wanted.token else {
            return Ok(Self {
                search,
                limit: limit.unwrap_or(LIMIT),
                after: None,
            });
        };
        let token = Token::parse(&token).ok_or_else(|| bad_request("page.token is not of a page"))?;
        if token.search != search {
            return Err(bad_request("page.token is of another search"));
        }
        if limit.is_some_and(|limit| limit != token.limit) {
            return Err(bad_request("page.limit is another than that of the page before"));
        }
        Ok(Self {
            search,
            limit: token.limit.min(MOST),
            after: token.after,
        })
    }

    /// Only what stands behind this is wanted.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    pub fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// `found`: what stands behind [`Self::after`], in order: all of it, or more than [`Self::limit`], or all up to
    /// `looked_until`.
    pub fn fill(self, mut found: Vec<String>, looked_until: Option<String>) -> (Vec<String>, PageAnswer) {
        let limit = self.limit();
        let next = if found.len() > limit {
            found.truncate(limit);
            let last = found.last().cloned();
            Some(last.or_else(|| self.after.clone()))
        } else {
            looked_until.map(Some)
        };
        let page = PageAnswer {
            next_token: next.map_or_else(String::new, |after| self.token(after)),
            count: found.len(),
            total: None,
        };
        (found, page)
    }

    fn token(&self, after: Option<String>) -> String {
        let token = Token {
            search: self.search,
            limit: self.limit,
            after,
        };
        // Of bytes, a number and text: this cannot fail.
        let bytes = postcard::to_stdvec(&token).unwrap_or_default();
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(VERSION)?).ok()?;
        let (token, rest) = postcard::take_from_bytes(&bytes).ok()?;
        rest.is_empty().then_some(token)
    }
}

/// The same for the same search, however its body was written.
fn digest(kind: &str, asked: &Asked<'_>) -> Result<[u8; 16], Problem> {
    let text = serde_json::to_vec(&(kind, asked)).map_err(|error| Problem::internal(&error))?;
    let Sha256Digest(digest) = Sha256Digest::of(&text);
    let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::authzen::object::parse;
    use crate::authzen::search::{ActionSearch, Search};

    fn search() -> Search<'static> {
        let body = br#"{"subject":{"type":"user","id":"a"},"resource":{"type":"b","id":"c"}}"#;
        parse::<ActionSearch<'_>>(body).unwrap().into()
    }

    /// The next page of what is there now.
    fn next(all: &BTreeSet<String>, token: Option<String>, limit: Option<u64>) -> (Vec<String>, PageAnswer) {
        let Search { asked, .. } = search();
        let page = Page::of(PageRequest { token, limit }, "action", &asked).unwrap();
        let behind = |text: &&String| page.after().is_none_or(|after| text.as_str() > after);
        let found = all.iter().filter(behind).cloned().collect();
        page.fill(found, None)
    }

    proptest! {
        #[test]
        fn pages_are_together_all_results(
            all in prop::collection::btree_set(".{0,8}", 0..40),
            limit in 1_u64..50,
        ) {
            let (mut found, mut page) = next(&all, None, Some(limit));
            let mut pages = 1;
            while !page.next_token.is_empty() {
                let (more, following) = next(&all, Some(page.next_token), None);
                found.extend(more);
                page = following;
                pages += 1;
            }
            let expected: Vec<_> = all.iter().cloned().collect();
            prop_assert_eq!(found, expected);
            let limit = usize::try_from(limit).unwrap();
            prop_assert_eq!(pages, all.len().div_ceil(limit).max(1));
        }

        #[test]
        fn any_token_is_of_a_page_or_refused(text in "(p1\\.)?[A-Za-z0-9_-]{0,60}") {
            let Search { asked, .. } = search();
            let wanted = PageRequest { token: Some(text), limit: None };
            prop_assert!(Page::of(wanted, "action", &asked).is_err());
        }
    }
}
