//! How often the comparison errs, counted in a made-up world where the truth is known; in full by
//! `cargo run --release -p analysis --example regression_power`, whose tables stand in `docs/methodology.md`.

mod count;
mod world;

use count::{Tally, percent, tally};
use world::{Shape, World};

const SHAPES: [Shape; 3] = [Shape::Normal, Shape::Skewed, Shape::HeavyTails];

fn over_shapes(world: World, campaigns: u64) -> Tally {
    let of = |shape| tally(World { shape, ..world }, campaigns, 11);
    SHAPES.into_iter().map(of).fold(Tally::default(), Tally::merged)
}

#[test]
fn at_most_one_campaign_in_a_hundred_without_a_change_has_a_verdict_of_one() {
    for noise in [[0.01, 0.01], [0.03, 0.03], [0.1, 0.1], [0.01, 0.1]] {
        for (points, history) in [(1, 0), (4, 0), (4, 3)] {
            let counted = over_shapes(World { points, history, noise, ..World::default() }, 500);
            let wrong = percent(counted.changed, counted.campaigns);
            // 1,500 campaigns count a share of 1 % to within 0.26 points.
            assert!(wrong <= 1.5, "noise {noise:?}, {points} points, {history} earlier: {wrong} %");
            let covered = percent(counted.covered, counted.intervals);
            assert!((94.0..=99.0).contains(&covered), "noise {noise:?}, {points} points: intervals cover {covered} %");
        }
    }
}

/// What is borrowed from another figure must not make verdicts where the figures are not equally noisy, or move as one.
#[test]
fn figures_that_are_not_alike_make_no_verdicts() {
    for (unequal, together) in [(3.0, 0.5), (0.2, 0.5), (1.0, 0.9), (1.0, 0.0)] {
        for points in [1, 3] {
            let world = World { points, noise: [0.05, 0.1], unequal, together, ..World::default() };
            let counted = over_shapes(world, 500);
            let wrong = percent(counted.changed, counted.campaigns);
            assert!(wrong <= 1.5, "{unequal} times the noise, correlated by {together}, {points} points: {wrong} %");
        }
    }
}

#[test]
fn requests_that_follow_each_other_and_failures_that_come_in_bursts_make_no_verdicts() {
    let world = World { requests: 400, correlation: 0.8, failing: 0.02, bursts: 0.7, ..World::default() };
    let counted = over_shapes(world, 100);
    assert!(percent(counted.changed, counted.campaigns) <= 1.0, "{counted:?}");
}

#[test]
fn a_tenth_slower_at_two_percent_of_noise_is_found() {
    for (points, history) in [(1, 0), (4, 0), (1, 5)] {
        let world = World { points, history, factor: 1.1, ..World::default() };
        // One point alone is the hardest; with normal noise, it is found as well.
        let counted = match (points, history) {
            (1, 0) => tally(world, 2000, 11),
            _ => over_shapes(world, 300),
        };
        let found = percent(counted.regressed, counted.campaigns);
        assert!(found >= 95.0, "{points} points, {history} earlier executions: {found} %");
        assert_eq!(counted.improvements, 0);
    }
}

#[test]
fn executions_that_drift_are_learnt_from_history() {
    let drifting = World { drift: 0.03, points: 2, ..World::default() };
    let blind = over_shapes(drifting, 200);
    let learnt = over_shapes(World { history: 6, ..drifting }, 200);
    assert!(learnt.changed * 3 < blind.changed, "{blind:?} {learnt:?}");
}

#[test]
fn enough_repetitions_show_that_nothing_changed() {
    let counted = over_shapes(World { repetitions: 8, ..World::default() }, 50);
    assert!(percent(counted.same, counted.verdicts) >= 95.0, "{counted:?}");
}
