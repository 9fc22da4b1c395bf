//! Plays a scenario: every variant with every algorithm and seed, on several threads.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    engine::Engine,
    entrant::Entrant,
    metrics::{Figures, Run},
    moves,
    scenario::{Case, Problem, Scenario, limits, value},
};

/// What came of a scenario.
#[derive(Debug)]
pub struct Results {
    /// The scenario.
    pub scenario: Scenario,
    /// Each variant with each algorithm, in the scenario's order.
    pub rows: Vec<Row>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// A variant with an algorithm.
#[derive(Debug)]
pub struct Row {
    /// Index of the variant.
    pub variant: usize,
    /// The algorithm.
    pub entrant: Entrant,
    /// One for each seed, from 1; only the first has what charts are drawn from.
    pub runs: Vec<Run>,
}

struct Job {
    row: usize,
    seed: u32,
    /// Requests, for an order in which no long one is left to the end.
    cost: f64,
}

impl Row {
    /// Mean over the seeds.
    #[must_use]
    pub fn mean(&self, of: impl Fn(&Figures) -> f64) -> f64 {
        self.runs.iter().map(|run| of(&run.figures)).sum::<f64>() / self.runs.len().max(1) as f64
    }
}

impl Results {
    /// What a variant came to with an algorithm.
    #[must_use]
    pub fn row(&self, variant: usize, entrant: Entrant) -> Option<&Row> {
        self.rows.iter().find(|row| row.variant == variant && row.entrant == entrant)
    }
}

/// Plays all of a scenario on so many threads.
///
/// # Errors
/// If a case cannot be played, or there are too many.
pub fn run_all(scenario: Scenario, threads: usize) -> Result<Results, Problem> {
    let start = Instant::now();
    let (mut rows, jobs) = plan(&scenario)?;
    let threads = if scenario.alone { 1 } else { threads.clamp(1, jobs.len().max(1)) };
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (variant, entrant) = rows[job.row];
                    let case = &scenario.variants[variant].case;
                    let seed = u64::from(job.seed);
                    // Moves do not depend on the seed.
                    let run = if seed == 1 { run_one } else { play };
                    let run = run(case, entrant, seed, &scenario.folder);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((job.row, job.seed, run));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(row, seed, _)| (*row, *seed));
    let mut finished: Vec<Row> =
        rows.drain(..).map(|(variant, entrant)| Row { variant, entrant, runs: Vec::new() }).collect();
    for (row, seed, run) in done {
        let mut run = run?;
        if seed > 1 {
            run.windows = Vec::new();
            if let Some(first) = finished[row].runs.first() {
                (run.figures.moved, run.figures.strays) = (first.figures.moved, first.figures.strays);
            }
        }
        finished[row].runs.push(run);
    }
    Ok(Results { scenario, rows: finished, seconds: start.elapsed().as_secs_f64() })
}

/// Plays a case once.
///
/// # Errors
/// If it cannot be played.
pub fn run_one(case: &Case, entrant: Entrant, seed: u64, folder: &Path) -> Result<Run, Problem> {
    let mut run = play(case, entrant, seed, folder)?;
    if let Some(moves) = moves::moves(case, entrant) {
        run.figures.moved = Some(moves.moved);
        run.figures.strays = Some(moves.strays);
    }
    Ok(run)
}

/// All but what moves.
fn play(case: &Case, entrant: Entrant, seed: u64, folder: &Path) -> Result<Run, Problem> {
    let engine = Engine::new(case, entrant, seed, folder)?;
    let start = Instant::now();
    let (mut run, requests) = engine.run();
    run.figures.speed = requests as f64 / start.elapsed().as_secs_f64().max(1e-9);
    Ok(run)
}

/// A variant's index and an algorithm for each row, and the runs of all rows, the longest first.
type Jobs = (Vec<(usize, Entrant)>, Vec<Job>);

fn plan(scenario: &Scenario) -> Result<Jobs, Problem> {
    let most = limits::RUNS / (scenario.variants.len() * scenario.algorithms.len()).max(1);
    let few = format!("be at most {most} with so many combinations and algorithms");
    if scenario.seeds as usize > most {
        return Err(value("seeds", &few));
    }
    let (mut rows, mut jobs) = (Vec::new(), Vec::new());
    for (variant, each) in scenario.variants.iter().enumerate() {
        let cost = each.case.expected_requests();
        let mut add = |entrant: Entrant, seeds: u32| {
            jobs.extend((1..=seeds).map(|seed| Job { row: rows.len(), seed, cost }));
            rows.push((variant, entrant));
        };
        scenario.algorithms.iter().for_each(|entrant| add(*entrant, scenario.seeds));
        if let Some(published) = &scenario.published
            && scenario.selects(&published.r#in, &each.labels)
        {
            let seeds = published.seeds.min(scenario.seeds);
            published.algorithms.iter().for_each(|entrant| add(*entrant, seeds));
        }
    }
    jobs.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    Ok((rows, jobs))
}
