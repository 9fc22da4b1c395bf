//! Burning CPU time, away from the threads that serve connections.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task;

use crate::process;

/// Turns between two looks at the clock, some microseconds of work.
const TURNS: u64 = 4096;

/// Burns on at most as many threads as there are cores; what comes beyond waits in order.
#[derive(Debug)]
pub(crate) struct Burner {
    cores: Arc<Semaphore>,
}

impl Burner {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Takes `time` of CPU time, measured on the burning thread, so that contention makes it longer.
    /// Dropping the future stops the burning.
    pub(crate) async fn burn(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let Ok(core) = Arc::clone(&self.cores).acquire_owned().await else { return };
        let stop = StopOnDrop(Arc::default());
        let stopped = Arc::clone(&stop.0);
        let burning = task::spawn_blocking(move || {
            spin(time, &stopped);
            drop(core);
        });
        if burning.await.is_err() {
            tracing::debug!("burning was cancelled");
        }
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn spin(time: Duration, stopped: &AtomicBool) {
    let start = process::thread_cpu_time();
    let mut value = 1_u64;
    while !stopped.load(Ordering::Relaxed) && process::thread_cpu_time().saturating_sub(start) < time {
        for turn in 0..TURNS {
            value = hint::black_box(value.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn burning_takes_cpu_time() {
        let before = process::cpu_time();
        Burner::new().burn(Duration::from_millis(20)).await;
        assert!(process::cpu_time() - before >= Duration::from_millis(20));
    }

    #[tokio::test]
    async fn a_dropped_burn_frees_its_core() {
        let burner = Burner { cores: Arc::new(Semaphore::new(1)) };
        {
            let mut burning = Box::pin(burner.burn(Duration::from_secs(10)));
            tokio::select! {
                biased;
                () = &mut burning => panic!("burned 10 s at once"),
                () = task::yield_now() => {}
            }
        }
        burner.burn(Duration::from_millis(1)).await;
        assert!(process::cpu_time() < Duration::from_secs(10));
    }
}
