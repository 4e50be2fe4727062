//! From an effect and its noise to a row: its test, equivalence within the threshold, and how many repetitions would
//! tell. What many tests make of it is `correct`'s.

use super::{
    Effect, JointComparison, Logs, MetricComparison, OUTSIDE, Verdict,
    distribution::{t_critical, t_two_sided},
    failures::{self, Counts},
    metric::{Metric, Thresholds},
    noise::{self, Variance},
};
use crate::TwoSamples;

/// The chance with which the number of repetitions that is named would tell: 80 %, as a normal quantile.
const POWER: f64 = 0.842;

/// More repetitions than that are no advice.
const MOST_REPETITIONS: u32 = 1000;

/// What the number of repetitions needed depends on, beside the number of tests.
pub struct Planning {
    effect: f64,
    band: [f64; 2],
    variance: Variance,
    /// Degrees of freedom that do not come from these repetitions.
    other_df: f64,
}

impl Planning {
    /// The smallest number a side with which the same change would be called the same, or a change, by a test at
    /// `level`.
    pub fn repetitions(&self, level: f64) -> Option<u32> {
        let to_edge = (self.band[1] - self.effect).min(self.effect - self.band[0]);
        let tells = |repetitions: u32| {
            let size = f64::from(repetitions);
            let error = (self.variance.value * 2.0 / size).sqrt();
            let df = self.other_df + 2.0 * size - 2.0;
            let reaches = |outside: f64, size: f64| (t_critical(outside, df) + POWER) * error <= size;
            reaches(OUTSIDE, to_edge) || reaches(level, self.effect.abs())
        };
        let (mut too_few, mut enough) = (1, MOST_REPETITIONS);
        if !tells(enough) {
            return None;
        }
        while enough - too_few > 1 {
            let middle = (too_few + enough) / 2;
            match tells(middle) {
                true => enough = middle,
                false => too_few = middle,
            }
        }
        Some(enough)
    }
}

/// Changes in the logarithm that are within the threshold: as much for the better as for the worse.
pub fn band(metric: Metric, threshold: f64) -> [f64; 2] {
    let share = threshold / 100.0;
    let less = if share < 1.0 { (1.0 - share).ln() } else { -share.ln_1p() };
    match metric.more_is_worse() {
        true => [less, share.ln_1p()],
        false => [less, -less],
    }
}

/// A figure that is a time or a rate.
pub fn of_figure(metric: Metric, threshold: f64, logs: &Logs, variance: Option<Variance>) -> Effect<MetricComparison> {
    let (base, candidate) = (noise::mean(&logs.base), noise::mean(&logs.candidate));
    let effect = candidate - base;
    let band = band(metric, threshold);
    let worse = (effect > 0.0) == metric.more_is_worse() && effect != 0.0;
    let beyond = if metric.more_is_worse() { effect > band[1] } else { effect < band[0] };
    let percent = |log: f64| log.exp_m1() * 100.0;
    let ranks = TwoSamples::new(&logs.base, &logs.candidate).ok();
    let mut effect_row = Effect {
        row: MetricComparison {
            metric,
            base: base.exp(),
            candidate: candidate.exp(),
            change: percent(effect),
            interval: None,
            threshold,
            within_threshold: !beyond,
            noise: None,
            noise_df: None,
            noise_band: None,
            p_value: None,
            p_corrected: None,
            hodges_lehmann: ranks.as_ref().map(|ranks| percent(ranks.hodges_lehmann().shift)),
            mann_whitney_p: ranks.as_ref().map(|ranks| ranks.mann_whitney().p()),
            verdict: Verdict::CannotTell,
            reason: "nothing is repeated, so the noise is not known: run each side three times or more".to_owned(),
            repetitions_needed: None,
            unsupported: logs.unsupported,
        },
        worse,
        otherwise: Verdict::CannotTell,
        if_significant: None,
        needed: None,
    };
    if logs.incomplete {
        effect_row.row.reason = "some repetitions do not have this figure".to_owned();
        return effect_row;
    }
    let Some(variance) = variance else { return effect_row };
    let sizes = (logs.base.len() as f64, logs.candidate.len() as f64);
    let error = (variance.value * (1.0 / sizes.0 + 1.0 / sizes.1)).sqrt();
    let half = t_critical(OUTSIDE, variance.df) * error;
    let interval = [effect - half, effect + half];
    let inside = interval[0] > band[0] && interval[1] < band[1];
    let row = &mut effect_row.row;
    row.interval = Some(interval.map(percent));
    row.noise = Some(variance.value.sqrt() * 100.0);
    row.noise_df = Some(variance.df);
    row.noise_band = Some([percent(-half), percent(half)]);
    row.p_value = Some(t_two_sided(effect / error, variance.df));
    if inside {
        effect_row.otherwise = Verdict::Same;
        effect_row.row.reason = "the whole interval is within the threshold".to_owned();
    } else {
        effect_row.if_significant = Some(if worse {
            (Verdict::Regressed, "worse beyond chance, and not shown to be within the threshold".to_owned())
        } else {
            (Verdict::Improved, "better beyond chance, and by more than the threshold may hide".to_owned())
        });
        effect_row.row.reason = "neither a change beyond chance nor shown to be within the threshold".to_owned();
        if variance.between_executions {
            // Repetitions of one execution do not make executions more alike.
            effect_row.row.reason += "; executions differ by more than their repetitions, so more of these would not tell: \
                                      run both sides again on other occasions";
        } else {
            let other_df = (variance.df - (sizes.0 + sizes.1 - 2.0)).max(0.0);
            effect_row.needed = Some(Planning { effect, band, variance, other_df });
        }
    }
    effect_row
}

