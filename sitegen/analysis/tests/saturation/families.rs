//! Curves whose knee is known, or that have none, drawn from a seed: what the knee is tested against.

use analysis::Quantity;

/// Numbers from a seed (SplitMix64).
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Evenly on a logarithmic scale.
    pub fn scale(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A factor with mean 1 and the given coefficient of variation, lognormal.
    pub fn noise(&mut self, cv: f64) -> f64 {
        let variance = (1.0 + cv * cv).ln();
        (self.normal() * variance.sqrt() - variance / 2.0).exp()
    }
}

/// A curve with its truth.
pub struct Family {
    pub name: &'static str,
    pub quantity: Quantity,
    pub loads: Vec<f64>,
    pub curve: Box<dyn Fn(f64) -> f64>,
    /// `None`: there is none, and none must be reported.
    pub knee: Option<f64>,
    /// An answer inside is right; widened with the noise where the knee is an exact break.
    pub accept: Accept,
}

#[derive(Clone, Copy)]
pub enum Accept {
    /// A break: so many grid points on either side.
    Break,
    /// A smooth curve: these loads.
    Between(f64, f64),
}

impl Family {
    /// `repetitions` of every load with that noise, and so many values multiplied by 2 or divided by it.
    pub fn points(&self, draw: &mut Draw, cv: f64, repetitions: usize, outliers: usize) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for load in &self.loads {
            points.extend((0..repetitions).map(|_| (*load, (self.curve)(*load) * draw.noise(cv))));
        }
        for _ in 0..outliers {
            let place = draw.below(points.len());
            points[place].1 *= if draw.unit() < 0.5 { 2.0 } else { 0.5 };
        }
        points
    }

    /// Whether an answer counts as right, at that noise.
    pub fn accepts(&self, answer: Option<f64>, cv: f64) -> bool {
        let (Some(knee), Some(answer)) = (self.knee, answer) else { return self.knee.is_none() == answer.is_none() };
        let (low, high) = match self.accept {
            Accept::Between(low, high) => (low, high),
            Accept::Break => {
                let more = if cv == 0.0 {
                    0
                } else if cv <= 0.03 {
                    1
                } else {
                    2
                };
                let (first, second) = (self.loads[0], self.loads[1]);
                let step = second - first;
                let is_even = (self.loads[2] - second - step).abs() < 1e-9;
                match is_even {
                    true => (knee - step * f64::from(1 + more), knee + step * f64::from(1 + more)),
                    false => {
                        let factor = 2_f64.powf(if more == 0 { 0.5 } else { f64::from(more) });
                        let below = self.loads.iter().rev().find(|load| **load <= knee).copied().unwrap_or(first);
                        let above = self.loads.iter().find(|load| **load >= knee).copied().unwrap_or(knee);
                        ((knee / factor).min(below), (knee * factor).max(above))
                    }
                }
            }
        };
        (low - 1e-9..=high + 1e-9).contains(&answer)
    }
}

pub fn doubling(count: u32) -> Vec<f64> {
    (0..count).map(|i| f64::from(1 << i)).collect()
}

fn grid(draw: &mut Draw) -> Vec<f64> {
    match draw.below(4) {
        0 => doubling(8 + draw.below(4) as u32),
        1 => (1..=24 + draw.below(40)).map(|i| i as f64).collect(),
        2 => {
            let step = [2.0, 4.0, 5.0][draw.below(3)];
            (1..=12 + draw.below(12)).map(|i| i as f64 * step).collect()
        }
        _ => doubling(9),
    }
}

/// A load well inside the grid, on it or off it.
fn inside(draw: &mut Draw, loads: &[f64]) -> f64 {
    let n = loads.len();
    loop {
        let place = 2 + draw.below(n - 4);
        let share = if draw.unit() < 0.5 { 0.0 } else { draw.unit() };
        let load = loads[place] + share * (loads[place + 1] - loads[place]);
        if load <= 0.75 * loads[n - 1] {
            return load;
        }
    }
}

/// USL throughput: λx/(1 + σ(x−1) + κx(x−1)).
pub fn usl(lambda: f64, sigma: f64, kappa: f64) -> impl Fn(f64) -> f64 + Clone {
    move |x| lambda * x / (1.0 + sigma * (x - 1.0) + kappa * x * (x - 1.0))
}

