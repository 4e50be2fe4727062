//! The least squares behind a USL fit: λ by projection for the choice of starts, Levenberg-Marquardt from the best.
//!
//! The normal equations are scaled to a diagonal of 1, so that the size of loads and throughputs does not matter.

/// Starts that are followed to their minimum.
const STARTS: usize = 6;

/// Steps of one descent. Most need about ten.
const STEPS: usize = 300;

/// Which of the parameters are fitted; λ always is.
#[derive(Clone, Copy, Debug)]
pub struct Free {
    pub sigma: bool,
    pub kappa: bool,
}

pub struct Data {
    x: Vec<f64>,
    y: Vec<f64>,
    smallest: f64,
    largest: f64,
    /// Σ(y − ȳ)²
    total: f64,
}

/// Entries that belong to a fitted parameter, for a residual standard error of 1.
pub type Covariance = [[Option<f64>; 3]; 3];

impl Data {
    pub fn new(points: &[(f64, f64)]) -> Self {
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let total = y.iter().map(|y| (y - mean).powi(2)).sum();
        let smallest = x.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = x.iter().copied().fold(0.0, f64::max);
        Self { x, y, smallest, largest, total }
    }

    pub fn len(&self) -> usize {
        self.x.len()
    }

    pub fn total(&self) -> f64 {
        self.total
    }

    pub fn rss(&self, [lambda, sigma, kappa]: &[f64; 3]) -> f64 {
        let residual = |(x, y): (&f64, &f64)| y - lambda * x / denominator(*x, *sigma, *kappa);
        self.x.iter().zip(&self.y).map(|pair| residual(pair).powi(2)).sum()
    }

    /// Whether the denominator is above zero from the smallest load to the largest.
    fn is_sound(&self, sigma: f64, kappa: f64) -> bool {
        let ends = denominator(self.smallest, sigma, kappa).min(denominator(self.largest, sigma, kappa));
        let vertex = 0.5 * (1.0 - sigma / kappa);
        let inside = kappa > 0.0 && vertex > self.smallest && vertex < self.largest;
        let least = if inside { ends.min(denominator(vertex, sigma, kappa)) } else { ends };
        least > 1e-12
    }

    /// The λ that suits given σ and κ best, and the sum of squares with it.
    fn project(&self, sigma: f64, kappa: f64) -> (f64, f64) {
        if !self.is_sound(sigma, kappa) {
            return (0.0, f64::INFINITY);
        }
        let (mut gg, mut gy) = (0.0, 0.0);
        for (x, y) in self.x.iter().zip(&self.y) {
            let g = x / denominator(*x, sigma, kappa);
            gg += g * g;
            gy += g * y;
        }
        let lambda = gy / gg;
        match lambda.is_finite() {
            true => (lambda, self.rss(&[lambda, sigma, kappa])),
            false => (0.0, f64::INFINITY),
        }
    }

    /// Starts over the whole range of shapes that loads like these can show.
    pub fn grid(&self) -> impl Iterator<Item = [f64; 2]> {
        let reach = 1.0 / self.largest.max(1.0);
        let sigmas = [-0.5 * reach, 0.0, 0.1 * reach, reach, 5.0 * reach, 0.01, 0.1, 0.3, 0.6, 0.9, 1.0];
        let kappas = [-0.2, 0.0, 0.1, 0.5, 2.0, 10.0, 50.0, 300.0].map(|k| k * reach * reach);
        sigmas.into_iter().flat_map(move |sigma| kappas.into_iter().map(move |kappa| [sigma, kappa]))
    }

    /// Where x/y = (1 + σ(x − 1) + κx(x − 1))/λ, which is linear, is met best with weights y^power.
    fn linear(&self, power: i32) -> Option<[f64; 2]> {
        let mut normal = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for (x, y) in self.x.iter().zip(&self.y).filter(|(_, y)| **y > 0.0) {
            let row = [1.0, x - 1.0, x * (x - 1.0)];
            let weight = y.powi(power);
            for i in 0..3 {
                right[i] += weight * row[i] * x / y;
                (0..3).for_each(|j| normal[i][j] += weight * row[i] * row[j]);
            }
        }
        let [a, b, c] = solve(normal, right, [true; 3])?;
        (a > 0.0).then(|| [b / a, c / a])
    }

    pub fn best_starts(&self) -> Vec<[f64; 2]> {
        let linear = [0, 1, 2, 3, 4].into_iter().filter_map(|power| self.linear(power));
        self.best_of(self.grid().chain(linear).collect())
    }

    pub fn best_of(&self, starts: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
        let rated = starts.into_iter().map(|start| (self.project(start[0], start[1]).1, start));
        let mut rated: Vec<_> = rated.filter(|(rss, _)| rss.is_finite()).collect();
        rated.sort_by(|a, b| a.0.total_cmp(&b.0));
        rated.truncate(STARTS);
        rated.into_iter().map(|(_, start)| start).collect()
    }