/// The figures of a point together, in units of their thresholds.
pub fn of_mean(metrics: Vec<Metric>, logs: &Logs, variance: Variance) -> Effect<JointComparison> {
    let change = noise::mean(&logs.candidate) - noise::mean(&logs.base);
    let error = (variance.value * (1.0 / logs.base.len() as f64 + 1.0 / logs.candidate.len() as f64)).sqrt();
    let half = t_critical(OUTSIDE, variance.df) * error;
    let interval = [change - half, change + half];
    let inside = interval[0] > -1.0 && interval[1] < 1.0;
    let worse = change > 0.0;
    let found = match worse {
        true => (Verdict::Regressed, "together worse beyond chance, and not shown to be within the thresholds"),
        false => (Verdict::Improved, "together better beyond chance, and by more than the thresholds may hide"),
    };
    let reason = match inside {
        true => "the whole interval is within the thresholds",
        false => "neither a change beyond chance nor shown to be within the thresholds",
    };
    Effect {
        row: JointComparison {
            metrics,
            change,
            interval,
            noise_df: variance.df,
            p_value: t_two_sided(change / error, variance.df),
            p_corrected: None,
            verdict: Verdict::CannotTell,
            reason: reason.to_owned(),
        },
        worse,
        otherwise: if inside { Verdict::Same } else { Verdict::CannotTell },
        if_significant: (!inside).then(|| (found.0, found.1.to_owned())),
        needed: None,
    }
}

/// The rows of `success_rate` and `failed_requests`: one test, two rules.
pub fn of_failures(thresholds: &Thresholds, base: &[Counts], candidate: &[Counts]) -> Vec<Effect<MetricComparison>> {
    let Some(change) = failures::change(base, candidate) else { return Vec::new() };
    let points = (change.shares[1] - change.shares[0]) * 100.0;
    let interval = change.interval.map(|interval| interval.map(|share| share * 100.0));
    let worse = points < 0.0;
    let unknown = "failures were not repeated, so it is not known how they cluster: run each side three times or more";
    let mut rows: Vec<Effect<MetricComparison>> = Vec::new();
    for (metric, threshold) in thresholds.iter().filter(|(metric, _)| metric.is_proportion()) {
        let of_mean = |side: &[Counts]| side.iter().map(|counts| counts.failed).sum::<u64>() as f64 / side.len() as f64;
        let (values, size, within) = match metric {
            Metric::SuccessRate => (change.shares.map(|share| share * 100.0), points, points >= -threshold),
            _ => {
                let failed = [of_mean(base), of_mean(candidate)];
                (failed, failed[1] - failed[0], failed[1] - failed[0] <= threshold)
            }
        };
        let same = match metric {
            Metric::SuccessRate => interval.is_some_and(|[low, high]| low > -threshold && high < threshold),
            _ => {
                let attempts =
                    candidate.iter().map(|counts| counts.attempts).sum::<u64>() as f64 / candidate.len() as f64;
                let most = interval.map(|[low, high]| low.abs().max(high.abs()) / 100.0 * attempts);
                values == [0.0, 0.0] || most.is_some_and(|most| most < threshold)
            }
        };
        let unsure = match interval {
            Some(_) => "neither a change beyond chance nor shown to be within the threshold",
            None => unknown,
        };
        let word = if worse { (Verdict::Regressed, "more") } else { (Verdict::Improved, "fewer") };
        let significant = (word.0, format!("{} requests failed, beyond chance", word.1));
        rows.push(Effect {
            row: MetricComparison {
                metric,
                base: values[0],
                candidate: values[1],
                change: size,
                interval: if metric == Metric::SuccessRate { interval } else { None },
                threshold,
                within_threshold: within,
                noise: None,
                noise_df: None,
                noise_band: None,
                p_value: change.p_value,
                p_corrected: None,
                hodges_lehmann: None,
                mann_whitney_p: None,
                verdict: Verdict::CannotTell,
                reason: if same { "within the threshold".to_owned() } else { unsure.to_owned() },
                repetitions_needed: None,
                unsupported: false,
            },
            worse,
            otherwise: if same { Verdict::Same } else { Verdict::CannotTell },
            if_significant: (!same).then_some(significant),
            needed: None,
        });
    }
    // A few failures more or fewer are no other state of things than the success rate says.
    if let Some(rate) = rows.iter().find(|row| row.row.metric == Metric::SuccessRate).map(|row| row.otherwise)
        && let Some(failures) = rows.iter_mut().find(|row| row.row.metric == Metric::Failures)
        && rate == Verdict::Same
    {
        failures.otherwise = Verdict::Same;
        if failures.if_significant.is_some() {
            failures.row.reason = "no change beyond chance, and the success rate is the same".to_owned();
        }
    }
    rows
}
