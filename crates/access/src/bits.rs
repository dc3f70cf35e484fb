//! Sets of small numbers, one bit each.

use std::collections::HashMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(Box<[u64]>);

impl Bits {
    /// Room for the numbers below `count`.
    pub(crate) fn with_room(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    pub(crate) fn insert(&mut self, number: usize) {
        insert(&mut self.0, number);
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        contains(&self.0, number)
    }

    /// Of the same room.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            (0..64)
                .filter(move |bit| word & (1_u64 << bit) != 0)
                .map(move |bit| index * 64 + bit)
        })
    }
}

/// Many sets of the same room, side by side. Equal ones are kept once: what is attached to the same roles is given by
/// the same, and the less memory the sets take the nearer it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    words: Box<[u64]>,
    /// Of each row.
    width: usize,
    /// Where the row of each number stands, counted in rows.
    places: Box<[usize]>,
}

/// One of [`Rows`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'a>(&'a [u64]);

impl Rows {
    /// Of the same room each.
    pub(crate) fn of(sets: Vec<Bits>) -> Self {
        let width = sets.first().map_or(0, |set| set.0.len());
        let (mut words, mut known) = (Vec::new(), HashMap::new());
        let place = |set: Bits| {
            let next = known.len();
            *known.entry(set.0).or_insert_with_key(|set| {
                words.extend_from_slice(set);
                next
            })
        };
        let places = sets.into_iter().map(place).collect();
        Self {
            words: words.into(),
            width,
            places,
        }
    }

    /// Empty where there is none.
    pub(crate) fn row(&self, number: usize) -> Row<'_> {
        let start = self
            .places
            .get(number)
            .map_or(usize::MAX, |place| place * self.width);
        let words = self.words.get(start..start.saturating_add(self.width));
        Row(words.unwrap_or_default())
    }
}

impl Row<'_> {
    pub(crate) fn contains(self, number: u32) -> bool {
        usize::try_from(number).is_ok_and(|number| contains(self.0, number))
    }
}

fn insert(words: &mut [u64], number: usize) {
    if let Some(word) = words.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

fn contains(words: &[u64], number: usize) -> bool {
    words
        .get(number / 64)
        .is_some_and(|word| word & (1 << (number % 64)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in_across_words() {
        let mut bits = Bits::with_room(130);
        let mut more = Bits::with_room(130);
        bits.insert(0);
        bits.insert(63);
        more.insert(64);
        more.insert(129);
        bits.insert_all(&more);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert!(bits.contains(129) && !bits.contains(128) && !bits.contains(10_000));
    }

    #[test]
    fn rows_do_not_run_into_each_other() {
        let set = |numbers: &[usize]| {
            let mut bits = Bits::with_room(70);
            numbers.iter().for_each(|number| bits.insert(*number));
            bits
        };
        let rows = Rows::of(vec![set(&[]), set(&[0, 69]), set(&[]), set(&[5]), set(&[0, 69])]);
        assert_eq!(rows.words.len(), 3 * 2);
        let found = |row| {
            (0..200)
                .filter(|number| rows.row(row).contains(*number))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(found),
            [vec![], vec![0, 69], vec![], vec![5], vec![0, 69], vec![]]
        );
        assert!(!Rows::of(Vec::new()).row(0).contains(0));
    }
}
