//! What objects contain: one body that all share, and an end of each object's own.
//!
//! So an object is told from every other, and yet its MD5 costs no more than that of its end: what comes before is hashed
//! once. The bodies are random numbers, which no store can compress.

use std::sync::Arc;

use md5::{Digest, Md5};

use crate::load::Draw;

const DRAW_BODY: u64 = 0x626f_6479;
const DRAW_END: u64 = 0x656e_6420;
/// Longest end of an object's own.
const END: u64 = 32;

/// All objects of one seed and length.
#[derive(Clone)]
pub struct Contents {
    seed: u64,
    /// What all objects begin with.
    pub shared: Arc<[u8]>,
    /// Length of an object's own end.
    end: usize,
    pub part_size: Option<usize>,
    /// MD5 of the parts before the last one.
    parts: Arc<[[u8; 16]]>,
    /// MD5 of the last part, or of the object in one piece, up to its own end.
    last: Md5,
}

impl Contents {
    pub fn new(seed: u64, size: u64, part_size: Option<u64>) -> Self {
        // An object of one part is sent in one piece.
        let part_size = part_size.filter(|part| *part < size);
        let last_part = part_size.map_or(size, |part| size - (size - 1) / part * part);
        let end = END.min(last_part) as usize;
        let length = size as usize - end;
        let mut shared = Vec::with_capacity(length + 8);
        let mut draw = Draw::new(&[seed, DRAW_BODY, size]);
        while shared.len() < length {
            shared.extend_from_slice(&draw.next_u64().to_le_bytes());
        }
        shared.truncate(length);
        let part_size = part_size.map(|part| part as usize);
        let (before, last) = shared.split_at(size as usize - last_part as usize);
        let parts =
            part_size.map_or_else(Vec::new, |part| before.chunks(part).map(|part| Md5::digest(part).into()).collect());
        let last = Md5::new_with_prefix(last);
        Self { seed, shared: shared.into(), end, part_size, parts: parts.into(), last }
    }

    pub fn size(&self) -> usize {
        self.shared.len() + self.end
    }

    /// The end that only the object of that identity has.
    pub fn end_of(&self, identity: u64) -> Vec<u8> {
        let mut draw = Draw::new(&[self.seed, DRAW_END, identity]);
        let bytes = std::iter::repeat_with(|| draw.next_u64().to_le_bytes()).flatten();
        bytes.take(self.end).collect()
    }

    /// MD5 of the object in one piece, or of its last part.
    pub fn md5_of(&self, end: &[u8]) -> [u8; 16] {
        self.last.clone().chain_update(end).finalize().into()
    }

    /// The ETag that S3 defines for the object: the MD5, or that of the parts' MD5s with their number.
    pub fn etag(&self, end: &[u8]) -> String {
        let last = self.md5_of(end);
        if self.part_size.is_none() {
            return hex(&last);
        }
        let mut all = Md5::new();
        self.parts.iter().for_each(|part| all.update(part));
        all.update(last);
        format!("{}-{}", hex(&<[u8; 16]>::from(all.finalize())), self.parts.len() + 1)
    }

    /// The parts, each in up to two pieces, with its ETag; one part for an object in one piece.
    pub fn parts<'a>(&'a self, end: &'a [u8]) -> impl Iterator<Item = ([&'a [u8]; 2], String)> {
        let part = self.part_size.unwrap_or(self.size());
        let (before, last) = self.shared.split_at(self.parts.len() * part);
        let whole = before.chunks(part).zip(self.parts.iter()).map(|(bytes, md5)| ([bytes, &[][..]], hex(md5)));
        whole.chain(std::iter::once_with(move || ([last, end], hex(&self.md5_of(end)))))
    }

    /// Whether `bytes` stand in the object from `offset` on.
    pub fn matches(&self, end: &[u8], offset: usize, bytes: &[u8]) -> bool {
        let within = self.shared.len().saturating_sub(offset).min(bytes.len());
        let (first, rest) = bytes.split_at(within);
        let in_shared = self.shared.get(offset..offset + within).is_none_or(|shared| shared == first);
        let place = (offset + within).saturating_sub(self.shared.len());
        in_shared && (rest.is_empty() || end.get(place..place + rest.len()) == Some(rest))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn etags_and_comparisons_are_those_of_the_whole_object(
            size in 1u64..300, part in proptest::option::of(1u64..100), identity in any::<u64>(),
            cut in (0.0..=1.0f64, 0.0..=1.0f64),
        ) {
            let contents = Contents::new(7, size, part);
            let end = contents.end_of(identity);
            let whole = [&contents.shared[..], &end].concat();
            prop_assert_eq!(whole.len() as u64, size);
            let pieces: Vec<Vec<u8>> = contents.parts(&end).map(|(pieces, _)| pieces.concat()).collect();
            prop_assert_eq!(pieces.concat(), whole.clone());
            for ((_, etag), piece) in contents.parts(&end).zip(&pieces) {
                prop_assert_eq!(etag, hex(&<[u8; 16]>::from(Md5::digest(piece))));
            }
            let expect = match part.filter(|part| *part < size) {
                None => hex(&<[u8; 16]>::from(Md5::digest(&whole))),
                Some(part) => {
                    let md5s: Vec<u8> =
                        whole.chunks(part as usize).flat_map(|part| <[u8; 16]>::from(Md5::digest(part))).collect();
                    format!("{}-{}", hex(&<[u8; 16]>::from(Md5::digest(&md5s))), size.div_ceil(part))
                }
            };
            prop_assert_eq!(contents.etag(&end), expect);
            let (a, b) = ((cut.0 * size as f64) as usize, (cut.1 * size as f64) as usize);
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(contents.matches(&end, a, &whole[a..b]));
            if a < b {
                let mut wrong = whole[a..b].to_vec();
                wrong[(b - a) / 2] ^= 1;
                prop_assert!(!contents.matches(&end, a, &wrong));
                prop_assert!(!contents.matches(&end, size as usize, &wrong));
            }
        }
    }

    #[test]
    fn objects_differ_in_their_end() {
        let contents = Contents::new(1, 100, None);
        assert_ne!(contents.end_of(1), contents.end_of(2));
        assert_ne!(contents.end_of(1), Contents::new(2, 100, None).end_of(1));
    }
}