/// Where the low-load line of a USL curve meets its peak.
pub fn usl_knee(sigma: f64, kappa: f64) -> f64 {
    let peak = ((1.0 - sigma) / kappa).sqrt();
    usl(1.0, sigma, kappa)(peak)
}

/// Response time (s) and throughput of a closed network of queues with demands `d` and think time `z`.
pub fn mva(d: Vec<f64>, z: f64) -> impl Fn(f64) -> (f64, f64) {
    move |clients| {
        let mut queue = vec![0.0; d.len()];
        let mut result = (0.0, 0.0);
        for n in 1..=clients.round() as usize {
            let each: Vec<f64> = d.iter().zip(&queue).map(|(d, q)| d * (1.0 + q)).collect();
            let response: f64 = each.iter().sum();
            let rate = n as f64 / (response + z);
            queue = each.iter().map(|r| r * rate).collect();
            result = (response, rate);
        }
        result
    }
}

/// Mean response time of M/M/c at arrival rate `rate`.
pub fn erlang(c: usize, mu: f64, rate: f64) -> f64 {
    let offered = rate / mu;
    let mut blocking = 1.0;
    for k in 1..=c {
        blocking = offered * blocking / (k as f64 + offered * blocking);
    }
    let rho = offered / c as f64;
    let waiting = blocking / (1.0 - rho * (1.0 - blocking));
    1.0 / mu + waiting / (c as f64 * mu - rate)
}

/// A curve with a knee.
pub fn with_knee(draw: &mut Draw) -> Family {
    let loads = grid(draw);
    let last = loads[loads.len() - 1];
    let size = draw.scale(0.01, 1000.0);
    match draw.below(9) {
        0 | 1 => two_lines(draw, loads, size),
        2 | 3 => two_lines_latency(draw, loads, size),
        4 => usl_family(draw, loads, size),
        5 => {
            let tau = draw.scale(loads[0].max(last / 30.0) * 3.0, last / 4.0);
            let curve = move |x: f64| size * (1.0 - (-x / tau).exp());
            Family {
                name: "exponential saturation",
                quantity: Quantity::Throughput,
                curve: Box::new(curve),
                knee: Some(tau),
                accept: Accept::Between(tau / 2.1, tau * 3.0),
                loads,
            }
        }
        6 => network(draw, loads, Quantity::Throughput),
        7 => network(draw, loads, Quantity::Latency),
        _ => queue(draw),
    }
}

pub fn two_lines(draw: &mut Draw, loads: Vec<f64>, size: f64) -> Family {
    let knee = inside(draw, &loads);
    let after = [0.0, draw.between(-0.1, 0.0), draw.between(0.0, 0.2)][draw.below(3)];
    let last = loads[loads.len() - 1];
    // Stays above a third of its peak.
    let after = after.max(-0.66 * knee / (last - knee).max(1e-9));
    let curve = move |x: f64| size * (x.min(knee) + after * (x - knee).max(0.0));
    Family {
        name: "two lines, throughput",
        quantity: Quantity::Throughput,
        curve: Box::new(curve),
        knee: Some(knee),
        accept: Accept::Break,
        loads,
    }
}

pub fn two_lines_latency(draw: &mut Draw, loads: Vec<f64>, size: f64) -> Family {
    let knee = inside(draw, &loads);
    let before = if draw.unit() < 0.6 { 0.0 } else { draw.between(0.0, 0.2) };
    let after = draw.scale(0.8, 4.0);
    let curve = move |x: f64| size * (1.0 + (before * x.min(knee) + after * (x - knee).max(0.0)) / knee);
    Family {
        name: "two lines, latency",
        quantity: Quantity::Latency,
        curve: Box::new(curve),
        knee: Some(knee),
        accept: Accept::Break,
        loads,
    }
}

pub fn usl_family(draw: &mut Draw, loads: Vec<f64>, size: f64) -> Family {
    let last = loads[loads.len() - 1];
    let (sigma, kappa) = loop {
        let (sigma, kappa) = (draw.scale(0.005, 0.1), draw.scale(1e-6, 5e-3));
        let (peak, knee) = (((1.0 - sigma) / kappa).sqrt(), usl_knee(sigma, kappa));
        if knee > loads[1] * 1.5 && peak < last * 1.2 && knee < last / 2.5 {
            break (sigma, kappa);
        }
    };
    let (knee, peak) = (usl_knee(sigma, kappa), ((1.0_f64 - sigma) / kappa).sqrt());
    Family {
        name: "USL",
        quantity: Quantity::Throughput,
        curve: Box::new(usl(size, sigma, kappa)),
        knee: Some(knee),
        accept: Accept::Between(knee / 2.1, (knee * 2.1).max(peak * 1.1)),
        loads,
    }
}

