//! In which order points run, from which seed each, and which share a start of the service.
//!
//! Everything here is fixed by the campaign's seed for good: the same campaign gives the same requests in the
//! same order with every build.

use super::PlannedBenchmark;
use crate::recipe::Order;

/// All benchmarks of `points` points, each run `repetitions` times, in order of execution.
pub fn benchmarks(points: usize, repetitions: u32, order: Order, seed: u64) -> Vec<PlannedBenchmark> {
    let benchmark = |point: usize, repetition: u32| PlannedBenchmark {
        point,
        repetition,
        seed: benchmark_seed(seed, point, repetition),
        repeated: None,
    };
    match order {
        Order::Sequential => (0..points)
            .flat_map(|point| (1..=repetitions).map(move |repetition| benchmark(point, repetition)))
            .collect(),
        Order::Interleaved => (1..=repetitions)
            .flat_map(|repetition| (0..points).map(move |point| benchmark(point, repetition)))
            .collect(),
        Order::Shuffled => (1..=repetitions)
            .flat_map(|repetition| {
                shuffled(points, seed, repetition).into_iter().map(move |point| benchmark(point, repetition))
            })
            .collect(),
    }
}

/// The seed of one benchmark's requests and arrivals, of 53 bits so that every reader of JSON keeps it:
/// `mix(mix(mix(seed) ^ point) ^ repetition) >> 11`, with `mix` the output function of SplitMix64.
///
/// The point counts by its place in the sweep: a campaign whose image or settings change drives the same
/// requests as before, so that two versions of a service are compared on equal work.
pub fn benchmark_seed(seed: u64, point: usize, repetition: u32) -> u64 {
    mix(mix(mix(seed) ^ point as u64) ^ u64::from(repetition)) >> 11
}

/// The points in an order drawn by Fisher and Yates' method (Durstenfeld's form, from the end) with numbers
/// of a SplitMix64 generator that starts at `mix(seed) ^ repetition`; an index below `n` is `(x · n) >> 64`.
fn shuffled(points: usize, seed: u64, repetition: u32) -> Vec<usize> {
    let mut state = mix(seed) ^ u64::from(repetition);
    let mut order: Vec<usize> = (0..points).collect();
    for last in (1..points).rev() {
        state = state.wrapping_add(GOLDEN_GAMMA);
        let index = ((u128::from(finish(state)) * (last as u128 + 1)) >> 64) as usize;
        order.swap(last, index);
    }
    order
}

/// The additive constant of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64 from the state `value`.
fn mix(value: u64) -> u64 {
    finish(value.wrapping_add(GOLDEN_GAMMA))
}

fn finish(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Consecutive benchmarks that share one start of the service: none when `redeploy`, else those whose
/// services (`service_of` a point), with what else must be the same, are equal.
pub fn deployments<T: PartialEq>(
    benchmarks: &[PlannedBenchmark],
    redeploy: bool,
    service_of: impl Fn(usize) -> T,
) -> Vec<Vec<usize>> {
    let mut deployments: Vec<Vec<usize>> = Vec::new();
    for (index, benchmark) in benchmarks.iter().enumerate() {
        match deployments.last_mut() {
            Some(last) if !redeploy && service_of(benchmarks[last[0]].point) == service_of(benchmark.point) => {
                last.push(index);
            }
            _ => deployments.push(vec![index]),
        }
    }
    deployments
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn points(order: Order) -> Vec<(usize, u32)> {
        benchmarks(3, 2, order, 1).into_iter().map(|benchmark| (benchmark.point, benchmark.repetition)).collect()
    }

    #[test]
    fn orders() {
        assert_eq!(points(Order::Interleaved), [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]);
        assert_eq!(points(Order::Sequential), [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]);
        let mut drawn = points(Order::Shuffled);
        drawn[..3].sort_unstable();
        drawn[3..].sort_unstable();
        assert_eq!(drawn, points(Order::Interleaved));
    }

    #[test]
    fn numbers_are_those_of_splitmix64() {
        // First outputs of the reference implementation (Vigna, splitmix64.c) from state 1234567.
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(mix(1_234_567_u64.wrapping_add(GOLDEN_GAMMA)), 3_203_168_211_198_807_973);
    }

    #[test]
    fn the_drawn_order_and_the_seeds_stay_what_they_are() {
        assert_eq!(shuffled(8, 1, 1), SHUFFLED_8_1_1);
        assert_ne!(shuffled(8, 1, 1), shuffled(8, 1, 2));
        assert_eq!(benchmark_seed(1, 0, 1), SEED_1_0_1);
        let seeds: BTreeSet<u64> =
            (0..50).flat_map(|point| (1..50).map(move |repetition| benchmark_seed(1, point, repetition))).collect();
        assert_eq!(seeds.len(), 50 * 49);
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
    }

    const SHUFFLED_8_1_1: [usize; 8] = [2, 0, 4, 3, 1, 6, 5, 7];
    const SEED_1_0_1: u64 = 3_811_949_840_787_311;

    #[test]
    fn every_order_of_three_points_is_drawn_about_equally_often() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            *counts.entry(shuffled(3, seed, 1)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Six standard deviations of a binomial count of mean 1000.
        assert!(counts.values().all(|count| (827..=1173).contains(count)), "{counts:?}");
    }

    #[test]
    fn equal_neighbours_share_a_deployment_unless_redeployed() {
        let services = [json!("a"), json!("a"), json!("b")];
        let planned = benchmarks(3, 2, Order::Interleaved, 1);
        let shared = deployments(&planned, false, |point| &services[point]);
        assert_eq!(shared, [vec![0, 1], vec![2], vec![3, 4], vec![5]]);
        assert_eq!(deployments(&planned, true, |point| &services[point]).len(), 6);
    }
}
