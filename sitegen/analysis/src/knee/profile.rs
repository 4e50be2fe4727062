//! The interval of a knee: every load that explains the data about as well as the best one does.
//!
//! The weighted sum of squares is followed along the knee with everything else fitted anew (a profile likelihood);
//! the interval holds the knees where it stays below S·(1 + t²/ν), which is exact for a straight model (Bates, Watts,
//! *Nonlinear Regression Analysis*, 1988, §6.1).

use super::{
    fit::{RESOLUTION, dot, least_squares, loss},
    model::{Curve, Kind, Shape, median},
};

/// Deviations from the robust fit beyond so many of their own spreads are outliers.
const OUTLIER: f64 = 6.0;

/// Ratio of mean squares from which loads deviate more than their repetitions explain.
const LACK_OF_FIT: f64 = 2.5;

/// How far beyond the last load a USL curve may have its knee, so that one that is not in the range is seen.
const USL_REACH: f64 = 16.0;

/// Knees that are tried over the range.
const STEPS: usize = 160;

/// The least-squares knee with its 95 % interval.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub knee: f64,
    pub low: f64,
    pub high: f64,
    pub value: f64,
    /// Akaike's criterion for normal deviations, corrected for small samples.
    pub criterion: f64,
    /// Growth at the end of the sweep over growth at low load.
    pub growth_left: f64,
    parameters: [f64; 3],
    pub kind: Kind,
}

/// Points without outliers, relative to their level.
pub struct Cleaned<'a> {
    curve: &'a Curve,
    kept: Vec<usize>,
}

impl<'a> Cleaned<'a> {
    /// Leaves out what lies far from the robust fit, unless that is much: then the fit is wrong and not the points.
    pub fn new(curve: &'a Curve, robust: &Shape) -> Self {
        let deviation = |i: usize| ((curve.y[i] - robust.at(curve.x[i])) / curve.scale[i]).abs();
        let all: Vec<usize> = (0..curve.x.len()).collect();
        let spread = 1.4826 * median(all.iter().map(|i| deviation(*i)).collect());
        let kept: Vec<usize> =
            all.iter().copied().filter(|i| deviation(*i) <= OUTLIER * spread.max(RESOLUTION)).collect();
        let few = all.len() - kept.len() <= all.len() / 8;
        Self { curve, kept: if few { kept } else { all } }
    }

    /// Sum of squares of relative deviations from the best shape of that kind with its knee there.
    fn fit(&self, kind: Kind, knee: f64) -> Option<(f64, [f64; 3])> {
        let with = |columns: &dyn Fn(f64) -> [f64; 3], count: usize| self.solve(columns, count);
        let beyond = move |x: f64| (x - knee).max(0.0);
        match kind {
            Kind::Ceiling => with(&|x| [x.min(knee), 0.0, 0.0], 1),
            Kind::Bent => with(&|x| [x.min(knee), beyond(x), 0.0], 2),
            Kind::LevelThenRise => with(&|x| [1.0, beyond(x), 0.0], 2),
            Kind::RiseThenSteeper => with(&|x| [1.0, x.min(knee), beyond(x)], 3),
            Kind::Usl => self.fit_usl(knee),
        }
    }

    /// The best USL curve with that knee: its scale follows from the rest, the share of contention is searched.
    fn fit_usl(&self, knee: f64) -> Option<(f64, [f64; 3])> {
        let at_share = |share: f64| {
            let usl = Usl::new(knee, share, self.curve.loads[0].min(1.0));
            let (mut right, mut square) = (0.0, 0.0);
            for i in &self.kept {
                let (value, weight) = (usl.at(self.curve.x[*i]), self.curve.scale[*i].powi(-2));
                right += weight * value * self.curve.y[*i];
                square += weight * value * value;
            }
            let scale = right / square;
            let deviation = |i: &usize| (self.curve.y[*i] - scale * usl.at(self.curve.x[*i])) / self.curve.scale[*i];
            (self.kept.iter().map(|i| deviation(i).powi(2)).sum::<f64>(), [scale, share, 0.0])
        };
        let coarse = (0..=12).map(|i| at_share(f64::from(i) / 12.0));
        let mut best = coarse.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let mut step = 1.0 / 12.0;
        for _ in 0..8 {
            step /= 2.0;
            for share in [best.1[1] - step, best.1[1] + step] {
                let tried = at_share(share.clamp(0.0, 1.0));
                if tried.0 < best.0 {
                    best = tried;
                }
            }
        }
        best.0.is_finite().then_some(best)
    }

