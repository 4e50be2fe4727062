//! One archived benchmark in the formats of others: CSV, JSON lines, HdrHistogram, RO-Crate, tar, Parquet.
//!
//! Reads the archive and writes elsewhere; what is written follows from the benchmark alone, byte for byte.

mod hgrm;
#[cfg(feature = "parquet")]
mod parquet;
mod requests;
mod ro_crate;
mod tarball;

#[cfg(feature = "parquet")]
pub use self::parquet::write as write_parquet;
pub use hgrm::write as write_hgrm;
pub use requests::{write_csv, write_json_lines};
pub use ro_crate::write as write_ro_crate;
pub use tarball::{RAW, write as write_tar};
