//! The adaptive search against a sweep of ten listed loads that is repeated until it is as precise.

use std::collections::BTreeMap;

use analysis::{Estimate, Goal, Measured, Says, Search, SearchEnd, Step, estimate, next_step};

use crate::{
    curves,
    families::{Draw, doubling, usl, usl_knee},
};

const MAX: f64 = 512.0;
const PRECISION: f64 = 0.1;
const LIMIT: &str = "latency_p99_s";

/// Repetitions after which the listed loads are given up.
const MOST_REPETITIONS: usize = 6;

/// A service whose truth is known.
struct Service {
    throughput: Box<dyn Fn(f64) -> f64>,
    latency: Box<dyn Fn(f64) -> f64>,
    knee: f64,
    noise: f64,
    timed: bool,
}

impl Service {
    fn two_lines(draw: &mut Draw, noise: f64, timed: bool) -> Self {
        let knee = draw.scale(3.0, 300.0);
        let after = [0.0, draw.between(-0.05, 0.0), draw.between(0.0, 0.1)][draw.below(3)];
        let after = after.max(-0.6 * knee / (MAX - knee));
        Self {
            throughput: Box::new(move |load| 20.0 * (load.min(knee) + after * (load - knee).max(0.0))),
            latency: Box::new(move |load| 0.05 * (load / knee).max(1.0)),
            knee,
            noise,
            timed,
        }
    }

    fn usl(draw: &mut Draw, noise: f64, timed: bool) -> Self {
        let (sigma, kappa) = loop {
            let (sigma, kappa) = (draw.scale(0.001, 0.1), draw.scale(1e-6, 1e-2));
            let peak = ((1.0_f64 - sigma) / kappa).sqrt();
            if (3.0..=300.0).contains(&usl_knee(sigma, kappa)) && peak < 0.8 * MAX {
                break (sigma, kappa);
            }
        };
        let throughput = usl(20.0, sigma, kappa);
        Self {
            latency: Box::new({
                let throughput = throughput.clone();
                move |load| load / throughput(load)
            }),
            throughput: Box::new(throughput),
            knee: usl_knee(sigma, kappa),
            noise,
            timed,
        }
    }

    fn measure(&self, draw: &mut Draw, load: f64) -> Measured {
        let throughput = (self.throughput)(load) * draw.noise(self.noise);
        let latency = (self.latency)(load) * draw.noise(self.noise);
        Measured {
            load,
            says: Says::Figures {
                throughput: Some(throughput),
                metrics: BTreeMap::from([(LIMIT.to_owned(), latency)]),
            },
            // Ten seconds each, or so many requests of each client.
            requests: if self.timed { 10.0 * throughput } else { 50.0 * load } as u64,
            time_s: 10.0,
        }
    }
}

fn even(count: usize) -> Vec<f64> {
    (0..count).map(|i| (1.0 + (MAX - 1.0) * i as f64 / (count - 1) as f64).round()).collect()
}

#[derive(Default)]
struct Score {
    answers: usize,
    right: usize,
    covered: usize,
    steps: usize,
    ratios: Vec<f64>,
    unreached: usize,
}

impl Score {
    fn add(&mut self, search: &Search, service: &Service, truth: f64, draw: &mut Draw, listed: &[f64]) {
        let mut history = Vec::new();
        let end = loop {
            match next_step(search, &history) {
                Step::Measure { load, .. } => history.push(service.measure(draw, load)),
                Step::End { end, .. } => break end,
            }
        };
        let requests = |history: &[Measured]| history.iter().map(|one| one.requests).sum::<u64>() as f64;
        self.steps += history.len();
        let answer = estimate(search, &history);
        let Some(Estimate { load, interval: Some([low, high]) }) = answer.filter(|_| end == SearchEnd::Found) else {
            return;
        };
        self.answers += 1;
        self.right += usize::from((load / truth - 1.0).abs() <= 0.1);
        self.covered += usize::from((low..=high).contains(&truth));
        let wanted = (high - low) / 2.0 / load;
        let mut grid = Vec::new();
        for _ in 0..MOST_REPETITIONS {
            grid.extend(listed.iter().map(|load| service.measure(draw, *load)));
            if estimate(search, &grid).and_then(|found| found.half_width()).is_some_and(|half| half <= wanted) {
                self.ratios.push(requests(&history) / requests(&grid));
                return;
            }
        }
        self.unreached += 1;
        self.ratios.push(requests(&history) / requests(&grid));
    }

