//! Numbers from one kind to another, where the lints want to know why that is safe.

/// The nearest whole number, of what is not negative and below 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what is wanted"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// The next whole number from here up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what is wanted"
)]
pub(crate) fn up(number: f64) -> u64 {
    number.ceil() as u64
}

/// An index, of what counts things in memory.
#[expect(clippy::cast_possible_truncation, reason = "counts things in memory")]
pub(crate) const fn index(number: u64) -> usize {
    number as usize
}

/// A number of things of which there are fewer than 2^32.
pub(crate) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
