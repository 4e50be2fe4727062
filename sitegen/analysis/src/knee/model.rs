//! The curves that a sweep is compared with: two lines that meet, and what has no knee.

use super::{
    Quantity,
    fit::{dot, fit, loss},
};

/// Growth after a knee over the growth before it, at most (throughput).
pub const MOST_GROWTH_LEFT: f64 = 0.5;

/// Rise from a knee to the last load over the value at the knee, at least (latency).
const LEAST_RISE: f64 = 0.25;

/// The points of a sweep, sorted by load.
pub struct Curve {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    /// What a deviation of each point is relative to: the level around it.
    pub scale: Vec<f64>,
    /// The different loads, ascending.
    pub loads: Vec<f64>,
    /// Median at each load.
    medians: Vec<f64>,
}

impl Curve {
    pub fn new(points: &[(f64, f64)]) -> Self {
        let mut points: Vec<_> =
            points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite() && *x > 0.0).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (x, y): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        Self::of_sorted(x, y)
    }

    fn of_sorted(x: Vec<f64>, y: Vec<f64>) -> Self {
        let mut loads = x.clone();
        loads.dedup();
        let group = |load: f64| x.iter().zip(&y).filter(move |(x, _)| **x == load).map(|(_, y)| *y);
        let medians: Vec<f64> = loads.iter().map(|load| median(group(*load).collect())).collect();
        let highest = y.iter().fold(0.0_f64, |most, y| most.max(y.abs()));
        // The median of three neighbours, so that a single wild value does not set its own scale.
        let level = |i: usize| match (i.checked_sub(1), medians.get(i + 1)) {
            (Some(before), Some(after)) => median(vec![medians[before], medians[i], *after]),
            _ => medians[i],
        };
        let levels: Vec<f64> = (0..loads.len()).map(|i| level(i).abs().max(highest * 1e-3).max(1e-300)).collect();
        let scale = x.iter().map(|x| levels[loads.partition_point(|load| load < x)]).collect();
        Self { x, y, scale, loads, medians }
    }

    pub fn points(&self) -> usize {
        self.x.len()
    }

    /// Leaves out the last loads when latency, having risen, levels off there, as it does at a timeout or a limit of
    /// requests in flight. Gives the load from which it is level. The first of these loads stays where there would
    /// else be no rise to see.
    pub fn drop_plateau(&mut self) -> Option<f64> {
        let last = *self.medians.last()?;
        let level = self.medians.iter().rev().take_while(|value| (*value / last - 1.0).abs() < 0.05).count();
        let first = self.medians.len() - level;
        if level < 2 || first < level.max(3) || last < 2.0 * self.medians[0] {
            return None;
        }
        // Close values are a plateau only where they stopped growing as they did just before.
        let slope =
            |from: usize, to: usize| (self.medians[to] - self.medians[from]) / (self.loads[to] - self.loads[from]);
        if slope(first, self.loads.len() - 1) > 0.2 * slope(first - level, first) {
            return None;
        }
        let from = self.loads[first];
        let risen = self.medians[..first].iter().filter(|value| **value > 1.2 * self.medians[0]).count();
        let keep = self.x.partition_point(|x| if risen >= 2 { *x < from } else { *x <= from });
        *self = Self::of_sorted(self.x[..keep].to_vec(), self.y[..keep].to_vec());
        Some(from)
    }

    /// The place of a load among the different loads.
    pub fn place(&self, load: f64) -> usize {
        self.loads.partition_point(|known| *known < load)
    }

    fn fit<const N: usize>(&self, columns: impl Fn(f64) -> [f64; N]) -> Option<([f64; N], f64)> {
        let columns: Vec<[f64; N]> = self.x.iter().map(|x| columns(*x)).collect();
        fit(&columns, &self.y, &self.scale)
    }

    /// Akaike's criterion for Laplace-distributed deviations, corrected for small samples (Hurvich, Tsai 1989).
    /// `parameters` are those of the curve; the spread is one more.
    pub fn criterion(&self, loss: f64, parameters: usize) -> f64 {
        let (n, k) = (self.x.len() as f64, parameters as f64 + 1.0);
        if n - k - 1.0 <= 0.0 {
            return f64::INFINITY;
        }
        2.0 * n * loss.ln() + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
    }
}

