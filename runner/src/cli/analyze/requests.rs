//! Reads a request file once: one thread decompresses, the others scan.
//!
//! Plain, gzip or zstd, told by the first bytes and not by the name. Memory is a few blocks and what the aggregators hold.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::Path,
    sync::{
        Mutex,
        mpsc::{channel, sync_channel},
    },
    thread,
};

use analysis::{Aggregator, LineError};
use anyhow::{Context, Result};
use flate2::bufread::MultiGzDecoder;

/// Bytes that are handed to a scanning thread at once.
const BLOCK: usize = 1 << 22;

/// Blocks that wait for a scanning thread, at most.
const WAITING: usize = 4;

pub fn aggregate(path: &Path) -> Result<Aggregator> {
    let name = || path.display();
    let file = File::open(path).with_context(|| format!("cannot open {}", name()))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    let start = file.fill_buf().with_context(|| format!("cannot read {}", name()))?;
    let reader: Box<dyn Read> = match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    };
    scan(reader).with_context(|| name().to_string())
}

fn scan(mut reader: impl Read) -> Result<Aggregator> {
    let scanners = thread::available_parallelism().map_or(1, usize::from);
    // A block, and how many of its bytes are whole lines. Its memory is written over, never cleared.
    let (full, waiting) = sync_channel::<(Vec<u8>, usize)>(WAITING);
    let (done, empty) = channel::<Vec<u8>>();
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        let scan_all = || {
            let done = done.clone();
            let waiting = &waiting;
            move || -> Result<Aggregator, LineError> {
                let mut aggregator = Aggregator::default();
                let mut result = Ok(());
                while let Ok((block, lines)) = { waiting.lock().unwrap_or_else(|poison| poison.into_inner()).recv() } {
                    // After a bad line the rest is only taken away, so that the reader does not wait for ever.
                    if result.is_ok() {
                        result = aggregator.scan(&block[..lines]);
                    }
                    // Nobody wants it back once the file has been read.
                    _ = done.send(block);
                }
                result.map(|()| aggregator)
            }
        };
        let threads: Vec<_> = (0..scanners).map(|_| scope.spawn(scan_all())).collect();
        let mut carried = Vec::new();
        let read = loop {
            let mut block = empty.try_recv().unwrap_or_default();
            block.resize(block.len().max(BLOCK).max(carried.len() + BLOCK / 2), 0);
            block[..carried.len()].copy_from_slice(&carried);
            let count = match fill(&mut reader, &mut block[carried.len()..]) {
                Ok(count) => count,
                Err(err) => break Err(err),
            };
            let filled = &block[..carried.len() + count];
            // A line longer than a block goes on in the next.
            let lines = match filled.iter().rposition(|byte| *byte == b'\n') {
                _ if count == 0 => filled.len(),
                place => place.map_or(0, |place| place + 1),
            };
            carried = filled[lines..].to_owned();
            // The scanners live until this end is dropped.
            _ = full.send((block, lines));
            if count == 0 {
                break Ok(());
            }
        };
        drop(full);
        let mut all = Aggregator::default();
        for thread in threads {
            all.merge(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        read?;
        Ok(all)
    })
}

/// Reads until `block` is full or there is no more.
fn fill(reader: &mut impl Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match reader.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(count: usize) -> String {
        (0..count).map(|i| format!("{{\"id\":{i},\"start_s\":{i},\"latency_ms\":{},\"ok\":true}}\n", i % 100)).collect()
    }

    #[test]
    fn the_same_figures_however_it_is_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = lines(50_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).expect("packed");
        // Two members one after the other are one file, as with `cat`.
        let two_frames = [lines(20_000), text[lines(20_000).len()..].to_owned()];
        let zstd = two_frames.map(|part| zstd::encode_all(part.as_bytes(), 1).expect("packed")).concat();
        let unended = text.trim_end().as_bytes().to_vec();
        for bytes in [text.as_bytes().to_vec(), gzip.finish().expect("packed"), zstd, unended] {
            let path = folder.path().join("requests");
            std::fs::write(&path, bytes).expect("written");
            let figures = aggregate(&path).expect("read").finish(&[]).whole;
            assert_eq!((figures.count, figures.latency_ok_ms.p50), (50_000, Some(49.5)));
        }
    }

    #[test]
    fn bad_lines_and_broken_files_are_errors() {
        let bad = [lines(60_000), "{\"id\":1}\n".to_owned(), lines(60_000)].concat();
        let text = format!("{:#}", scan(bad.as_bytes()).expect_err("refused"));
        assert!(text.contains("the line `{\"id\":1}` is no request"), "{text}");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cut.zst");
        let whole = zstd::encode_all(lines(1000).as_bytes(), 1).expect("packed");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        assert!(aggregate(&path).is_err());
        assert!(aggregate(&folder.path().join("none")).is_err());
        std::fs::write(&path, "").expect("written");
        assert_eq!(aggregate(&path).expect("an empty set").finish(&[]).whole.count, 0);
    }
}
