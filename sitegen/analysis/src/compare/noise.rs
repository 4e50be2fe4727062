//! How much one figure varies from repetition to repetition: variance components, and what they borrow.
//!
//! All on the scale of natural logarithms, where a spread of 0.02 is a noise of 2 %. Three repetitions tell little
//! of their own spread, so it is learnt from whatever else was measured under the same conditions: both sides,
//! earlier executions of the same recipe, and the other points of the campaign.

use super::distribution::{digamma, f_above, trigamma, trigamma_inverse};

/// A variance and the degrees of freedom it was estimated with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variance {
    pub value: f64,
    pub df: f64,
    /// Whether it holds more than repetitions show: that executions differ by themselves.
    pub between_executions: bool,
}

/// Below this no measurement of time is: equal values must not give a spread of zero.
const LEAST: f64 = 1e-8;

/// Standard errors that the spread of the noise is taken larger than it was found.
const CAUTION: f64 = 2.5;

/// What other points may weigh at most, in degrees of freedom. Without this bound a point with an outlier would be
/// judged by the calm of the others.
const MOST_BORROWED_DF: f64 = 30.0;

/// Degrees of freedom that a single other point is worth to one that has no repetitions.
const LONE_DF: f64 = 2.0;

/// Executions are taken to differ when chance makes them differ so much less often than that.
const POOLED_ABOVE: f64 = 0.10;

/// Sum of squared deviations within the groups, and its degrees of freedom.
pub fn within(groups: &[&[f64]]) -> (f64, f64) {
    let (mut squares, mut df) = (0.0, 0.0);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let mean = mean(group);
        squares += group.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        df += group.len() as f64 - 1.0;
    }
    (squares, df)
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The variance of one repetition, such that the difference of the means of `base` and `candidate` has the
/// variance `value · (1/n_base + 1/n_candidate)`. `history`: the repetitions of each earlier execution of what
/// `base` is an execution of.
///
/// Executions may differ by more than their repetitions do (another day, another state of the machine). When those of
/// `base` and `history` do, by an F test at 10 % (Bancroft 1964), that is part of the noise, with Satterthwaite's
/// degrees of freedom; else everything is pooled. `None` when nothing is repeated.
pub fn of_difference(base: &[f64], candidate: &[f64], history: &[&[f64]]) -> Option<Variance> {
    let mut same: Vec<&[f64]> = history.iter().copied().filter(|execution| !execution.is_empty()).collect();
    same.push(base);
    let all: Vec<&[f64]> = same.iter().copied().chain([candidate]).collect();
    let (within_squares, within_df) = within(&all);
    let total = same.iter().map(|execution| execution.len() as f64).sum::<f64>();
    let grand = same.iter().flat_map(|execution| execution.iter()).sum::<f64>() / total;
    let between_squares: f64 =
        same.iter().map(|execution| execution.len() as f64 * (mean(execution) - grand).powi(2)).sum();
    let between_df = same.len() as f64 - 1.0;
    if within_df + between_df == 0.0 {
        return None;
    }
    let pooled = Variance {
        value: (within_squares + between_squares) / (within_df + between_df),
        df: within_df + between_df,
        between_executions: false,
    };
    if between_df == 0.0 || within_df == 0.0 {
        return Some(pooled);
    }
    let (within_mean, between_mean) = ((within_squares / within_df).max(LEAST), between_squares / between_df);
    if f_above(between_mean / within_mean, between_df, within_df) > POOLED_ABOVE {
        return Some(pooled);
    }
    // Mean number of repetitions an execution, as the expectation of the between mean square has it.
    let squares = same.iter().map(|execution| (execution.len() as f64).powi(2)).sum::<f64>();
    let size = (total - squares / total) / between_df;
    let repetitions = 1.0 / base.len() as f64 + 1.0 / candidate.len() as f64;
    let (of_between, of_within) = (2.0 / size * between_mean, (repetitions - 2.0 / size) * within_mean);
    let variance = of_between + of_within;
    let df = variance.powi(2) / (of_between.powi(2) / between_df + of_within.powi(2) / within_df);
    Some(Variance { value: variance / repetitions, df: df.max(1.0), between_executions: true })
}

/// What the other points tell of the noise at the one whose own variance is `own`: their pooled variance, with as many
/// degrees of freedom as all variances together look alike. They are taken as drawn from a scaled inverse χ², whose
/// degrees of freedom follow from the spread of the logarithms (Smyth 2004, section 6.2). `None` without others.
pub fn borrowed(own: Option<Variance>, others: &[Variance]) -> Option<Variance> {
    let known_by_others = others.iter().map(|other| other.df).sum::<f64>();
    if known_by_others <= 0.0 {
        return None;
    }
    let value = others.iter().map(|other| other.df * other.value).sum::<f64>() / known_by_others;
    let all: Vec<_> = others.iter().copied().chain(own).filter(|variance| variance.df > 0.0).collect();
    let count = all.len() as f64;
    let most = known_by_others.min(MOST_BORROWED_DF);
    if count < 2.0 {
        return Some(Variance { value, df: most.min(LONE_DF), between_executions: false });
    }
    let logs: Vec<f64> = all.iter().map(centred).collect();
    let middle = mean(&logs);
    let spread = logs.iter().map(|log| (log - middle).powi(2)).sum::<f64>() / (count - 1.0);
    let by_chance = all.iter().map(|variance| by_chance(variance.df)).sum::<f64>() / count;
    let df = alike(spread, count - 1.0, by_chance);
    Some(Variance { value, df: df.min(most), between_executions: false })
}

