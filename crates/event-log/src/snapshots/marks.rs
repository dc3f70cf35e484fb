//! What changed since the last save, as the writer's thread sees it.

use std::collections::{BTreeMap, HashSet};
use std::mem;

use crate::group_log::Head;

use super::Place;

/// Aggregates that are not saved as they are now, with the heads that belong to them: everything before a
/// head is saved or marked.
#[derive(Default)]
pub(crate) struct Marks {
    dirty: BTreeMap<Place, HashSet<String>>,
    /// Their rows are wrong, whatever their sequence says.
    spoilt: BTreeMap<Place, HashSet<String>>,
    heads: BTreeMap<Place, Head>,
    /// Offset of the owner's claim.
    claims: BTreeMap<Place, i64>,
    /// The group was given back, and nobody fenced it.
    pub closed: bool,
}

/// What one save is about.
#[derive(Debug)]
pub(crate) struct Cut {
    pub head: Head,
    pub claim_offset: i64,
    pub dirty: HashSet<String>,
    pub spoilt: HashSet<String>,
}

impl Marks {
    pub(crate) fn dirty(&mut self, place: Place, id: &str) {
        let dirty = self.dirty.entry(place).or_default();
        if !dirty.contains(id) {
            dirty.insert(id.to_owned());
        }
    }

    pub(crate) fn spoilt(&mut self, place: Place, id: &str) {
        self.spoilt.entry(place).or_default().insert(id.to_owned());
    }

    pub(crate) fn moved(&mut self, heads: impl IntoIterator<Item = (Place, Head)>) {
        self.heads.extend(heads);
    }

    pub(crate) fn claimed(&mut self, claims: impl IntoIterator<Item = (Place, i64)>) {
        self.claims.extend(claims);
    }

    /// Takes what is marked; `None` before the first claim.
    pub(crate) fn cut(&mut self, place: Place) -> Option<Cut> {
        Some(Cut {
            head: *self.heads.get(&place)?,
            claim_offset: *self.claims.get(&place)?,
            dirty: self.dirty.get_mut(&place).map(mem::take).unwrap_or_default(),
            spoilt: self.spoilt.get_mut(&place).map(mem::take).unwrap_or_default(),
        })
    }

    /// Gives back what could not be saved.
    pub(crate) fn put_back(&mut self, place: Place, dirty: HashSet<String>, spoilt: HashSet<String>) {
        self.dirty.entry(place).or_default().extend(dirty);
        self.spoilt.entry(place).or_default().extend(spoilt);
    }

    /// Gives back those of a cut that could not be looked at. Of a row that is wrong no sequence tells that it
    /// is to be saved again.
    pub(crate) fn put_off(&mut self, place: Place, cut: &Cut, unsettled: HashSet<String>) {
        let spoilt = cut.spoilt.intersection(&unsettled).cloned().collect();
        self.put_back(place, unsettled, spoilt);
    }

    pub(crate) fn count(&self) -> usize {
        self.dirty
            .values()
            .chain(self.spoilt.values())
            .map(HashSet::len)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use schemas::Stream;

    use super::*;

    #[test]
    fn a_wrong_row_that_is_put_off_stays_marked_as_wrong() {
        let (mut marks, place) = (Marks::default(), (Stream::Users, 0));
        marks.moved([(place, Head::START)]);
        marks.claimed([(place, 0)]);
        for id in ["a", "b"] {
            marks.spoilt(place, id);
            marks.dirty(place, id);
        }
        let cut = marks.cut(place).unwrap();
        marks.put_off(place, &cut, HashSet::from(["a".to_owned(), "c".to_owned()]));
        let next = marks.cut(place).unwrap();
        assert_eq!(next.spoilt, HashSet::from(["a".to_owned()]));
        assert_eq!(next.dirty, HashSet::from(["a".to_owned(), "c".to_owned()]));
    }
}