    fn solve(&self, columns: &dyn Fn(f64) -> [f64; 3], count: usize) -> Option<(f64, [f64; 3])> {
        let curve = self.curve;
        let rows: Vec<[f64; 3]> = self.kept.iter().map(|i| columns(curve.x[*i])).collect();
        let y: Vec<f64> = self.kept.iter().map(|i| curve.y[*i]).collect();
        let weights: Vec<f64> = self.kept.iter().map(|i| 1.0 / (curve.scale[*i] * curve.scale[*i])).collect();
        let found = match count {
            1 => least_squares(&rows.iter().map(|r| [r[0]]).collect::<Vec<_>>(), &y, &weights).map(|[a]| [a, 0.0, 0.0]),
            2 => least_squares(&rows.iter().map(|r| [r[0], r[1]]).collect::<Vec<_>>(), &y, &weights)
                .map(|[a, b]| [a, b, 0.0]),
            _ => least_squares(&rows, &y, &weights),
        }?;
        let squares = |i: usize| (y[i] - dot(&found, &rows[i])).powi(2) * weights[i];
        Some(((0..y.len()).map(squares).sum(), found))
    }

    /// The robust criterion of [`Curve::criterion`] for a profile's curve, over all points.
    pub fn robust_criterion(&self, profile: &Profile) -> f64 {
        let curve = self.curve;
        let usl = Usl::new(profile.knee, profile.parameters[1], curve.loads[0].min(1.0));
        let deviation = |i: usize| (curve.y[i] - profile.parameters[0] * usl.at(curve.x[i])) / curve.scale[i];
        curve.criterion(loss((0..curve.x.len()).map(deviation)), profile.kind.parameters())
    }

    /// Follows the knee over the range swept.
    pub fn profile(&self, kind: Kind) -> Option<Profile> {
        let loads = &self.curve.loads;
        let (first, last) = match kind {
            Kind::Usl => (loads[0], *loads.last()? * USL_REACH),
            _ => (*loads.get(1)?, *loads.last()?),
        };
        // Half of the steps evenly, half on a logarithmic scale: whatever the grid is.
        let mut knees: Vec<f64> = (0..STEPS).map(|i| first + (last - first) * i as f64 / STEPS as f64).collect();
        knees.extend((1..STEPS).map(|i| first * (last / first).powf(i as f64 / STEPS as f64)));
        knees.extend(loads[1..loads.len() - 1].iter().copied());
        knees.sort_unstable_by(f64::total_cmp);
        let mut tried: Vec<(f64, f64)> =
            knees.iter().filter_map(|knee| Some((*knee, self.fit(kind, *knee)?.0))).collect();
        let place = (0..tried.len()).min_by(|a, b| tried[*a].1.total_cmp(&tried[*b].1))?;
        let (mut low, mut high) = (tried[place.saturating_sub(1)].0, tried[(place + 1).min(tried.len() - 1)].0);
        for _ in 0..4 {
            let step = (high - low) / 6.0;
            let finer = (1..6).map(|i| low + step * f64::from(i));
            tried.extend(finer.filter_map(|knee| Some((knee, self.fit(kind, knee)?.0))));
            let best = tried.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
            (low, high) = ((best.0 - step).max(low), (best.0 + step).min(high));
        }
        let (knee, squares) = *tried.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        let (_, [a, b, c]) = self.fit(kind, knee)?;
        let parameters = kind.parameters();
        let n = self.kept.len();
        let (variance, freedom) = self.variance(squares, parameters);
        let bound = squares + student(freedom).powi(2) * variance;
        tried.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let inside = |tried: &(f64, f64)| tried.1 <= bound;
        let (low, high) = (tried.iter().position(inside)?, tried.iter().rposition(inside)?);
        // Where the sum of squares crosses the bound, between the last knee inside and the next one.
        let crossing = |inner: (f64, f64), outer: (f64, f64)| {
            inner.0 + (outer.0 - inner.0) * (bound - inner.1) / (outer.1 - inner.1)
        };
        let low = if low == 0 { first } else { crossing(tried[low], tried[low - 1]) };
        let high = tried.get(high + 1).map_or(last, |outer| crossing(tried[high], *outer));
        // A break up to the second load, or from the last but one on, leaves one line without a slope of its own.
        let low = if low <= first { loads[0] } else { low };
        let value = match kind {
            Kind::Usl => a * Usl::new(knee, b, loads[0].min(1.0)).at(knee),
            Kind::Ceiling | Kind::Bent => a * knee,
            Kind::LevelThenRise => a,
            Kind::RiseThenSteeper => a + b * knee,
        };
        let end = *loads.last()?;
        let growth_left = match kind {
            Kind::Usl => Usl::new(knee, b, loads[0].min(1.0)).growth_left(end),
            _ => f64::NAN,
        };
        let criterion = criterion(squares, n, parameters);
        Some(Profile { knee, low, high, value, criterion, growth_left, parameters: [a, b, c], kind })
    }