/// The logarithm of a variance, without what it is off on average for having been estimated.
pub fn centred(variance: &Variance) -> f64 {
    let half = variance.df / 2.0;
    variance.value.max(LEAST).ln() - digamma(half) + half.ln()
}

/// The variance of that logarithm that chance alone makes.
pub fn by_chance(df: f64) -> f64 {
    trigamma(df / 2.0)
}

/// Degrees of freedom of the inverse χ² that variances are drawn from whose logarithms have the variance `spread`, known
/// from so many `comparisons`, when `by_chance` of it is none.
pub fn alike(spread: f64, comparisons: f64, by_chance: f64) -> f64 {
    // A few show their spread inexactly, and to take it for too small makes wrong verdicts on the noisy ones: some
    // standard errors more.
    let excess = spread * (1.0 + CAUTION * (2.0 / comparisons).sqrt()) - by_chance;
    if excess > 0.0 { 2.0 * trigamma_inverse(excess) } else { f64::INFINITY }
}

/// A point's own variance, moderated by what is borrowed from others, and never below `floor`, which the requests
/// within the repetitions alone account for. `None` when nothing is known.
pub fn moderated(own: Option<Variance>, borrowed: &[Option<Variance>], floor: f64) -> Option<Variance> {
    let lent: &[Option<Variance>] = match own {
        // Repetitions of other points say nothing of how executions differ.
        Some(own) if own.between_executions => &[],
        _ => borrowed,
    };
    let all = || std::iter::once(&own).chain(lent).flatten();
    let df: f64 = all().map(|known| known.df).sum();
    if df <= 0.0 {
        return None;
    }
    let value = all().map(|known| known.df * known.value).sum::<f64>() / df;
    let between_executions = own.is_some_and(|own| own.between_executions);
    Some(Variance { value: value.max(floor).max(LEAST), df, between_executions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    #[test]
    fn repetitions_of_both_sides_are_pooled_about_their_own_means() {
        let variance = of_difference(&[1.0, 2.0, 3.0], &[11.0, 13.0], &[]).expect("repeated");
        near(variance.value, 4.0 / 3.0);
        near(variance.df, 3.0);
        assert_eq!(of_difference(&[1.0], &[2.0], &[]), None);
        near(of_difference(&[1.0], &[2.0, 4.0], &[]).expect("repeated").value, 2.0);
    }

    #[test]
    fn executions_that_differ_are_noise_and_those_that_do_not_are_pooled() {
        let base = [1.00, 1.01, 1.02];
        let calm: [&[f64]; 2] = [&[1.01, 1.00, 1.02], &[1.02, 1.01, 1.00]];
        let variance = of_difference(&base, &base, &calm).expect("repeated");
        assert!(!variance.between_executions);
        near(variance.df, 10.0);
        let drifting: [&[f64]; 2] = [&[1.11, 1.10, 1.12], &[0.92, 0.91, 0.90]];
        let variance = of_difference(&base, &base, &drifting).expect("repeated");
        assert!(variance.between_executions && variance.df < 3.0, "{variance:?}");
        // Means of 1.01, 1.11 and 0.91: a difference of two executions has twice their variance.
        near(variance.value * 2.0 / 3.0, 2.0 * 0.01);
    }

    #[test]
    fn one_repetition_an_execution_shows_the_noise_by_its_history() {
        let variance = of_difference(&[1.0], &[9.0], &[&[1.2], &[0.8]]).expect("a history");
        near(variance.value, 0.04);
        near(variance.df, 2.0);
    }

    #[test]
    fn points_that_look_alike_lend_much_and_others_little() {
        let known = |value: f64| Variance { value, df: 4.0, between_executions: false };
        let alike: Vec<_> = [0.9, 1.0, 1.1, 1.0, 0.95, 1.05, 1.0, 1.0, 1.0].map(known).to_vec();
        let lent = borrowed(Some(known(1.0)), &alike).expect("others");
        assert!(lent.df > 20.0, "{lent:?}");
        let unlike: Vec<_> = [0.001, 100.0, 1.0, 0.1, 10.0, 0.01, 1000.0, 1.0, 30.0].map(known).to_vec();
        let lent = borrowed(Some(known(1.0)), &unlike).expect("others");
        assert!(lent.df < 1.0, "{lent:?}");
        assert_eq!(borrowed(Some(known(1.0)), &[]), None);
        assert!(borrowed(None, &[known(1.0)]).expect("one").df <= LONE_DF);
    }

    #[test]
    fn requests_within_set_a_floor() {
        let own = Some(Variance { value: 0.0, df: 4.0, between_executions: false });
        near(moderated(own, &[None], 0.25).expect("known").value, 0.25);
        assert_eq!(moderated(None, &[None], 0.25), None);
    }
}
