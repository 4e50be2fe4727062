//! A made-up world in which the truth is known: repetitions of points with noise between them, correlated requests
//! within them, and a candidate that is slower by a given factor or not at all.
//!
//! Every number follows from the seed.

use std::{collections::BTreeMap, f64::consts::PI};

use analysis::compare::{
    Pair,
    metric::Metric,
    repetition::{Figure, Repetition},
};
use archive::BenchmarkId;

/// SplitMix64, and what is drawn from it.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// In (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Mean 0, standard deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (2.0 * PI * self.uniform()).cos()
    }

    fn chi_squared(&mut self, df: u32) -> f64 {
        (0..df).map(|_| self.normal().powi(2)).sum()
    }
}

/// How repetitions scatter about their truth, as a factor on every time; `noise` is its relative standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Normal,
    /// Now and then much slower, never much faster: the logarithm of a lognormal factor is skewed itself.
    Skewed,
    /// Student's t with 4 degrees of freedom.
    HeavyTails,
}

impl Shape {
    /// Mean 0, standard deviation 1.
    fn draw(self, draw: &mut Draw) -> f64 {
        match self {
            Self::Normal => draw.normal(),
            Self::Skewed => {
                // exp(N(0, 0.6²)), centred and scaled; skewness 2.3.
                let variance: f64 = 0.36;
                let (mean, spread) = ((variance / 2.0).exp(), (variance.exp() * variance.exp_m1()).sqrt());
                ((0.6 * draw.normal()).exp() - mean) / spread
            }
            Self::HeavyTails => draw.normal() / (draw.chi_squared(4) / 4.0).sqrt() / 2.0_f64.sqrt(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct World {
    pub points: usize,
    pub repetitions: usize,
    pub shape: Shape,
    /// Relative standard deviation between repetitions, drawn for every point between these two, log-uniformly.
    pub noise: [f64; 2],
    /// Noise of throughput over that of p99.
    pub unequal: f64,
    /// Correlation of the two figures' noise over repetitions, where they are drawn directly.
    pub together: f64,
    /// Relative standard deviation between executions, beside that of their repetitions.
    pub drift: f64,
    /// Requests of a repetition, and the correlation of neighbours among them. 0: figures are drawn directly, with
    /// `noise` as their whole spread.
    pub requests: usize,
    pub correlation: f64,
    /// The candidate's times over the base's: 1.1 is 10 % slower.
    pub factor: f64,
    /// Earlier executions of the base.
    pub history: usize,
    /// Share of requests that fail, and the spread of its logarithm from repetition to repetition.
    pub failing: f64,
    pub bursts: f64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            points: 5,
            repetitions: 3,
            shape: Shape::Normal,
            noise: [0.02, 0.02],
            unequal: 1.0,
            together: 0.5,
            drift: 0.0,
            requests: 0,
            correlation: 0.5,
            factor: 1.0,
            history: 0,
            failing: 0.0,
            bursts: 0.0,
        }
    }
}

/// Spread of the logarithm of a request's time.
const REQUEST_SPREAD: f64 = 0.25;

impl World {
    /// One campaign, executed on both sides.
    pub fn campaign(&self, seed: u64) -> Vec<Pair> {
        let mut draw = Draw::new(seed);
        (0..self.points)
            .map(|point| {
                let [low, high] = self.noise;
                let noise = (low.ln() + (high / low).ln() * draw.uniform()).exp();
                let truth = 0.01 * (1.0 + point as f64);
                let history = (0..self.history).map(|_| self.execution(&mut draw, truth, noise)).collect();
                let base = self.execution(&mut draw, truth, noise);
                let candidate = self.execution(&mut draw, truth * self.factor, noise);
                Pair { base, candidate, history }
            })
            .collect()
    }

    fn execution(&self, draw: &mut Draw, truth: f64, noise: f64) -> Vec<Repetition> {
        let drifted = truth * (self.drift * draw.normal()).exp();
        (0..self.repetitions)
            .map(|_| {
                if self.requests == 0 {
                    return self.figures(draw, drifted, noise);
                }
                let speed = (noise * self.shape.draw(draw)).exp();
                self.repetition(draw, drifted * speed)
            })
            .collect()
    }

    fn figures(&self, draw: &mut Draw, typical: f64, noise: f64) -> Repetition {
        let common = self.shape.draw(draw);
        let mut figure = |name: &str, value: f64, noise: f64| {
            let own = self.shape.draw(draw);
            let factor = (noise * (self.together.sqrt() * common + (1.0 - self.together).sqrt() * own)).exp();
            let figure = Figure { value: value * factor, within: 0.0, supported: true };
            (Metric::parse(name).expect("a metric"), figure)
        };
        Repetition {
            id: BenchmarkId::new(20_260_101, 1),
            figures: BTreeMap::from([
                figure("p99", 2.0 * typical, noise),
                figure("throughput", 8.0 / typical, -noise * self.unequal),
            ]),
            attempts: 1000,
            failed: self.failures(draw, 1000),
        }
    }

    fn failures(&self, draw: &mut Draw, attempts: usize) -> u64 {
        if self.failing == 0.0 {
            return 0;
        }
        let share = self.failing * (self.bursts * draw.normal() - self.bursts.powi(2) / 2.0).exp();
        (0..attempts).filter(|_| draw.uniform() < share).count() as u64
    }

    /// A closed loop of eight clients whose requests take `typical` seconds, more or less.
    fn repetition(&self, draw: &mut Draw, typical: f64) -> Repetition {
        let fresh = (1.0 - self.correlation.powi(2)).sqrt();
        let mut state = draw.normal();
        let mut times: Vec<f64> = (0..self.requests)
            .map(|_| {
                state = self.correlation * state + fresh * draw.normal();
                typical * (REQUEST_SPREAD * state).exp()
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let count = times.len() as f64;
        let average = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - average).powi(2)).sum::<f64>() / (count - 1.0);
        let at = |quantile: f64| {
            let rank = quantile.clamp(0.0, 1.0) * (count - 1.0);
            let (low, high) = (times[rank.floor() as usize], times[rank.ceil() as usize]);
            low + (high - low) * rank.fract()
        };
        let percentile = |quantile: f64| {
            let error = (quantile * (1.0 - quantile) / count).sqrt();
            let within = ((at(quantile + error) / at(quantile - error)).ln() / 2.0).powi(2);
            Figure { value: at(quantile), within, supported: true }
        };
        let metric = |name: &str| Metric::parse(name).expect("a metric");
        let within = variance / average.powi(2) / count;
        Repetition {
            id: BenchmarkId::new(20_260_101, 1),
            figures: BTreeMap::from([
                (metric("p99"), percentile(0.99)),
                (metric("throughput"), Figure { value: 8.0 / average, within, supported: true }),
            ]),
            attempts: self.requests as u64,
            failed: self.failures(draw, self.requests),
        }
    }
}
