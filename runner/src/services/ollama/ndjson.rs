//! Newline-delimited JSON: whole lines from a stream that may be cut anywhere.
//!
//! Lines are not looked into. A line ends with `\n`, perhaps behind a `\r`; empty lines are passed over.

use crate::services::llm::stream::Framing;

/// Longest line.
const LONGEST: usize = 16 << 20;

/// Reads a stream of lines.
#[derive(Debug, Default)]
pub struct Reader {
    /// The line begun.
    line: Vec<u8>,
}

impl Framing for Reader {
    fn feed(&mut self, input: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), String> {
        let mut pieces = input.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            if self.line.len() + piece.len() > LONGEST {
                return Err("wrong answer: a line without end".into());
            }
            self.line.extend_from_slice(piece);
            if pieces.peek().is_some() {
                self.finish(&mut take);
            }
        }
        Ok(())
    }

    /// The last line may lack its end.
    fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        let line = self.line.trim_ascii();
        if !line.is_empty() {
            take(line);
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut reader, mut lines) = (Reader::default(), Vec::new());
        let mut take = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        for part in parts {
            reader.feed(part, &mut take).expect("short lines");
        }
        reader.finish(&mut take);
        lines
    }

    const STREAM: &[u8] = "{\"a\": 1}\n\n{\"b\": \"\\n\u{e9}\"}\r\n  {}\n\r\n{\"half".as_bytes();

    #[test]
    fn a_stream_is_read() {
        assert_eq!(read([STREAM]), ["{\"a\": 1}", "{\"b\": \"\\n\u{e9}\"}", "{}", "{\"half"]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(cuts in vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            prop_assert_eq!(read(cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]])), read([STREAM]));
        }

        #[test]
        fn any_lines_are_read_back(
            lines in vec("[!-~]{1,40}", 0..10), end in prop::sample::select(vec!["\n", "\r\n", "\n\n"]), size in 1usize..50,
        ) {
            let stream: String = lines.iter().map(|line| format!("{line}{end}")).collect();
            prop_assert_eq!(read(stream.as_bytes().chunks(size)), lines);
        }

        #[test]
        fn any_bytes_end_without_panic(bytes in vec(any::<u8>(), 0..200), size in 1usize..50) {
            read(bytes.chunks(size));
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut reader = Reader::default();
        let long = vec![b'x'; LONGEST];
        reader.feed(&long, |_| panic!("no line")).expect("just short enough");
        assert!(reader.feed(b"x", |_| panic!("no line")).is_err());
    }
}