    /// Prints a row of the table.
    fn row(&mut self, name: &str, count: u64) {
        self.ratios.sort_by(f64::total_cmp);
        let n = self.ratios.len().max(1);
        let at = |share: f64| self.ratios.get(((n - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        let percent = |part: usize, of: usize| part as f64 / of.max(1) as f64 * 100.0;
        println!(
            "| {name} | {:.0} % | {:.1} % | {:.1} % | {:.1} | {:.2} | {:.2} | {:.2} | {:.0} % |",
            percent(self.answers, count as usize),
            percent(self.right, self.answers),
            percent(self.covered, self.answers),
            self.steps as f64 / count as f64,
            at(0.5),
            self.ratios.iter().sum::<f64>() / n as f64,
            at(0.95),
            percent(self.unreached, n),
        );
    }
}

#[test]
fn a_search_takes_fewer_requests_than_ten_listed_loads() {
    let count = curves(8).min(2000);
    println!(
        "| search | noise | requests of | listed | found | within 10 % | covered | steps | median | mean | 95 % | \
         not as precise |"
    );
    let (mut slots, mut slots_by_time) = (Vec::new(), Vec::new());
    let (mut answers, mut right) = (0, 0);
    for goal in [Goal::Knee, Goal::Slo] {
        type Make = fn(&mut Draw, f64, bool) -> Service;
        let makes: [(&str, Make); 2] = [("two lines", Service::two_lines), ("USL", Service::usl)];
        for (kind, make) in makes {
            for noise in [0.02, 0.05, 0.1] {
                for (timed, of) in [(true, "a time"), (false, "each client")] {
                    for (grid, listed) in [("doubling", doubling(10)), ("even", even(10))] {
                        let mut score = Score::default();
                        for seed in 0..count {
                            let mut draw = Draw::new(seed);
                            let service = make(&mut draw, noise, timed);
                            let (search, truth) = search_of(goal, &service, &mut draw);
                            score.add(&search, &service, truth, &mut draw, &listed);
                        }
                        score.row(&format!("{goal:?}, {kind} | {:.0} % | {of} | {grid}", noise * 100.0), count);
                        if kind == "two lines" && noise < 0.1 {
                            (answers, right) = (answers + score.answers, right + score.right);
                            slots.extend(&score.ratios);
                            if timed && grid == "doubling" {
                                slots_by_time.extend(&score.ratios);
                            }
                        }
                    }
                }
            }
        }
    }
    let median = |ratios: &mut Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let (all, by_time) = (median(&mut slots), median(&mut slots_by_time));
    println!("slots with 2 and 5 % noise: {right} of {answers} right, requests {all:.2}, by time {by_time:.2}");
    assert!(right as f64 >= 0.95 * answers as f64, "{right} of {answers} within 10 %");
    assert!(all <= 0.4 && by_time <= 0.6, "{all}, {by_time} of the requests");
}

/// A search and its truth: the knee, or a limit that holds up to a load within the range.
fn search_of(goal: Goal, service: &Service, draw: &mut Draw) -> (Search, f64) {
    let most = (0.6 * MAX / service.knee).clamp(1.21, 4.0);
    let reach = service.knee * draw.between(1.2, most);
    let search = Search {
        goal,
        slo: BTreeMap::from([(LIMIT.to_owned(), (service.latency)(reach))]),
        min: 1.0,
        max: MAX,
        whole: true,
        precision: PRECISION,
        step_repetitions: 1,
        most_steps: 40,
        most_requests: None,
        most_time_s: None,
    };
    (search, if goal == Goal::Knee { service.knee } else { reach })
}
