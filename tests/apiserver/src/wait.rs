//! Waiting for conditions, in place of sleeping.

use std::{fmt::Debug, time::Duration};

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout},
};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none in time.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Receives until something fits, and returns that and what came before it.
///
/// # Panics
/// When nothing fits in time.
pub async fn receive<T: Debug>(
    what: &str,
    receiver: &mut Receiver<T>,
    mut fits: impl FnMut(&T) -> bool,
) -> Vec<T> {
    let mut all = Vec::new();
    let found = timeout(PATIENCE, async {
        while let Some(item) = receiver.recv().await {
            let is_found = fits(&item);
            all.push(item);
            if is_found {
                return true;
            }
        }
        false
    });
    let is_found = found.await.unwrap_or(false);
    assert!(is_found, "waited too long for {what}; came: {all:#?}");
    all
}