    /// Variance of a relative deviation and its degrees of freedom: over all points, or, where loads deviate by more
    /// than their repetitions explain, over loads.
    fn variance(&self, squares: f64, parameters: usize) -> (f64, f64) {
        let (n, m) = (self.kept.len(), self.curve.loads.len());
        let pooled = squares / n.saturating_sub(parameters).max(1) as f64;
        let mut groups: Vec<(f64, f64, f64)> = vec![(0.0, 0.0, 0.0); m];
        for i in &self.kept {
            let group = &mut groups[self.curve.place(self.curve.x[*i])];
            let value = self.curve.y[*i] / self.curve.scale[*i];
            *group = (group.0 + 1.0, group.1 + value, group.2 + value * value);
        }
        let within: f64 = groups.iter().filter(|g| g.0 > 0.0).map(|g| (g.2 - g.1 * g.1 / g.0).max(0.0)).sum();
        let present = groups.iter().filter(|g| g.0 > 0.0).count();
        let within_freedom = n.saturating_sub(present);
        let floor = RESOLUTION * RESOLUTION;
        let pooled_freedom = n.saturating_sub(parameters).max(1) as f64;
        if within_freedom == 0 || present <= parameters {
            return (pooled.max(floor), pooled_freedom);
        }
        let lack = (squares - within).max(0.0) / (present - parameters) as f64;
        match lack > LACK_OF_FIT * (within / within_freedom as f64) {
            true => (lack.max(floor), (present - parameters) as f64),
            false => (pooled.max(floor), pooled_freedom),
        }
    }
}

/// A USL curve x/(1 + Bx + Cx²) up to its scale, whose low-load line meets its peak at the knee.
struct Usl {
    b: f64,
    c: f64,
}

impl Usl {
    /// `share` of the loss at the knee is contention, which grows with the load; the rest grows with its square.
    /// The low-load line is the one through `low`: g(x) = 1 + Bx + Cx² is least at 0, and the peak is
    /// 1/(B + 2√C), so that knee · (B + 2√C) = g(low).
    fn new(knee: f64, share: f64, low: f64) -> Self {
        let mut loss = 1.0 / knee;
        for _ in 0..6 {
            let (b, c) = (share * loss, ((1.0 - share) * loss / 2.0).powi(2));
            loss = (1.0 + b * low + c * low * low) / knee;
        }
        Self { b: share * loss, c: ((1.0 - share) * loss / 2.0).powi(2) }
    }

    fn at(&self, x: f64) -> f64 {
        x / (1.0 + self.b * x + self.c * x * x)
    }

    /// Growth at a load over growth at none.
    fn growth_left(&self, x: f64) -> f64 {
        (1.0 - self.c * x * x) / (1.0 + self.b * x + self.c * x * x).powi(2)
    }
}

pub fn criterion(squares: f64, n: usize, parameters: usize) -> f64 {
    let (n, k) = (n as f64, parameters as f64 + 1.0);
    if n - k - 1.0 <= 0.0 {
        return f64::INFINITY;
    }
    n * (squares / n + RESOLUTION * RESOLUTION).ln() + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
}

/// 97.5 % quantile of Student's t: exact for one and two degrees of freedom, else by Cornish and Fisher's expansion
/// (Abramowitz, Stegun 26.7.5), good to 0.3 %.
pub fn student(freedom: f64) -> f64 {
    const Z: f64 = 1.959_963_985;
    match freedom {
        f if f < 1.5 => 12.706,
        f if f < 2.5 => 4.303,
        f => {
            let z2 = Z * Z;
            Z + Z * (z2 + 1.0) / (4.0 * f)
                + Z * (5.0 * z2 * z2 + 16.0 * z2 + 3.0) / (96.0 * f * f)
                + Z * (3.0 * z2.powi(3) + 19.0 * z2 * z2 + 17.0 * z2 - 15.0) / (384.0 * f.powi(3))
        }
    }
}
