//! Exact figures of a sample that lies in several pieces, without moving or copying it.

use serde::Serialize;

/// What `cumulative_le` counts up to when nothing else is asked for, in milliseconds.
pub const LE_EDGES_MS: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// Percentiles in 1/1000.
const PERMILLES: [u64; 5] = [500, 900, 950, 990, 999];

/// Values that are copied and sorted at once: 2 MiB.
const FEW: u64 = 1 << 18;

/// Values that are looked at in turn for everything that one look can tell: 32 KiB.
const IN_CACHE: usize = 1 << 12;

/// Bits by which a value's place is narrowed in one look at all values.
const STEP: u32 = 20;

/// Milliseconds; all but `count` and `cumulative_le` are `None` for an empty sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyFigures {
    pub count: u64,
    pub mean: Option<f64>,
    /// n − 1; `None` for one value.
    pub sd: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// Linear interpolation between order statistics at rank (n − 1)·p/100.
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    #[serde(rename = "p99.9")]
    pub p999: Option<f64>,
    /// How many values are at most each edge.
    pub cumulative_le: Vec<u64>,
}

impl LatencyFigures {
    /// `pieces` hold the bits of numbers that are not negative.
    pub fn of(pieces: &[&[u64]], le_edges_ms: &[f64]) -> Self {
        let count: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut cumulative_le = vec![0; le_edges_ms.len()];
        let (mut least, mut most) = (u64::MAX, 0);
        // So few at once that they stay in the cache for all the edges.
        for values in pieces.iter().flat_map(|piece| piece.chunks(IN_CACHE)) {
            for (edge, within) in le_edges_ms.iter().zip(&mut cumulative_le) {
                let edge = if *edge >= 0.0 { edge.to_bits() } else { continue };
                *within += values.iter().map(|bits| u64::from(*bits <= edge)).sum::<u64>();
            }
            least = values.iter().fold(least, |least, bits| least.min(*bits));
            most = values.iter().fold(most, |most, bits| most.max(*bits));
        }
        if count == 0 {
            return Self { cumulative_le, ..Self::default() };
        }
        let numbers = || pieces.iter().flat_map(|piece| piece.iter()).map(|bits| f64::from_bits(*bits));
        let (min, max) = (f64::from_bits(least), f64::from_bits(most));
        // Sums around the least value, a piece at a time: the digits of a small spread are kept.
        let mean = min + numbers().map(|value| value - min).sum::<f64>() / count as f64;
        let squares: f64 = numbers().map(|value| (value - mean).powi(2)).sum();
        let sd = (count > 1).then(|| if min == max { 0.0 } else { (squares / (count - 1) as f64).sqrt() });

        let places = PERMILLES.map(|permille| (count - 1) as u128 * u128::from(permille));
        let ranks = places.map(|place| [(place / 1000) as u64, place.div_ceil(1000) as u64]);
        let mut wanted: Vec<u64> = ranks.into_iter().flatten().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let found = order_statistics(pieces, &wanted);
        let at = |rank: u64| wanted.binary_search(&rank).ok().map(|place| f64::from_bits(found[place]));
        let percentile = |i: usize| {
            let (low, high) = (at(ranks[i][0])?, at(ranks[i][1])?);
            Some(low + (high - low) * ((places[i] % 1000) as f64 / 1000.0))
        };
        Self {
            count,
            mean: Some(if min == max { min } else { mean }),
            sd,
            min: Some(min),
            max: Some(max),
            p50: percentile(0),
            p90: percentile(1),
            p95: percentile(2),
            p99: percentile(3),
            p999: percentile(4),
            cumulative_le,
        }
    }
}

/// The values of these ranks, from 0, ascending.
fn order_statistics(pieces: &[&[u64]], ranks: &[u64]) -> Vec<u64> {
    if pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() <= FEW {
        let mut all = pieces.concat();
        all.sort_unstable();
        return ranks.iter().map(|rank| all[*rank as usize]).collect();
    }
    let mut found = vec![0; ranks.len()];
    narrow(pieces, 0, 64, &mut ranks.iter().copied().zip(&mut found).collect::<Vec<_>>());
    found
}

/// Finds ranks among the values whose bits from `shift` on are `prefix`.
fn narrow(pieces: &[&[u64]], prefix: u64, shift: u32, wanted: &mut [(u64, &mut u64)]) {
    let all = || pieces.iter().flat_map(|piece| piece.iter().copied());
    let next = shift.saturating_sub(STEP);
    let mut counts = vec![0_u32; 1 << (shift - next)];
    let mask = (counts.len() - 1) as u64;
    let above = |bits: u64| bits.checked_shr(shift).unwrap_or(0);
    for bits in all().filter(|bits| above(*bits) == prefix) {
        counts[(bits >> next & mask) as usize] += 1;
    }
    // Of the cells with a rank in them, those of few values are gathered by one more look at all values.
    let (mut below, mut rest) = (0, wanted);
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for (cell, within) in (0_u64..).zip(&mut counts) {
        let size = u64::from(std::mem::take(within));
        let (mine, others) = rest.split_at_mut(rest.partition_point(|(rank, _)| *rank < below + size));
        rest = others;
        if !mine.is_empty() {
            let prefix = prefix.checked_shl(shift - next).unwrap_or(0) | cell;
            mine.iter_mut().for_each(|(rank, _)| *rank -= below);
            if next == 0 {
                mine.iter_mut().for_each(|(_, found)| **found = prefix);
            } else if size <= FEW {
                few.push((Vec::with_capacity(size as usize), mine));
                // From here on the counts say where a cell's values are gathered.
                *within = few.len() as u32;
            } else {
                many.push((prefix, mine));
            }
        }
        below += size;
    }
    if !few.is_empty() {
        for bits in all().filter(|bits| above(*bits) == prefix) {
            if let Some(place) = (counts[(bits >> next & mask) as usize] as usize).checked_sub(1) {
                few[place].0.push(bits);
            }
        }
    }
    for (mut values, mine) in few {
        values.sort_unstable();
        mine.iter_mut().for_each(|(rank, found)| **found = values[*rank as usize]);
    }
    for (prefix, mine) in many {
        narrow(pieces, prefix, next, mine);
    }
}