/// The best curve without a knee.
pub struct Plain {
    kind: PlainKind,
    /// Exponent or slope: above zero when the curve rises.
    direction: f64,
    pub criterion: f64,
}

#[derive(Clone, Copy)]
enum PlainKind {
    Level,
    Proportional,
    Line,
    Power,
}

impl Plain {
    pub fn grows(&self) -> bool {
        self.direction > 0.0
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            PlainKind::Level => "a level line",
            PlainKind::Proportional => "growth in proportion to the load",
            PlainKind::Line => "one straight line",
            PlainKind::Power => "one smooth power law",
        }
    }
}

pub fn best_without_knee(curve: &Curve) -> Plain {
    let power = || {
        let logs: Vec<[f64; 2]> = curve.x.iter().map(|x| [1.0, x.ln()]).collect();
        let values: Vec<f64> = curve.y.iter().map(|y| (*y > 0.0).then(|| y.ln())).collect::<Option<_>>()?;
        let (coefficients, _) = fit(&logs, &values, &vec![1.0; values.len()])?;
        let deviation = |i: usize| (curve.y[i] - dot(&coefficients, &logs[i]).exp()) / curve.scale[i];
        Some((coefficients[1], loss((0..values.len()).map(deviation))))
    };
    let fits = [
        (PlainKind::Level, 1, curve.fit(|_| [1.0]).map(|(_, loss)| (0.0, loss))),
        (PlainKind::Proportional, 1, curve.fit(|x| [x]).map(|([slope], loss)| (slope, loss))),
        (PlainKind::Line, 2, curve.fit(|x| [1.0, x]).map(|([_, slope], loss)| (slope, loss))),
        (PlainKind::Power, 2, power()),
    ];
    let plain = fits.into_iter().filter_map(|(kind, parameters, fit)| {
        let (direction, loss) = fit?;
        Some(Plain { kind, direction, criterion: curve.criterion(loss, parameters) })
    });
    plain.min_by(|a, b| a.criterion.total_cmp(&b.criterion)).unwrap_or(Plain {
        kind: PlainKind::Level,
        direction: 0.0,
        criterion: f64::INFINITY,
    })
}

/// Two straight lines that meet at the knee.
#[derive(Clone, Debug)]
pub struct Shape {
    kind: Kind,
    knee: f64,
    start: f64,
    before: f64,
    after: f64,
    last: f64,
    loss: f64,
    pub criterion: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Through the origin, then level.
    Ceiling,
    /// Through the origin, then another slope.
    Bent,
    /// Level, then rising.
    LevelThenRise,
    /// Rising, then rising faster.
    RiseThenSteeper,
    /// Gunther's universal scalability law.
    Usl,
}

impl Shape {
    pub fn at(&self, x: f64) -> f64 {
        self.start + self.before * x.min(self.knee) + self.after * (x - self.knee).max(0.0)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the break is large enough for a knee that matters.
    pub fn is_notable(&self) -> bool {
        match self.kind {
            Kind::Ceiling | Kind::Bent => self.before > 0.0 && self.after <= MOST_GROWTH_LEFT * self.before,
            Kind::LevelThenRise | Kind::RiseThenSteeper => {
                let at_knee = self.at(self.knee);
                self.before >= 0.0
                    && self.after >= 2.0 * self.before
                    && at_knee > 0.0
                    && self.at(self.last) - at_knee >= LEAST_RISE * at_knee
            }
            Kind::Usl => false,
        }
    }
}

impl Kind {
    /// The kind without the assumption that one of the lines is level.
    pub fn general(self) -> Self {
        match self {
            Kind::Ceiling | Kind::Bent => Kind::Bent,
            Kind::LevelThenRise | Kind::RiseThenSteeper => Kind::RiseThenSteeper,
            Kind::Usl => Kind::Usl,
        }
    }

