//! Walks a model's whole state graph and asks whether a good state stays within reach. The checker's
//! own "eventually" does not answer this: it does not see cycles.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use stateright::Model;

/// The state graph of a model: all of it, by number in the order found.
pub struct Graph<M: Model> {
    states: Vec<M::State>,
    /// From whom each state was reached first, and by what.
    found_by: Vec<Option<(usize, M::Action)>>,
    steps: Vec<Vec<usize>>,
}

impl<M> Graph<M>
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    /// All that can be reached by actions that `allowed` says yes to, from these states on.
    pub fn of(model: &M, from: Vec<M::State>, allowed: impl Fn(&M::State, &M::Action) -> bool) -> Self {
        let mut graph = Self {
            states: Vec::new(),
            found_by: Vec::new(),
            steps: Vec::new(),
        };
        let mut numbers = HashMap::new();
        for state in from {
            graph.add(&mut numbers, state, None);
        }
        let mut next = 0;
        while let Some(state) = graph.states.get(next).cloned() {
            let mut actions = Vec::new();
            model.actions(&state, &mut actions);
            for action in actions.into_iter().filter(|action| allowed(&state, action)) {
                if let Some(after) = model.next_state(&state, action.clone())
                    && model.within_boundary(&after)
                {
                    let number = graph.add(&mut numbers, after, Some((next, action)));
                    graph.steps[next].push(number);
                }
            }
            next += 1;
        }
        graph
    }

    fn add(
        &mut self,
        numbers: &mut HashMap<M::State, usize>,
        state: M::State,
        found_by: Option<(usize, M::Action)>,
    ) -> usize {
        match numbers.entry(state) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let number = self.states.len();
                self.states.push(free.key().clone());
                self.found_by.push(found_by);
                self.steps.push(Vec::new());
                free.insert(number);
                number
            }
        }
    }

    pub fn states(&self) -> &[M::State] {
        &self.states
    }

    /// The first state found from which no good one can be reached any more, and the way there.
    pub fn lost(&self, good: impl Fn(&M::State) -> bool) -> Option<(Vec<M::Action>, &M::State)> {
        let mut before = vec![Vec::new(); self.states.len()];
        for (from, steps) in self.steps.iter().enumerate() {
            for &to in steps {
                before[to].push(from);
            }
        }
        let mut saved: Vec<bool> = self.states.iter().map(good).collect();
        let mut open: Vec<usize> = (0..saved.len()).filter(|&number| saved[number]).collect();
        while let Some(number) = open.pop() {
            for &from in &before[number] {
                if !std::mem::replace(&mut saved[from], true) {
                    open.push(from);
                }
            }
        }
        let number = saved.iter().position(|saved| !saved)?;
        Some((self.way_to(number), &self.states[number]))
    }

    fn way_to(&self, number: usize) -> Vec<M::Action> {
        let mut way = Vec::new();
        let mut at = number;
        while let Some((from, action)) = &self.found_by[at] {
            way.push(action.clone());
            at = *from;
        }
        way.reverse();
        way
    }

    /// A state that can be come back to by steps of this graph, if there is one: whoever is there may
    /// go round for ever.
    pub fn cycle(&self) -> Option<(Vec<M::Action>, &M::State)> {
        let mut entries = vec![0_usize; self.states.len()];
        for &to in self.steps.iter().flatten() {
            entries[to] += 1;
        }
        // What nobody leads to is on no cycle; without it, the next is not either.
        let mut open: Vec<usize> = (0..entries.len())
            .filter(|&number| entries[number] == 0)
            .collect();
        let mut left = self.states.len();
        while let Some(number) = open.pop() {
            left -= 1;
            for &to in &self.steps[number] {
                entries[to] -= 1;
                if entries[to] == 0 {
                    open.push(to);
                }
            }
        }
        if left == 0 {
            return None;
        }
        let number = entries.iter().position(|&entries| entries > 0)?;
        Some((self.way_to(number), &self.states[number]))
    }
}
