//! Nothing: the comparison is a benchmark (`benches/selection.rs`).