    pub fn parameters(self) -> usize {
        match self {
            Kind::Ceiling => 2,
            Kind::Bent | Kind::LevelThenRise | Kind::Usl => 3,
            Kind::RiseThenSteeper => 4,
        }
    }

    fn fit(self, curve: &Curve, knee: f64) -> Option<Shape> {
        let beyond = |x: f64| (x - knee).max(0.0);
        let ([start, before, after], loss) = match self {
            Kind::Ceiling => {
                let ([slope], loss) = curve.fit(|x| [x.min(knee)])?;
                ([0.0, slope, 0.0], loss)
            }
            Kind::Bent => {
                let ([slope, after], loss) = curve.fit(|x| [x.min(knee), beyond(x)])?;
                ([0.0, slope, after], loss)
            }
            Kind::LevelThenRise => {
                let ([level, after], loss) = curve.fit(|x| [1.0, beyond(x)])?;
                ([level, 0.0, after], loss)
            }
            Kind::RiseThenSteeper => curve.fit(|x| [1.0, x.min(knee), beyond(x)])?,
            Kind::Usl => return None,
        };
        let last = *curve.loads.last()?;
        let criterion = curve.criterion(loss, self.parameters());
        Some(Shape { kind: self, knee, start, before, after, last, loss, criterion })
    }
}

/// The best two lines whose break is a notable knee of that quantity.
pub fn best_with_knee(curve: &Curve, quantity: Quantity) -> Option<Shape> {
    let kinds = match quantity {
        Quantity::Throughput => [Kind::Ceiling, Kind::Bent],
        Quantity::Latency => [Kind::LevelThenRise, Kind::RiseThenSteeper],
    };
    let shapes = kinds.into_iter().filter_map(|kind| best_of_kind(curve, kind)).filter(Shape::is_notable);
    shapes.min_by(|a, b| a.criterion.total_cmp(&b.criterion))
}

/// Tries breaks evenly between neighbouring loads, then closer and closer around the best. A break needs two
/// loads up to it and one beyond.
fn best_of_kind(curve: &Curve, kind: Kind) -> Option<Shape> {
    let inner = curve.loads.get(1..curve.loads.len().checked_sub(1)?)?;
    let steps = (24 / inner.len().max(1)).clamp(1, 4);
    let mut breaks: Vec<f64> = Vec::new();
    for pair in curve.loads[1..].windows(2) {
        breaks.extend((0..steps).map(|step| pair[0] + (pair[1] - pair[0]) * step as f64 / steps as f64));
    }
    let better = |a: &Shape, b: &Shape| a.loss < b.loss * (1.0 - 1e-9);
    let try_all = |breaks: &[f64], mut best: Option<Shape>| {
        for shape in breaks.iter().filter_map(|knee| kind.fit(curve, *knee)) {
            if best.as_ref().is_none_or(|best| better(&shape, best)) {
                best = Some(shape);
            }
        }
        best
    };
    let mut best = try_all(&breaks, None)?;
    let place = breaks.partition_point(|knee| *knee < best.knee);
    let (mut low, mut high) = (
        breaks[place.saturating_sub(1)],
        breaks.get(place + 1).copied().unwrap_or_else(|| curve.loads[curve.loads.len() - 1]),
    );
    for _ in 0..3 {
        let step = (high - low) / 6.0;
        let finer: Vec<f64> = (1..6).map(|i| low + step * f64::from(i)).collect();
        best = try_all(&finer, Some(best))?;
        (low, high) = ((best.knee - step).max(low), (best.knee + step).min(high));
    }
    Some(best)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