fn network(draw: &mut Draw, loads: Vec<f64>, quantity: Quantity) -> Family {
    let last = loads[loads.len() - 1];
    let (demands, think) = loop {
        let demands: Vec<f64> = (0..1 + draw.below(5)).map(|_| draw.scale(0.001, 0.01)).collect();
        let think = draw.scale(0.01, 1.0);
        let total: f64 = demands.iter().sum();
        let knee = (total + think) / demands.iter().copied().fold(0.0, f64::max);
        if knee > loads[1] * 1.2 && knee < last / 2.2 {
            break (demands, think);
        }
    };
    let most = demands.iter().copied().fold(0.0, f64::max);
    let knee = (demands.iter().sum::<f64>() + think) / most;
    let solve = mva(demands, think);
    Family {
        name: if quantity == Quantity::Latency { "closed network, latency" } else { "closed network, throughput" },
        curve: match quantity {
            Quantity::Latency => Box::new(move |x| solve(x).0),
            Quantity::Throughput => Box::new(move |x| solve(x).1),
        },
        quantity,
        knee: Some(knee),
        accept: Accept::Between(knee / 2.1, knee * 2.1),
        loads,
    }
}

fn queue(draw: &mut Draw) -> Family {
    let (servers, mu) = ([1, 2, 4, 8, 16][draw.below(5)], draw.scale(1.0, 1000.0));
    let capacity = servers as f64 * mu;
    let points = 10 + draw.below(15);
    let loads: Vec<f64> = (1..=points).map(|i| capacity * 0.95 * i as f64 / points as f64).collect();
    let of = move |rate: f64| erlang(servers, mu, rate);
    let fine = |i: usize| capacity * i as f64 / 2000.0;
    let knee = (1..1999).map(fine).min_by(|a, b| (of(*a) / a).total_cmp(&(of(*b) / b))).unwrap_or(capacity);
    let five = (1..2000).map(fine).find(|rate| of(*rate) > 5.0 / mu).unwrap_or(capacity);
    let step = loads[1] - loads[0];
    Family {
        name: "M/M/c latency",
        quantity: Quantity::Latency,
        curve: Box::new(of),
        knee: Some(knee),
        accept: Accept::Between(knee - step, five.max(knee + step)),
        loads,
    }
}

/// A curve without a knee.
pub fn without_knee(draw: &mut Draw) -> Family {
    let loads = grid(draw);
    let last = loads[loads.len() - 1];
    let size = draw.scale(0.01, 1000.0);
    let (power, offset, fall) = (draw.between(0.3, 0.95), draw.scale(0.01, 100.0), draw.between(0.1, 0.8) / last);
    let rise = draw.between(0.3, 2.0);
    let far = draw.between(8.0, 100.0) * last;
    type Curve = Box<dyn Fn(f64) -> f64>;
    let (throughput, latency) = (Quantity::Throughput, Quantity::Latency);
    let kinds: [(&'static str, Quantity, Curve); 11] = [
        ("proportional", throughput, Box::new(move |x| size * x)),
        ("straight, with an offset", throughput, Box::new(move |x| size * (offset + x))),
        ("level", throughput, Box::new(move |_| size)),
        ("power law", throughput, Box::new(move |x| size * x.powf(power))),
        ("falling", throughput, Box::new(move |x| size * (1.0 - fall * x))),
        ("far below its ceiling", throughput, Box::new(move |x| size * x / (1.0 + x / far))),
        ("level latency", latency, Box::new(move |_| size)),
        ("proportional latency", latency, Box::new(move |x| size * x)),
        ("straight latency", latency, Box::new(move |x| size * (offset + x))),
        ("power law latency", latency, Box::new(move |x| size * x.powf(rise))),
        ("falling latency", latency, Box::new(move |x| size * (1.0 - fall * x))),
    ];
    let place = draw.below(kinds.len());
    let Some((name, quantity, curve)) = kinds.into_iter().nth(place) else { unreachable!("below the length") };
    Family { name, quantity, curve, knee: None, accept: Accept::Break, loads }
}
