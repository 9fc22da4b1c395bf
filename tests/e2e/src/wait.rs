//! Waiting for conditions, with an end to it.

use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::time::sleep;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until there is what was waited for, and gives it. A look that fails is repeated like one that finds nothing.
///
/// # Errors
/// When `limit` is over: says what was waited for, and what the last look found.
pub async fn until<T, F>(what: &str, limit: Duration, look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    until_every(PAUSE, what, limit, look).await
}

/// As [`until`], with another time between two looks.
///
/// # Errors
/// As [`until`].
pub async fn until_every<T, F>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(last) if start.elapsed() > limit => {
                bail!("waited {} s for {what}; at last: {last:#}", limit.as_secs())
            }
            Err(_) => sleep(pause).await,
        }
    }
}

/// Looks again and again for as long as `time`.
///
/// # Errors
/// With the first look that fails.
pub async fn throughout<F>(time: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let start = Instant::now();
    while start.elapsed() < time {
        look().await?;
        sleep(PAUSE).await;
    }
    Ok(())
}
