//! Whether the answer to a search is right, and how many of the true nearest neighbours are in it.
//!
//! Every distance that the server reports is compared with the distance of the vector that the id stands for. Vectors
//! that were uploaded while others search are no part of the truth; they may push members of it out of the answer,
//! and of n results that are part of it, the true n nearest are what an exact search would have had.

use super::{Distance, exact::Truth, generate::Vectors};
use crate::load::Recall;

/// How far a reported distance may be from the true one, as a part of 1 and of the distance: servers calculate with 32
/// bits.
const TOLERANCE: f64 = 1e-3;
/// Distances that differ by less are a tie, and either vector is a right answer.
const TIE: f64 = 1e-6;

/// One result of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    pub id: u64,
    /// As [`Distance`] defines it.
    pub distance: f64,
}

/// What is known of the right answers.
pub struct Expected<'a> {
    pub vectors: &'a Vectors,
    pub distance: Distance,
    /// Results that were asked for, or vectors that there are for certain when these are fewer.
    pub results: usize,
    /// Ids below this are part of the truth.
    pub stored: u64,
    /// Distances of the true nearest; `None` where they are not known.
    pub truth: Option<(&'a Truth, u64)>,
    pub min_recall: f64,
}

/// Checks an answer; `is_sent` says of an id that is not part of the truth whether it may be there all the same.
/// `scratch` holds a vector.
pub fn verify(
    expected: &Expected<'_>,
    query: &[i16],
    hits: &[Hit],
    is_sent: impl Fn(u64) -> bool,
    scratch: &mut [i16],
) -> (Option<Recall>, Result<(), &'static str>) {
    if let Err(reason) = check(expected, query, hits, is_sent, scratch) {
        return (None, Err(reason));
    }
    let Some((truth, number)) = expected.truth else { return (None, Ok(())) };
    let of = hits.iter().filter(|hit| hit.id < expected.stored).count();
    let Some(farthest) = of.checked_sub(1).and_then(|last| truth.of(number).get(last)) else { return (None, Ok(())) };
    let limit = farthest + TIE * (1.0 + farthest.abs());
    let mut found = 0;
    for hit in hits.iter().filter(|hit| hit.id < expected.stored) {
        expected.vectors.stored(hit.id, scratch);
        found += u32::from(expected.distance.between(query, scratch) <= limit);
    }
    let recall = Recall { found, of: of as u32 };
    let enough = f64::from(found) >= expected.min_recall * of as f64;
    (Some(recall), if enough { Ok(()) } else { Err("recall below `min_recall`") })
}

fn check(
    expected: &Expected<'_>,
    query: &[i16],
    hits: &[Hit],
    is_sent: impl Fn(u64) -> bool,
    scratch: &mut [i16],
) -> Result<(), &'static str> {
    if hits.len() != expected.results {
        return Err("wrong answer: another number of results than was asked for");
    }
    for (place, hit) in hits.iter().enumerate() {
        if hit.id >= expected.stored && !is_sent(hit.id) {
            return Err("wrong answer: an id that was never uploaded");
        }
        if hits[..place].iter().any(|other| other.id == hit.id) {
            return Err("wrong answer: an id twice");
        }
        if place > 0 && hit.distance < hits[place - 1].distance {
            return Err("wrong answer: distances are not in order");
        }
        expected.vectors.stored(hit.id, scratch);
        let truth = expected.distance.between(query, scratch);
        if hit.distance.is_nan() || (hit.distance - truth).abs() > TOLERANCE * (1.0 + truth.abs()) {
            return Err("wrong answer: a distance that is not the vector's");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::vectors::{Distribution, exact};

    const STORED: u64 = 50;

    fn hit(vectors: &Vectors, query: &[i16], id: u64) -> Hit {
        let mut vector = [0; 8];
        vectors.stored(id, &mut vector);
        Hit { id, distance: Distance::Euclidean.between(query, &vector) }
    }

    #[test]
    fn wrong_answers_are_told_from_right_ones() {
        let vectors = Vectors::new(4, 8, Distribution::Uniform);
        let mut query = [0; 8];
        vectors.query(2, &mut query);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let truth = runtime.block_on(exact::search(&vectors, Distance::Euclidean, STORED, 3, 5));
        let ranked = |ids: std::ops::Range<u64>| {
            let mut hits: Vec<Hit> = ids.map(|id| hit(&vectors, &query, id)).collect();
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            hits
        };
        let all = ranked(0..STORED);
        let later = hit(&vectors, &query, 1000);
        let with_later = |hits: &[Hit]| {
            let mut hits = [hits, &[later]].concat();
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            hits
        };
        let swapped = [all[1], all[0], all[2], all[3], all[4]];
        let moved = [all[0], all[1], all[2], all[3], Hit { distance: all[4].distance * 1.01 + 0.01, ..all[4] }];
        let expected = |min_recall| Expected {
            vectors: &vectors,
            distance: Distance::Euclidean,
            results: 5,
            stored: STORED,
            truth: Some((&truth, 2)),
            min_recall,
        };
        let recall = |found, of| Some(Recall { found, of });
        for (hits, min_recall, expect) in [
            (all[..5].to_vec(), 1.0, (recall(5, 5), Ok(()))),
            (all[1..6].to_vec(), 0.8, (recall(4, 5), Ok(()))),
            (all[1..6].to_vec(), 0.9, (recall(4, 5), Err("recall below `min_recall`"))),
            // A vector of a later upload takes the place of the farthest, and the others are still the nearest four.
            (with_later(&all[..4]), 1.0, (recall(4, 4), Ok(()))),
            (all[..4].to_vec(), 0.0, (None, Err("wrong answer: another number of results than was asked for"))),
            (swapped.to_vec(), 0.0, (None, Err("wrong answer: distances are not in order"))),
            (moved.to_vec(), 0.0, (None, Err("wrong answer: a distance that is not the vector's"))),
            (vec![all[0]; 5], 0.0, (None, Err("wrong answer: an id twice"))),
        ] {
            let got = verify(&expected(min_recall), &query, &hits, |id| id == 1000, &mut [0; 8]);
            assert_eq!(got, expect, "{hits:?}");
        }
        let (_, unknown) = verify(&expected(0.0), &query, &with_later(&all[..4]), |_| false, &mut [0; 8]);
        assert_eq!(unknown, Err("wrong answer: an id that was never uploaded"));
    }
}
