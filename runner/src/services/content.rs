//! Content that a service is given and a client knows: so many bytes, a function of their number alone.
//!
//! A block of draws, repeated, so that any size can be written and compared at the speed of memory. Not
//! compressible within the block.

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::load::Draw;

/// Bytes until the content repeats. Odd, so that no two equal reads of a power of two follow each other.
const BLOCK: u64 = (1 << 20) - 1;

/// The content of one size.
#[derive(Clone, Debug)]
pub struct Content {
    size: u64,
    block: Arc<[u8]>,
}

impl Content {
    pub fn new(size: u64) -> Self {
        let length = size.min(BLOCK) as usize;
        let mut draw = Draw::new(&[size]);
        let mut block = Vec::with_capacity(length + 8);
        while block.len() < length {
            block.extend_from_slice(&draw.next_u64().to_le_bytes());
        }
        block.truncate(length);
        Self { size, block: block.into() }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether `bytes` stand in the content from `offset` on.
    #[inline]
    pub fn matches(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(end) = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.size) else { return false };
        let (mut at, mut rest) = (offset, bytes);
        while at < end {
            let expect = &self.block[(at % BLOCK) as usize..];
            let (part, after) = rest.split_at(rest.len().min(expect.len()));
            if part != &expect[..part.len()] {
                return false;
            }
            at += part.len() as u64;
            rest = after;
        }
        true
    }

    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut left = self.size;
        while left > 0 {
            let count = left.min(BLOCK);
            out.write_all(&self.block[..count as usize])?;
            left -= count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_matches_and_nothing_else_does() {
        for size in [0, 1, 7, 1024, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let content = Content::new(size);
            let mut written = Vec::new();
            content.write(&mut written).expect("memory");
            assert_eq!(written.len() as u64, size);
            assert!(content.matches(0, &written) && content.matches(size, &[]));
            assert!(!content.matches(size, b"x") && !content.matches(1, &written) || size == 0);
            for changed in [0, written.len() / 2, written.len().saturating_sub(1)] {
                if let Some(byte) = written.get_mut(changed) {
                    *byte ^= 1;
                    assert!(!content.matches(0, &written), "{size}, {changed}");
                    written[changed] ^= 1;
                }
            }
        }
        assert!(!Content::new(1000).matches(0, &{
            let mut other = Vec::new();
            Content::new(1001).write(&mut other).expect("memory");
            other.truncate(1000);
            other
        }));
    }

    proptest! {
        #[test]
        fn any_part_matches_at_its_place_only(cuts in proptest::collection::vec(0..5000usize, 2), off in 1..100u64) {
            let content = Content::new(5000);
            let mut written = Vec::new();
            content.write(&mut written).expect("memory");
            let (from, to) = (cuts[0].min(cuts[1]), cuts[0].max(cuts[1]));
            prop_assert!(content.matches(from as u64, &written[from..to]));
            prop_assert!(to - from < 8 || !content.matches(from as u64 + off, &written[from..to]));
        }
    }
}