    /// The best minimum that the starts lead to, of those that are sound and `allowed`.
    pub fn descend_from(&self, starts: &[[f64; 2]], free: Free, allowed: impl Fn(f64, f64) -> bool) -> [f64; 3] {
        let ends = starts.iter().filter(|s| allowed(s[0], s[1])).map(|start| self.descend(*start, free, &allowed));
        let best = ends.min_by(|a, b| self.rss(a).total_cmp(&self.rss(b)));
        best.unwrap_or_else(|| [self.project(0.0, 0.0).0, 0.0, 0.0])
    }

    fn descend(&self, start: [f64; 2], free: Free, allowed: &impl Fn(f64, f64) -> bool) -> [f64; 3] {
        let mut at = [self.project(start[0], start[1]).0, start[0], start[1]];
        let mut rss = self.rss(&at);
        let mut damping = 1e-3;
        for _ in 0..STEPS {
            let (normal, right) = self.normal(&at);
            let mut damped = normal;
            (0..3).for_each(|i| damped[i][i] *= 1.0 + damping);
            let Some(step) = solve(damped, right, [true, free.sigma, free.kappa]) else {
                damping *= 10.0;
                if damping > 1e12 {
                    break;
                }
                continue;
            };
            let (sigma, kappa) = (at[1] + step[1], at[2] + step[2]);
            // λ is projected anew: the step in it is then never in the way of the others.
            let (lambda, next) = match allowed(sigma, kappa) {
                true => self.project(sigma, kappa),
                false => (0.0, f64::INFINITY),
            };
            if next < rss {
                let settled = (rss - next) <= 1e-15 * rss;
                (at, rss) = ([lambda, sigma, kappa], next);
                damping = (damping * 0.1).max(1e-14);
                if settled {
                    break;
                }
            } else {
                damping *= 10.0;
                if damping > 1e12 {
                    break;
                }
            }
        }
        at
    }

    /// JᵀJ and Jᵀ(residuals) of the model at a point.
    fn normal(&self, [lambda, sigma, kappa]: &[f64; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
        let mut normal = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for (x, y) in self.x.iter().zip(&self.y) {
            let below = denominator(*x, *sigma, *kappa);
            let g = x / below;
            let row = [g, -lambda * g * (x - 1.0) / below, -lambda * g * x * (x - 1.0) / below];
            let residual = y - lambda * g;
            for i in 0..3 {
                right[i] += row[i] * residual;
                (0..3).for_each(|j| normal[i][j] += row[i] * row[j]);
            }
        }
        (normal, right)
    }

    /// (JᵀJ)⁻¹ over the fitted parameters; `None` when the data do not fix them.
    pub fn covariance(&self, at: &[f64; 3], free: Free) -> Option<Covariance> {
        let mask = [true, free.sigma, free.kappa];
        let (normal, _) = self.normal(at);
        let mut covariance = Covariance::default();
        for i in (0..3).filter(|i| mask[*i]) {
            let unit: [f64; 3] = std::array::from_fn(|j| f64::from(u8::from(i == j)));
            let column = solve(normal, unit, mask)?;
            (0..3).filter(|j| mask[*j]).for_each(|j| covariance[j][i] = Some(column[j]));
        }
        (0..3).all(|i| covariance[i][i].is_none_or(|value| value >= 0.0)).then_some(covariance)
    }
}

fn denominator(x: f64, sigma: f64, kappa: f64) -> f64 {
    1.0 + (sigma + kappa * x) * (x - 1.0)
}

/// Solves a symmetric positive system over the unknowns in `mask`, scaled to a diagonal of 1; the others are 0.
fn solve(matrix: [[f64; 3]; 3], right: [f64; 3], mask: [bool; 3]) -> Option<[f64; 3]> {
    let scale: [f64; 3] = std::array::from_fn(|i| matrix[i][i].sqrt());
    if (0..3).any(|i| mask[i] && !(scale[i] > 0.0 && scale[i].is_finite())) {
        return None;
    }
    let mut rows: [[f64; 4]; 3] = std::array::from_fn(|i| {
        std::array::from_fn(|j| match (mask[i], j) {
            (false, j) => f64::from(u8::from(i == j)),
            (true, 3) => right[i] / scale[i],
            (true, j) if mask[j] => matrix[i][j] / (scale[i] * scale[j]),
            (true, _) => 0.0,
        })
    });
    for pivot in 0..3 {
        if rows[pivot][pivot] <= 1e-15 {
            return None;
        }
        for row in pivot + 1..3 {
            let above = rows[pivot];
            let factor = rows[row][pivot] / above[pivot];
            rows[row].iter_mut().zip(above).for_each(|(cell, above)| *cell -= factor * above);
        }
    }
    let mut solution = [0.0; 3];
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|column| rows[row][column] * solution[column]).sum();
        solution[row] = (rows[row][3] - known) / rows[row][row];
    }
    let scaled = std::array::from_fn(|i| if mask[i] { solution[i] / scale[i] } else { 0.0 });
    scaled.iter().all(|value: &f64| value.is_finite()).then_some(scaled)
}
