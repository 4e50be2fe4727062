//! Exact search: the true nearest neighbours of the queries, by comparing each with every stored vector.
//!
//! Stored vectors are made block by block and forgotten again, so memory is that of the answers. All cores work.

use std::{
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    Distance,
    generate::{Length, Vectors},
};

/// Components of stored vectors that one thread holds at a time: they stay in its core's cache while all queries are
/// compared with them.
const BLOCK: usize = 32 << 10;

/// The distances of the nearest stored vectors of each query.
#[derive(Clone, Debug)]
pub struct Truth {
    k: usize,
    /// `k` a query, ascending.
    distances: Vec<f64>,
}

impl Truth {
    /// Distances of the nearest stored vectors of one query, ascending; as many as were asked for, or as there are.
    pub fn of(&self, query: u64) -> &[f64] {
        let begin = query as usize * self.k;
        &self.distances[begin..begin + self.k]
    }
}

/// A distance in the order of numbers.
#[derive(PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Searches among the stored vectors `0..stored` for each of `0..queries`. Dropping the future ends the work soon.
pub async fn search(vectors: &Vectors, distance: Distance, stored: u64, queries: u64, k: usize) -> Truth {
    struct Abandon(Arc<AtomicBool>);
    impl Drop for Abandon {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let abandoned = Arc::new(AtomicBool::new(false));
    let _abandon = Abandon(abandoned.clone());
    let vectors = vectors.clone();
    let task = tokio::task::spawn_blocking(move || search_now(&vectors, distance, stored, queries, k, &abandoned));
    match task.await {
        Ok(truth) => truth,
        Err(err) => std::panic::resume_unwind(err.into_panic()),
    }
}

fn search_now(
    vectors: &Vectors,
    distance: Distance,
    stored: u64,
    queries: u64,
    k: usize,
    abandoned: &AtomicBool,
) -> Truth {
    let dim = vectors.dim;
    let k = k.min(usize::try_from(stored).unwrap_or(usize::MAX));
    let mut sought = vec![0; queries as usize * dim];
    sought.chunks_mut(dim).zip(0..).for_each(|(query, number)| vectors.query(number, query));
    let lengths: Vec<Length> = sought.chunks(dim).map(Length::of).collect();
    let block_size = (BLOCK / dim).max(1) as u64;
    let next_block = AtomicU64::new(0);
    let work = || {
        let mut nearest: Vec<BinaryHeap<Ordered>> = (0..queries).map(|_| BinaryHeap::new()).collect();
        let mut block = vec![0; block_size as usize * dim];
        let mut measured = Vec::new();
        loop {
            let begin = next_block.fetch_add(block_size, Ordering::Relaxed);
            if begin >= stored || abandoned.load(Ordering::Relaxed) {
                return nearest;
            }
            let count = block_size.min(stored - begin) as usize;
            for (vector, id) in block.chunks_mut(dim).zip(begin..begin + count as u64) {
                vectors.stored(id, vector);
            }
            measured.clear();
            measured.extend(block.chunks(dim).take(count).map(Length::of));
            for ((query, length), nearest) in sought.chunks(dim).zip(&lengths).zip(&mut nearest) {
                for (vector, measured) in block.chunks(dim).zip(&measured) {
                    let distance = Ordered(distance.between_measured(query, *length, vector, *measured));
                    if nearest.len() < k {
                        nearest.push(distance);
                    } else if nearest.peek().is_some_and(|farthest| distance < *farthest) {
                        nearest.pop();
                        nearest.push(distance);
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Vec<BinaryHeap<Ordered>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut distances = Vec::with_capacity(queries as usize * k);
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    for _ in 0..queries {
        let mut all: Vec<f64> =
            parts.iter_mut().filter_map(Iterator::next).flatten().map(|nearest| nearest.0).collect();
        all.sort_by(f64::total_cmp);
        all.truncate(k);
        // Only an abandoned search is short, and nobody reads that.
        all.resize(k, f64::NAN);
        distances.extend(all);
    }
    Truth { k, distances }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::vectors::Distribution;

    #[test]
    fn the_nearest_are_found_whatever_the_blocks() {
        for (distance, distribution, stored, k) in [
            (Distance::Cosine, Distribution::Uniform, 6000, 10),
            (Distance::Euclidean, Distribution::Clustered, 1024, 1),
            (Distance::Dot, Distribution::Uniform, 3, 5),
        ] {
            let vectors = Vectors::new(9, 12, distribution);
            let truth = search_now(&vectors, distance, stored, 4, k, &AtomicBool::new(false));
            for number in 0..4 {
                let (mut query, mut vector) = ([0; 12], [0; 12]);
                vectors.query(number, &mut query);
                let mut all: Vec<f64> = (0..stored)
                    .map(|id| {
                        vectors.stored(id, &mut vector);
                        distance.between(&query, &vector)
                    })
                    .collect();
                all.sort_by(f64::total_cmp);
                all.truncate(k);
                assert_eq!(truth.of(number), all);
            }
        }
    }
}
