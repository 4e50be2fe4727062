//! The figures of one point taken together: what they tell of each other's noise, and whether they changed as a whole.
//!
//! Three repetitions of one point leave four degrees of freedom, with which a tenth more at 2 % noise is often missed.
//! But a slowdown moves several figures at once. Their mean, each in units of its own threshold, is tested with a
//! variance of its own, so nothing is taken for granted of how the figures move together; where they do not
//! follow each other, each adds to what is known of the noise. Knows logarithms of repetitions only.

use super::{
    Logs,
    metric::Metric,
    noise::{self, Variance},
    verdict::band,
};

/// Degrees of freedom that the other figures of a point may add to what is known of one.
const MOST_FROM_FIGURES: f64 = 4.0;

/// Share of the degrees of freedom that figures add to their mean: how much they follow each other is known badly.
const CREDIT: f64 = 0.5;

/// One figure of a point with the variance that its own repetitions show.
pub struct Own<'a> {
    pub metric: Metric,
    pub threshold: f64,
    pub logs: &'a Logs,
    pub variance: Option<Variance>,
}

impl<'a> Own<'a> {
    pub fn new(metric: Metric, threshold: f64, logs: &'a Logs) -> Self {
        Self { metric, threshold, logs, variance: logs.variance() }
    }

    /// The change that its threshold allows for the worse, with the sign of worse.
    fn unit(&self) -> f64 {
        let band = band(self.metric, self.threshold);
        if self.metric.more_is_worse() { band[1] } else { band[0] }
    }

    /// Whether its repetitions are all there, so that they can be put beside those of another figure.
    fn usable(&self) -> bool {
        !self.logs.incomplete
    }

    /// Its variance in units of its threshold, unless that holds more than repetitions show.
    fn scaled(&self) -> Option<Variance> {
        let own = self.variance.filter(|own| !own.between_executions && own.df > 0.0)?;
        Some(Variance { value: own.value / self.unit().powi(2), ..own })
    }
}

