#[path = "../tests/regression/count.rs"]
mod count;
#[path = "../tests/regression/world.rs"]
mod world;
use count::{percent, tally};
use world::{Shape, World};
fn main() {
    let n: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(2000);
    for points in [1, 3, 5, 10, 20] {
        for history in [0, 3] {
            for shape in [Shape::Normal, Shape::Skewed] {
                let mut line = format!("{points:2} pts hist {history} {shape:?}: false");
                for noise in [[0.01, 0.01], [0.02, 0.02], [0.05, 0.05], [0.1, 0.1], [0.01, 0.1]] {
                    let t = tally(World { points, history, shape, noise, ..World::default() }, n, 1);
                    line += &format!(" {:.2}/{:.1}", percent(t.changed, t.campaigns), percent(t.covered, t.intervals));
                }
                let t3 = tally(World { points, history, shape, drift: 0.02, ..World::default() }, n, 3);
                line += &format!(" drift {:.2}", percent(t3.changed, t3.campaigns));
                let t = tally(World { points, history, shape, factor: 1.1, ..World::default() }, n / 4, 2);
                let t2 = tally(
                    World { points, history, shape, factor: 1.1, noise: [0.01, 0.1], ..World::default() },
                    n / 4,
                    2,
                );
                line += &format!(
                    " power {:.1} verdicts {:.1} mixed {:.1}",
                    percent(t.regressed, t.campaigns),
                    percent(t.regressions, t.verdicts),
                    percent(t2.regressions, t2.verdicts)
                );
                println!("{line}");
            }
        }
    }
}
