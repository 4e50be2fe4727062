//! Vectors as a function of the seed and a number: nothing is stored, and any can be made again at any time.
//!
//! Components are whole multiples of 1/10,000. So their decimal text is short and exact, and sums of products of two
//! vectors are exact in integers.

use std::sync::Arc;

use super::{Distance, Distribution};
use crate::load::Draw;

/// Parts of 1 in which components are counted.
const UNIT: f64 = 10_000.0;

const CLUSTERS: u64 = 64;
/// Largest part of noise around a centre.
const NOISE: i32 = 4000;

const DRAW_VECTOR: u64 = 0x7665_6374;
const DRAW_QUERY: u64 = 0x7175_6572;
const DRAW_CENTRE: u64 = 0x6365_6e74;

/// All vectors of one seed.
#[derive(Clone, Debug)]
pub struct Vectors {
    seed: u64,
    pub dim: usize,
    centres: Option<Arc<[i16]>>,
}

impl Vectors {
    pub fn new(seed: u64, dim: usize, distribution: Distribution) -> Self {
        let centres = (distribution == Distribution::Clustered).then(|| {
            let mut centres = vec![0; CLUSTERS as usize * dim];
            for (number, centre) in centres.chunks_mut(dim).enumerate() {
                uniform(&mut Draw::new(&[seed, DRAW_CENTRE, number as u64]), centre, UNIT as i32);
            }
            centres.into()
        });
        Self { seed, dim, centres }
    }

    /// The stored vector with that id; `out` has `dim` components.
    pub fn stored(&self, id: u64, out: &mut [i16]) {
        self.fill(Draw::new(&[self.seed, DRAW_VECTOR, id]), out);
    }

    /// A vector to search for.
    pub fn query(&self, number: u64, out: &mut [i16]) {
        self.fill(Draw::new(&[self.seed, DRAW_QUERY, number]), out);
    }

    fn fill(&self, mut draw: Draw, out: &mut [i16]) {
        match &self.centres {
            None => uniform(&mut draw, out, UNIT as i32),
            Some(centres) => {
                let begin = draw.below(CLUSTERS) as usize * self.dim;
                uniform(&mut draw, out, NOISE);
                out.iter_mut().zip(&centres[begin..]).for_each(|(component, centre)| *component += centre);
            }
        }
    }
}

/// Uniform whole numbers from −`most` to `most`, four a draw.
fn uniform(draw: &mut Draw, out: &mut [i16], most: i32) {
    let span = (2 * most + 1) as u64;
    for group in out.chunks_mut(4) {
        let bits = draw.next_u64();
        for (place, component) in group.iter_mut().enumerate() {
            let part = bits >> (16 * place) & 0xFFFF;
            *component = (((part * span) >> 16) as i32 - most) as i16;
        }
    }
}

/// Appends the components as decimal numbers with commas between them.
pub fn write_decimals(vector: &[i16], out: &mut Vec<u8>) {
    for (place, component) in vector.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if *component < 0 {
            out.push(b'-');
        }
        let size = u32::from(component.unsigned_abs());
        out.push(b'0' + (size / 10_000) as u8);
        let mut rest = size % 10_000;
        if rest > 0 {
            out.push(b'.');
            for scale in [1000, 100, 10, 1] {
                out.push(b'0' + (rest / scale) as u8);
                rest %= scale;
                if rest == 0 {
                    break;
                }
            }
        }
    }
}

/// The components as the nearest numbers of 32 bits: what a server makes of the decimals.
pub fn floats(vector: &[i16]) -> impl Iterator<Item = f32> + '_ {
    vector.iter().map(|component| (f64::from(*component) / UNIT) as f32)
}

impl Distance {
    /// The distance, exact but for the last rounding.
    pub fn between(self, a: &[i16], b: &[i16]) -> f64 {
        self.between_measured(a, Length::of(a), b, Length::of(b))
    }

    /// [`Distance::between`], for vectors that are compared often.
    pub fn between_measured(self, a: &[i16], length_a: Length, b: &[i16], length_b: Length) -> f64 {
        let unit = UNIT * UNIT;
        match self {
            Self::Cosine if length_a.square == 0 || length_b.square == 0 => 1.0,
            Self::Cosine => 1.0 - dot(a, b) as f64 / (length_a.root * length_b.root),
            Self::Euclidean => (length_a.square + length_b.square - 2 * dot(a, b)) as f64 / unit,
            Self::Dot => 1.0 - dot(a, b) as f64 / unit,
        }
    }
}

/// How long a vector is, in the unit of its components.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    square: i64,
    root: f64,
}

impl Length {
    pub fn of(vector: &[i16]) -> Self {
        let square = dot(vector, vector);
        Self { square, root: (square as f64).sqrt() }
    }
}

/// The exact sum of products. Eight products of components of at most 14,000 fit into 32 bits, and a sum of that
/// shape is what processors have an instruction for.
fn dot(a: &[i16], b: &[i16]) -> i64 {
    let (groups_a, rest_a) = a.as_chunks::<8>();
    let (groups_b, rest_b) = b.as_chunks::<8>();
    let mut sum = 0i64;
    for (a, b) in groups_a.iter().zip(groups_b) {
        let products: i32 = a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
        sum += i64::from(products);
    }
    sum + rest_a.iter().zip(rest_b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn decimals_are_read_as_the_same_floats(vector in vec(-14_000i16..=14_000, 1..40)) {
            let mut text = vec![b'['];
            write_decimals(&vector, &mut text);
            text.push(b']');
            let read: Vec<f32> = serde_json::from_slice(&text).expect("JSON");
            prop_assert_eq!(read, floats(&vector).collect::<Vec<_>>());
        }

        #[test]
        fn distances_are_those_of_floating_point(pair in (2usize..40).prop_flat_map(|dim| {
            (vec(-14_000i16..=14_000, dim), vec(-14_000i16..=14_000, dim))
        })) {
            let (a, b) = pair;
            let real = |vector: &[i16]| vector.iter().map(|n| f64::from(*n) / UNIT).collect::<Vec<_>>();
            let (x, y) = (real(&a), real(&b));
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let difference: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - y).collect();
            let close = |distance: Distance, expect: f64| (distance.between(&a, &b) - expect).abs() < 1e-9;
            prop_assert!(close(Distance::Euclidean, dot(&difference, &difference)));
            prop_assert!(close(Distance::Dot, 1.0 - dot(&x, &y)));
            if dot(&x, &x) > 0.0 && dot(&y, &y) > 0.0 {
                prop_assert!(close(Distance::Cosine, 1.0 - dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()));
            }
        }
    }

    #[test]
    fn vectors_are_functions_of_seed_and_number() {
        for distribution in [Distribution::Uniform, Distribution::Clustered] {
            let make = |seed, id| {
                let mut vector = [0; 10];
                Vectors::new(seed, 10, distribution).stored(id, &mut vector);
                vector
            };
            assert_eq!(make(1, 5), make(1, 5));
            assert!(make(1, 5) != make(1, 6) && make(1, 5) != make(2, 5));
            let mut query = [0; 10];
            Vectors::new(1, 10, distribution).query(5, &mut query);
            assert_ne!(query, make(1, 5));
            let most = if distribution == Distribution::Uniform { 10_000 } else { 14_000 };
            let all: Vec<i16> = (0..500).flat_map(|id| make(3, id)).collect();
            assert!(all.iter().all(|component| component.abs() <= most));
            let mean = all.iter().map(|component| f64::from(*component)).sum::<f64>() / all.len() as f64;
            assert!(mean.abs() < 1500.0, "{mean}");
        }
    }
}