/// The mean of the figures that every repetition has, in units of their thresholds: +1 is as much worse as all
/// thresholds allow. `None` for fewer than two figures.
pub fn mean(point: &[Own<'_>]) -> Option<(Logs, Vec<Metric>)> {
    let figures: Vec<_> = point.iter().filter(|own| own.usable()).collect();
    if figures.len() < 2 {
        return None;
    }
    let count = figures.len() as f64;
    // Executions that lack a figure in some repetition cannot be lined up.
    let mean_of = |side: &dyn Fn(&Logs) -> &[f64]| -> Vec<f64> {
        let columns: Vec<(&[f64], f64)> = figures.iter().map(|own| (side(own.logs), own.unit())).collect();
        let length = columns[0].0.len();
        if columns.iter().any(|(column, _)| column.len() != length) {
            return Vec::new();
        }
        (0..length)
            .map(|place| columns.iter().map(|(column, unit)| column[place] / unit).sum::<f64>() / count)
            .collect()
    };
    let executions = figures.iter().map(|own| own.logs.history.len()).min().unwrap_or_default();
    let together = Logs {
        base: mean_of(&|logs| &logs.base),
        candidate: mean_of(&|logs| &logs.candidate),
        history: (0..executions).map(|place| mean_of(&|logs| &logs.history[place])).collect(),
        // As if what the requests account for were the same in all of them.
        floor: (figures.iter().map(|own| own.logs.floor.sqrt() / own.unit().abs()).sum::<f64>() / count).powi(2),
        incomplete: false,
        unsupported: false,
    };
    (!together.base.is_empty() && !together.candidate.is_empty())
        .then(|| (together, figures.iter().map(|own| own.metric).collect()))
}

/// What the figures tell of the variance of their mean beside its own repetitions: the bound that it would reach if they
/// moved as one, with the degrees of freedom that they have beyond those of one figure (Satterthwaite, with the
/// correlations found).
pub fn lent_to_mean(point: &[Own<'_>]) -> Option<Variance> {
    let figures: Vec<(&Own<'_>, Variance)> =
        point.iter().filter(|own| own.usable()).filter_map(|own| Some((own, own.scaled()?))).collect();
    if figures.len() < 2 || figures.len() < point.iter().filter(|own| own.usable()).count() {
        return None;
    }
    let df = figures.iter().map(|(_, variance)| variance.df).fold(f64::INFINITY, f64::min);
    let (mut sum, mut common) = (0.0, 0.0);
    for (a, of_a) in &figures {
        for (b, of_b) in &figures {
            let deviations = (of_a.value * of_b.value).sqrt();
            sum += deviations;
            common += if a.metric == b.metric { deviations } else { deviations * followed(a.logs, b.logs) };
        }
    }
    let bound = sum / (figures.len() as f64).powi(2);
    let more = CREDIT * df * (sum / common - 1.0);
    (more > 0.0).then_some(Variance { value: bound, df: more, between_executions: false })
}

/// What the other figures at the place `point` tell of the noise of the figure `metric` there: their mean variance
/// relative to their thresholds, with as many degrees of freedom as the figures of all points look equally noisy, and no
/// more than they vary apart.
pub fn lent_to_figure(points: &[Vec<Own<'_>>], point: usize, metric: Metric) -> Option<Variance> {
    let pairs = |point: &[Own<'_>]| -> Vec<(Variance, Variance, f64)> {
        let Some(own) = point.iter().find(|own| own.metric == metric && own.usable()) else { return Vec::new() };
        let Some(scaled) = own.scaled() else { return Vec::new() };
        let others = point.iter().filter(|other| other.metric != metric && other.usable());
        others.filter_map(|other| Some((scaled, other.scaled()?, followed(own.logs, other.logs)))).collect()
    };
    let here = pairs(&points[point]);
    let (own, ..) = here.first()?;
    let count = here.len() as f64;
    let value = here.iter().map(|(_, other, _)| other.value).sum::<f64>() / count;
    let apart = here.iter().map(|(.., followed)| 1.0 - followed).sum::<f64>() / count;
    let all: Vec<_> = points.iter().map(|point| pairs(point)).filter(|pairs| !pairs.is_empty()).collect();
    let squares: Vec<f64> = all
        .iter()
        .map(|pairs| {
            let square = |(a, b, _): &(Variance, Variance, f64)| (noise::centred(a) - noise::centred(b)).powi(2) / 2.0;
            pairs.iter().map(square).sum::<f64>() / pairs.len() as f64
        })
        .collect();
    let alike = noise::alike(noise::mean(&squares), squares.len() as f64, noise::by_chance(own.df));
    let df = alike.min(MOST_FROM_FIGURES).min(own.df * apart);
    let unit = points[point].iter().find(|own| own.metric == metric).map_or(1.0, Own::unit);
    (df > 0.0).then_some(Variance { value: value * unit * unit, df, between_executions: false })
}

/// The squared correlation of two figures over repetitions, about the means of their executions; 1 where it cannot be
/// told.
fn followed(a: &Logs, b: &Logs) -> f64 {
    let (mut squares_a, mut squares_b, mut products) = (0.0, 0.0, 0.0);
    let sides = |logs: &Logs| -> Vec<Vec<f64>> {
        [&logs.base, &logs.candidate].into_iter().chain(&logs.history).cloned().collect()
    };
    for (a, b) in sides(a).iter().zip(&sides(b)) {
        if a.len() != b.len() || a.is_empty() {
            continue;
        }
        let (mean_a, mean_b) = (noise::mean(a), noise::mean(b));
        for (a, b) in a.iter().zip(b) {
            squares_a += (a - mean_a).powi(2);
            squares_b += (b - mean_b).powi(2);
            products += (a - mean_a) * (b - mean_b);
        }
    }
    let both = squares_a * squares_b;
    if both > 0.0 { (products * products / both).min(1.0) } else { 1.0 }
}
