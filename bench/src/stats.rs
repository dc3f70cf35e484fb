//! Samples and what is told of them.

use std::time::Duration;

/// Times of one kind of call.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// The value that `share` of the samples do not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// The middle one of several rounds.
pub fn median(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

pub fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1e3)
}

/// With thin groups of thousands.
pub fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<&str> = (0..digits.len())
        .filter(|i| i.is_multiple_of(3))
        .map(|i| {
            let end = digits.len() - i;
            &digits[end.saturating_sub(3)..end]
        })
        .collect();
    groups.into_iter().rev().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        (1..=100).for_each(|i| samples.push(Duration::from_millis(i)));
        assert_eq!(samples.p50(), Duration::from_millis(50));
        assert_eq!(samples.p99(), Duration::from_millis(99));
        assert_eq!(Samples::default().p50(), Duration::ZERO);
    }

    #[test]
    fn numbers_read_in_thousands() {
        assert_eq!(
            [7.0, 999.4, 1234.0, 1234567.0].map(count),
            ["7", "999", "1,234", "1,234,567"]
        );
    }
}
