//! Sets of small numbers, one bit each.

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

/// Many sets of the same room, side by side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    words: Box<[u64]>,
    /// Of each row.
    width: usize,
}

/// One of [`Rows`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'a>(&'a [u64]);

impl Rows {
    /// So many rows with room for the numbers below `count` each.
    pub(crate) fn with_room(rows: usize, count: usize) -> Self {
        let width = count.div_ceil(64);
        Self {
            words: vec![0; rows * width].into(),
            width,
        }
    }

    pub(crate) fn insert(&mut self, row: usize, number: usize) {
        let start = row * self.width;
        if let Some(words) = self.words.get_mut(start..start + self.width) {
            insert(words, number);
        }
    }

    /// Empty where there is none.
    pub(crate) fn row(&self, row: usize) -> Row<'_> {
        let start = row * self.width;
        Row(self.words.get(start..start + self.width).unwrap_or_default())
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
        let mut rows = Rows::with_room(3, 70);
        rows.insert(1, 0);
        rows.insert(1, 69);
        rows.insert(1, 1_000);
        rows.insert(7, 0);
        for row in [0, 2, 3] {
            assert!((0..200).all(|number| !rows.row(row).contains(number)));
        }
        let found: Vec<_> = (0..200).filter(|number| rows.row(1).contains(*number)).collect();
        assert_eq!(found, [0, 69]);
    }
}
