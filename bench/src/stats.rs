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

/// What a comparison of two kinds of samples found.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// How often one of the first kind takes longer than one of the second, ties counted half.
    pub share: f64,
    /// How likely it is to be at least as far from a half if both are alike.
    pub p: f64,
}

/// Mann-Whitney U, two-sided, by its normal approximation (good from 20 samples of each kind on).
pub fn mann_whitney(first: &Samples, second: &Samples) -> Comparison {
    let kinds = [(first, true), (second, false)];
    let mut all: Vec<(Duration, bool)> = kinds
        .into_iter()
        .flat_map(|(samples, is_first)| samples.0.iter().map(move |took| (*took, is_first)))
        .collect();
    all.sort_unstable();
    // Equal ones share the mean of their ranks.
    let mut ranks_of_first = 0.0;
    let mut before = 0;
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let mean = before as f64 + (equal.len() + 1) as f64 / 2.0;
        ranks_of_first += mean * equal.iter().filter(|(_, is_first)| *is_first).count() as f64;
        before += equal.len();
    }
    let (n, m) = (first.len() as f64, second.len() as f64);
    let u = ranks_of_first - n * (n + 1.0) / 2.0;
    let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
    let z = (u - n * m / 2.0) / deviation;
    Comparison {
        share: u / (n * m),
        p: (2.0 * upper_tail(z.abs())).min(1.0),
    }
}

/// Of the standard normal distribution, to 8 decimals (Abramowitz and Stegun 26.2.17).
fn upper_tail(z: f64) -> f64 {
    const B: [f64; 5] = [0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
    let t = 1.0 / (1.0 + 0.2316419 * z);
    let sum = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
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

    fn samples(micros: impl Iterator<Item = u64>) -> Samples {
        Samples(micros.map(Duration::from_micros).collect())
    }

    /// U = 30, mean 50, deviation 13.229.
    #[test]
    fn ranks_tell_two_groups_apart_as_tables_say() {
        let first = samples([1, 2, 3, 4, 5, 6, 7, 18, 19, 20].into_iter());
        let second = samples(8..18);
        let found = mann_whitney(&first, &second);
        assert!((found.share - 0.3).abs() < 1e-9, "{found:?}");
        assert!((found.p - 0.1306).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn equal_groups_are_alike_and_shifted_ones_are_not() {
        let base = || (0..1_000).map(|n| 30_000 + n * 7 % 5_000);
        let alike = mann_whitney(&samples(base()), &samples(base()));
        assert!((alike.share - 0.5).abs() < 1e-9 && alike.p > 0.99, "{alike:?}");
        // By a tenth of what they vary.
        let shifted = mann_whitney(&samples(base().map(|took| took + 500)), &samples(base()));
        assert!(shifted.p < 1e-4 && shifted.share > 0.55, "{shifted:?}");
    }

    #[test]
    fn numbers_read_in_thousands() {
        assert_eq!(
            [7.0, 999.4, 1234.0, 1234567.0].map(count),
            ["7", "999", "1,234", "1,234,567"]
        );
    }
}
