//! Distinct pairs of resource and action, and the number of each.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// One look-up for both; hashed with a key of this process, as the words are the caller's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actions {
    hasher: DefaultHashBuilder,
    numbers: HashTable<usize>,
    /// All pairs, one behind the other.
    text: String,
    /// Where the resource and where the action of each number ends.
    ends: Vec<(usize, usize)>,
}

impl Actions {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, resource: &str, action: &str) -> Option<usize> {
        let asked = (resource, action);
        let is_it = |number: &usize| pair(&self.text, &self.ends, *number) == Some(asked);
        self.numbers.find(self.hasher.hash_one(asked), is_it).copied()
    }

    /// Its number; a new one if it has none.
    pub(crate) fn insert(&mut self, resource: &str, action: &str) -> usize {
        if let Some(number) = self.get(resource, action) {
            return number;
        }
        let Self {
            hasher,
            numbers,
            text,
            ends,
        } = self;
        text.push_str(resource);
        let middle = text.len();
        text.push_str(action);
        ends.push((middle, text.len()));
        let number = ends.len() - 1;
        // Every number in the table has its pair.
        let hash_of = |number: &usize| hasher.hash_one(pair(text, ends, *number).unwrap_or_default());
        numbers.insert_unique(hash_of(&number), number, hash_of);
        number
    }
}

fn pair<'a>(text: &'a str, ends: &[(usize, usize)], number: usize) -> Option<(&'a str, &'a str)> {
    let start = match number {
        0 => 0,
        _ => ends.get(number - 1)?.1,
    };
    let (middle, end) = *ends.get(number)?;
    Some((text.get(start..middle)?, text.get(middle..end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_the_same_letters_are_apart() {
        let mut actions = Actions::default();
        let pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("ü", "ü")];
        let numbers = pairs.map(|(resource, action)| actions.insert(resource, action));
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!(
            pairs.map(|(resource, action)| actions.insert(resource, action)),
            numbers
        );
        assert_eq!(actions.len(), pairs.len());
        assert_eq!(actions.get("a", "b"), None);
        assert_eq!(actions.get("", ""), None);
    }

    #[test]
    fn many_are_found_again() {
        let mut actions = Actions::default();
        let names: Vec<_> = (0..1_000).map(|number| format!("n{number}")).collect();
        for name in &names {
            actions.insert(name, "read");
        }
        for (number, name) in names.iter().enumerate() {
            assert_eq!(actions.get(name, "read"), Some(number));
        }
    }
}
