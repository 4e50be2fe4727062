//! Whether the share of failed requests changed, when failures come in bursts.
//!
//! Requests of one repetition fail together more often than by chance, so counts over all repetitions look surer than
//! they are. The counts' variance is multiplied by what the repetitions show of that (quasi-binomial model:
//! McCullagh and Nelder 1989, section 4.5), and never by less than 1.

use super::distribution::{t_critical, t_two_sided};

/// Attempts and failures of one repetition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    pub attempts: u64,
    pub failed: u64,
}

/// How the share of successes changed, 0–1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Share of successes of the base, and of the candidate.
    pub shares: [f64; 2],
    /// 95 % interval of candidate − base; `None` when the repetitions cannot tell how failures cluster.
    pub interval: Option<[f64; 2]>,
    /// Two-sided; `None` likewise, and where nothing failed.
    pub p_value: Option<f64>,
}

/// `None` when a side has no attempts.
pub fn change(base: &[Counts], candidate: &[Counts]) -> Option<Change> {
    let sides = [base, candidate].map(|side| {
        let attempts = side.iter().map(|counts| counts.attempts).sum::<u64>() as f64;
        (attempts, side.iter().map(|counts| counts.failed).sum::<u64>() as f64)
    });
    if sides.iter().any(|(attempts, _)| *attempts == 0.0) {
        return None;
    }
    let shares = sides.map(|(attempts, failed)| 1.0 - failed / attempts);
    let [(base_attempts, base_failed), (candidate_attempts, candidate_failed)] = sides;
    let pooled = (base_failed + candidate_failed) / (base_attempts + candidate_attempts);
    // Where nothing ever failed, nothing clusters.
    if pooled == 0.0 {
        return Some(Change { shares, interval: Some(newcombe(sides, 1.96)), p_value: None });
    }
    let Some((dispersion, df)) = dispersion(base, candidate) else {
        return Some(Change { shares, interval: None, p_value: None });
    };
    let effective = sides.map(|(attempts, failed)| (attempts / dispersion, failed / dispersion));
    let error = (dispersion * pooled * (1.0 - pooled) * (1.0 / base_attempts + 1.0 / candidate_attempts)).sqrt();
    let p_value = if error > 0.0 { t_two_sided((shares[1] - shares[0]) / error, df) } else { 1.0 };
    Some(Change { shares, interval: Some(newcombe(effective, t_critical(0.05, df))), p_value: Some(p_value) })
}

/// Pearson's χ² of the repetitions about their side's share, over its degrees of freedom; at least 1.
fn dispersion(base: &[Counts], candidate: &[Counts]) -> Option<(f64, f64)> {
    let (mut chi_squared, mut df) = (0.0, 0.0);
    for side in [base, candidate] {
        let side: Vec<_> = side.iter().filter(|counts| counts.attempts > 0).collect();
        let attempts = side.iter().map(|counts| counts.attempts).sum::<u64>() as f64;
        let share = side.iter().map(|counts| counts.failed).sum::<u64>() as f64 / attempts;
        df += side.len() as f64 - 1.0;
        if share > 0.0 && share < 1.0 {
            chi_squared += side
                .iter()
                .map(|counts| {
                    let expected = counts.attempts as f64 * share;
                    (counts.failed as f64 - expected).powi(2) / (expected * (1.0 - share))
                })
                .sum::<f64>();
        }
    }
    (df > 0.0).then(|| ((chi_squared / df).max(1.0), df))
}

/// The difference of the shares of successes, by the score intervals of both (Newcombe 1998, method 10).
fn newcombe(sides: [(f64, f64); 2], z: f64) -> [f64; 2] {
    let [(base, base_low, base_high), (candidate, candidate_low, candidate_high)] = sides.map(|(attempts, failed)| {
        let share = 1.0 - failed / attempts;
        let denominator = 1.0 + z * z / attempts;
        let middle = (share + z * z / (2.0 * attempts)) / denominator;
        let half = z / denominator * (share * (1.0 - share) / attempts + z * z / (4.0 * attempts * attempts)).sqrt();
        (share, middle - half, middle + half)
    });
    let difference = candidate - base;
    [
        difference - ((candidate - candidate_low).powi(2) + (base_high - base).powi(2)).sqrt(),
        difference + ((candidate_high - candidate).powi(2) + (base - base_low).powi(2)).sqrt(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(failed: &[u64]) -> Vec<Counts> {
        failed.iter().map(|failed| Counts { attempts: 1000, failed: *failed }).collect()
    }

    #[test]
    fn nothing_failed_is_evidence_as_far_as_the_counts_go() {
        let change = change(&side(&[0, 0, 0]), &side(&[0, 0, 0])).expect("attempts");
        let [low, high] = change.interval.expect("known");
        assert!(low < 0.0 && low > -0.002 && high > 0.0 && high < 0.002, "{change:?}");
        assert_eq!(change.p_value, None);
    }

    #[test]
    fn a_burst_in_one_repetition_is_no_evidence_and_failures_in_all_are() {
        let p = |base: &[u64], candidate: &[u64]| {
            change(&side(base), &side(candidate)).expect("attempts").p_value.expect("known")
        };
        assert!(p(&[0, 0, 0], &[0, 0, 150]) > 0.1);
        assert!(p(&[1, 0, 2], &[50, 55, 47]) < 0.001);
        assert!(p(&[10, 12, 9], &[11, 9, 12]) > 0.5);
        assert_eq!(change(&side(&[1]), &side(&[50])).expect("attempts").interval, None);
        assert_eq!(change(&side(&[]), &side(&[50])), None);
    }

    /// Table II of Newcombe: 56/70 − 48/80.
    #[test]
    fn the_published_interval() {
        let [low, high] = newcombe([(80.0, 32.0), (70.0, 14.0)], 1.959_964);
        assert!((low - 0.0524).abs() < 5e-5 && (high - 0.3339).abs() < 5e-5, "{low} {high}");
    }
}
