//! Distinct pairs of resource and action, and the number of each.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// One look-up for both; hashed with a key of this process, as the words are the caller's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actions {
    hasher: DefaultHashBuilder,
    places: HashTable<Place>,
    /// All pairs, one behind the other.
    text: String,
}

/// Where a pair stands in the text: all that a look-up reads besides. More than 4 GB of text would not be found, and so
/// be denied.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    middle: u32,
    end: u32,
    number: u32,
}

impl Actions {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, resource: &str, action: &str) -> Option<usize> {
        let asked = (resource, action);
        let is_it = |place: &Place| place.pair(&self.text) == Some(asked);
        let found = self.places.find(self.hasher.hash_one(asked), is_it)?;
        usize::try_from(found.number).ok()
    }

    /// Its number; a new one if it has none.
    pub(crate) fn insert(&mut self, resource: &str, action: &str) -> usize {
        if let Some(number) = self.get(resource, action) {
            return number;
        }
        let Self { hasher, places, text } = self;
        let short = |length| u32::try_from(length).unwrap_or(u32::MAX);
        let (start, number) = (short(text.len()), places.len());
        text.push_str(resource);
        let middle = short(text.len());
        text.push_str(action);
        let place = Place {
            start,
            middle,
            end: short(text.len()),
            number: short(number),
        };
        let hash_of = |place: &Place| hasher.hash_one(place.pair(text).unwrap_or_default());
        places.insert_unique(hash_of(&place), place, hash_of);
        number
    }
}

impl Place {
    fn pair(self, text: &str) -> Option<(&str, &str)> {
        let [start, middle, end] = [self.start, self.middle, self.end].map(usize::try_from);
        let (start, middle, end) = (start.ok()?, middle.ok()?, end.ok()?);
        Some((text.get(start..middle)?, text.get(middle..end)?))
    }
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
