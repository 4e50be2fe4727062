//! The deterministic draws that request content is made of, and the mixes that digests are made of.
//!
//! SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) throughout: a
//! fixed algorithm, so that a seed means the same sequence in every version and on every machine. Not for
//! secrets.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64: a bijection in which every input bit reaches every output bit.
#[inline]
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A 64-bit mix of some bytes, chained from `state`. For every little-endian group of eight bytes (the last one
/// padded with zeros) and then for the length: `p = (state ^ group + GOLDEN) · K` in 128 bits,
/// `state = high(p) ^ low(p)`.
#[inline]
pub fn content_mix(bytes: &[u8], state: u64) -> u64 {
    fn fold(state: u64, group: u64) -> u64 {
        let product = u128::from(state ^ group.wrapping_add(GOLDEN)) * u128::from(0xD6E8_FEB8_6659_FD93_u64);
        (product >> 64) as u64 ^ product as u64
    }
    let (groups, rest) = bytes.as_chunks::<8>();
    let mut state = groups.iter().fold(state, |state, group| fold(state, u64::from_le_bytes(*group)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        state = fold(state, u64::from_le_bytes(last));
    }
    fold(state, bytes.len() as u64)
}

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream that belongs to these numbers, and to no other list of numbers.
    pub fn new(parts: &[u64]) -> Self {
        parts.iter().fold(Self(0), |draw, part| draw.with(*part))
    }

    /// The stream that belongs to these numbers and one more.
    #[inline]
    pub fn with(&self, part: u64) -> Self {
        Self(mix(self.0.wrapping_add(GOLDEN) ^ mix(part.wrapping_add(GOLDEN))))
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..bound (Lemire's multiply-shift; the bias is below bound / 2^64).
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Exponential with that mean.
    #[inline]
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.uniform()).ln() * mean
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y): (f64, f64) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// Gamma of that shape and mean 1 (Marsaglia, Tsang: A simple method for generating gamma variables, 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        // Below a shape of 1, a variable of shape + 1 is scaled down by a power of a uniform one.
        let (base, boost) = match shape < 1.0 {
            true => (shape + 1.0, (1.0 - self.uniform()).powf(1.0 / shape)),
            false => (shape, 1.0),
        };
        let d = base - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v: f64 = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.uniform()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v * boost / shape;
            }
        }
    }
}

/// Zipf's law over `0..count`: number `k` is drawn with a probability proportional to `(k + 1)^-exponent`
/// (Hörmann, Derflinger: Rejection-inversion to generate variates from monotone discrete distributions, 1996). A
/// draw takes the same time whatever `count` is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zipf {
    count: f64,
    exponent: f64,
    first: f64,
    span: f64,
    near: f64,
}

impl Zipf {
    /// `exponent` above 0, `count` at least 1.
    pub fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count: count as f64, exponent, first: 0.0, span: 0.0, near: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.span = zipf.integral(count as f64 + 0.5) - zipf.first;
        zipf.near = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    #[inline]
    pub fn draw(&self, draw: &mut Draw) -> u64 {
        loop {
            let u = self.first + draw.uniform() * self.span;
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.count);
            if k - x <= self.near || u >= self.integral(k + 0.5) - self.weight(k) {
                return k as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight: `(x^(1 − s) − 1) / (1 − s)`, which is `ln x` for `s = 1`.
    fn integral(&self, x: f64) -> f64 {
        let scaled = (1.0 - self.exponent) * x.ln();
        x.ln() * if scaled.abs() > 1e-8 { scaled.exp_m1() / scaled } else { 1.0 + scaled / 2.0 }
    }

    fn inverse(&self, area: f64) -> f64 {
        let scaled = (area * (1.0 - self.exponent)).max(-1.0);
        (area * if scaled.abs() > 1e-8 { scaled.ln_1p() / scaled } else { 1.0 - scaled / 2.0 }).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_splitmix64_to_the_letter() {
        // The first outputs of the reference implementation for state 1234567.
        let mut draw = Draw(1_234_567);
        let expect = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([draw.next_u64(), draw.next_u64(), draw.next_u64()], expect);
    }

    #[test]
    fn content_mix_sees_every_byte_order_and_the_length() {
        let mixed: std::collections::HashSet<_> = [
            &b""[..],
            b"\0",
            b"\0\0",
            b"abcdefgh",
            b"abcdefgi",
            b"abcdefgh\0",
            b"ijklmnopabcdefgh",
            b"abcdefghijklmnop",
        ]
        .iter()
        .map(|bytes| content_mix(bytes, 7))
        .collect();
        assert_eq!(mixed.len(), 8);
    }

    #[test]
    fn streams_of_different_numbers_differ() {
        let firsts: std::collections::HashSet<_> = [&[1, 2][..], &[2, 1], &[1, 2, 0], &[1], &[0, 1, 2], &[]]
            .iter()
            .map(|parts| Draw::new(parts).next_u64())
            .collect();
        assert_eq!(firsts.len(), 6);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut draw = Draw::new(&[3]);
        let mut seen = [0u32; 5];
        (0..10_000).for_each(|_| seen[draw.below(5) as usize] += 1);
        assert!(seen.iter().all(|&count| (1800..2200).contains(&count)), "{seen:?}");
    }

    #[test]
    fn zipf_has_its_probabilities() {
        for (count, exponent) in [(1u64, 1.0f64), (5, 0.5), (100, 0.99), (100, 1.0), (1000, 2.0)] {
            let (mut draw, zipf, draws) = (Draw::new(&[11, count]), Zipf::new(count, exponent), 200_000);
            let mut seen = vec![0u32; count as usize];
            (0..draws).for_each(|_| seen[zipf.draw(&mut draw) as usize] += 1);
            let weights: Vec<f64> = (1..=count).map(|k| (k as f64).powf(-exponent)).collect();
            let all: f64 = weights.iter().sum();
            for (k, weight) in weights.iter().enumerate().take(10) {
                let p = weight / all;
                let off = (f64::from(seen[k]) / f64::from(draws) - p).abs();
                // Five standard deviations; the seed is fixed.
                assert!(off <= 5.0 * (p * (1.0 - p) / f64::from(draws)).sqrt(), "{count} {exponent} {k}");
            }
        }
    }
}
