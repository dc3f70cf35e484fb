//! Which lines of an import go through the log together: of those with the same name, the first goes first.

use std::collections::HashSet;

use schemas::BlindIndex;

/// The names that lines have had so far.
#[derive(Default)]
pub struct Mentions(HashSet<BlindIndex>);

impl Mentions {
    /// Parts lines into those none of whose names stood in an earlier line, and the others; both keep their order.
    pub fn split<T>(&mut self, lines: Vec<T>, names: impl Fn(&T) -> [BlindIndex; 2]) -> (Vec<T>, Vec<T>) {
        let is_first = |line: &T| {
            // Both are remembered, whichever was known.
            let new = names(line).map(|name| self.0.insert(name));
            new == [true; 2]
        };
        lines.into_iter().partition(is_first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::Sha256Digest;

    use super::*;

    type Line = (usize, [u8; 2]);

    fn name(kind: &str, number: u8) -> BlindIndex {
        BlindIndex(Sha256Digest::of(format!("{kind}-{number}").as_bytes()))
    }

    /// An e-mail address is never a user name.
    fn names((_, [email, username]): &Line) -> [BlindIndex; 2] {
        [name("email", *email), name("username", *username)]
    }

    fn shares_a_name(one: &Line, other: &Line) -> bool {
        one.1[0] == other.1[0] || one.1[1] == other.1[1]
    }

    proptest! {
        #[test]
        fn who_goes_first_shares_no_name_with_an_earlier_line(
            numbers in prop::collection::vec(prop::array::uniform2(0_u8..20), 0..60), cut in 0_usize..60,
        ) {
            let lines: Vec<Line> = numbers.into_iter().enumerate().collect();
            let (head, tail) = lines.split_at(cut.min(lines.len()));
            let mut mentions = Mentions::default();
            let (mut first, mut later) = mentions.split(head.to_vec(), names);
            let rest = mentions.split(tail.to_vec(), names);
            first.extend(rest.0);
            later.extend(rest.1);
            for line in &lines {
                let is_later = lines[..line.0].iter().any(|earlier| shares_a_name(earlier, line));
                prop_assert_eq!(later.contains(line), is_later);
                prop_assert_eq!(first.contains(line), !is_later);
            }
            prop_assert_eq!(first.len() + later.len(), lines.len());
            prop_assert!(first.is_sorted() && later.is_sorted());
        }
    }
}
