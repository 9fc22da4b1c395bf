//! A scenario's file: its base, merged (RFC 7396) with one entry of each axis of its matrix.

mod check;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use self::check::once;
use super::{
    Case, Problem,
    check::ensure,
    matrix::{self, selected, typed},
};
use crate::entrant::Entrant;

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name: that of the file.
    pub name: String,
    /// What it is about, in a line.
    pub title: String,
    /// Seeds from 1 on; the same seed gives all algorithms the same requests.
    pub seeds: u32,
    /// Who takes part.
    pub algorithms: Vec<Entrant>,
    /// Who takes part only in some, for the record.
    pub published: Option<Published>,
    /// The labels of the matrix, axis by axis.
    pub axes: Vec<Vec<String>>,
    /// Every combination of them.
    pub variants: Vec<Variant>,
    /// What must hold.
    pub expect: Vec<Expect>,
    /// What pages show of it: so many tables.
    pub page: Vec<Page>,
    /// It measures this machine, and must run alone.
    pub alone: bool,
    /// It was shortened.
    pub short: bool,
    /// Where its file is.
    pub folder: PathBuf,
}

/// A combination of the matrix.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its labels, one of each axis.
    pub labels: Vec<String>,
    /// The case.
    pub case: Case,
}

/// Algorithms that are measured for the record, and of which nothing must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Published {
    /// Which.
    pub algorithms: Vec<Entrant>,
    /// Only under these labels.
    #[serde(default)]
    pub r#in: Vec<String>,
    /// With so many seeds.
    pub seeds: u32,
}

/// A table for people who want to choose: a row for each algorithm, a column for each variant and figure.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Page {
    /// Which figures.
    pub figures: Vec<Figure>,
    /// Only under these labels.
    #[serde(default)]
    pub r#in: Vec<String>,
    /// What stands above it.
    #[serde(default)]
    pub say: String,
}

fn page() -> Vec<Page> {
    vec![Page { figures: vec![Figure::P99], r#in: Vec::new(), say: String::new() }]
}

/// Something that must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// In words.
    pub say: String,
    /// Of what.
    pub figure: Figure,
    /// Of which algorithms.
    pub of: Vec<Entrant>,
    /// Divided by the same figure of this algorithm, seed by seed.
    #[serde(default)]
    pub over: Option<Over>,
    /// Divided by the figure of the same algorithm in the variant that has this label in place of its own.
    #[serde(default)]
    pub than: Option<String>,
    /// Only under these labels: of each axis those named, or all if none of it is.
    #[serde(default)]
    pub r#in: Vec<String>,
    /// Holds up to this.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// Holds from this on.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// For each seed, and not for their mean.
    #[serde(default)]
    pub each: bool,
    /// Says nothing of a shortened run.
    #[serde(default)]
    pub full: bool,
    /// It is known not to hold, and why: a goal.
    #[serde(default)]
    pub known: Option<String>,
}

/// To what a figure is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum Over {
    /// An algorithm.
    Entrant(Entrant),
    /// Whichever of those measured is best by its mean, the highest of what is better when higher: written `Best`.
    Best,
}

impl TryFrom<String> for Over {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "Best" {
            return Ok(Self::Best);
        }
        text.parse().map(Self::Entrant).map_err(|problem| format!("{problem}; or Best, of those measured"))
    }
}

/// What can be asked of a run.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Figure {
    /// Median latency in milliseconds.
    P50,
    /// 99th percentile in milliseconds.
    P99,
    /// 99.9th percentile in milliseconds.
    #[serde(rename = "p99.9")]
    P999,
    /// Part of the requests that failed.
    Errors,
    /// 99.9th percentile of requests in flight at an endpoint, those that hang at a dead one among them, over endpoints
    /// and time.
    InFlight,
    /// Requests answered per second.
    Throughput,
    /// Highest 99th percentile of a window, in milliseconds.
    PeakP99,
    /// Seconds after the last change ended until each endpoint that it was about had half of its fair share in a
    /// window.
    Recovery,
    /// Largest share of an endpoint, over the mean.
    LargestShare,
    /// Largest distance of an endpoint's requests from the mean, in requests.
    Deviation,
    /// Picks after which an endpoint had more in flight than bounded load allows.
    OverBound,
    /// Part of all keys whose endpoint changed when another one was removed; the worst removal.
    Moved,
    /// The same of keys whose endpoint stayed.
    Strays,
    /// Requests simulated in a second of this machine.
    Speed,
}

impl Figure {
    /// Of the others, less is better.
    #[must_use]
    pub const fn is_better_when_higher(self) -> bool {
        matches!(self, Self::Throughput | Self::Speed)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    title: String,
    #[serde(default = "one")]
    seeds: u32,
    algorithms: Vec<Entrant>,
    #[serde(default)]
    published: Option<Published>,
    base: Value,
    #[serde(default)]
    matrix: Vec<BTreeMap<String, Value>>,
    #[serde(default)]
    expect: Vec<Expect>,
    #[serde(default = "page")]
    page: Vec<Page>,
    #[serde(default)]
    short: Option<Short>,
    #[serde(default)]
    alone: bool,
}

/// How the tests shorten a scenario.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Short {
    /// So many seeds.
    #[serde(default = "one")]
    seeds: u32,
    /// Merged into every case.
    #[serde(default)]
    base: Value,
    /// Only these labels.
    #[serde(default)]
    r#in: Vec<String>,
    /// Only these algorithms.
    #[serde(default)]
    algorithms: Vec<Entrant>,
}

const fn one() -> u32 {
    1
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// If there is none, or anything in it is wrong.
    pub fn load(path: &Path, short: bool) -> Result<Self, Problem> {
        let text =
            fs::read_to_string(path).map_err(|source| Problem::Read { path: path.to_owned(), source })?;
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Self::parse(&name, &text, path.parent().unwrap_or_else(|| Path::new("")), short)
    }

    /// Reads its text; files that it names are looked for in `folder`. `short` applies what the file says for the
    /// tests: one seed, fewer seconds, fewer variants.
    ///
    /// # Errors
    /// If anything in it is wrong.
    pub fn parse(name: &str, text: &str, folder: &Path, short: bool) -> Result<Self, Problem> {
        let whole: Value = serde_saphyr::from_str(text).map_err(|error| Problem::Yaml(plain(&error)))?;
        ensure(whole.is_object(), "the scenario", "be a map of fields: title, algorithms, base and others")?;
        let file: File = typed(whole, "the scenario")?;
        file.check()?;
        let shortened = file.short.filter(|_| short);
        let mut scenario = Self {
            name: name.to_owned(),
            title: file.title,
            seeds: if short { shortened.as_ref().map_or(1, |of| of.seeds) } else { file.seeds },
            algorithms: file.algorithms,
            published: file.published.filter(|_| !short),
            axes: file.matrix.iter().map(|axis| axis.keys().cloned().collect()).collect(),
            variants: Vec::new(),
            expect: file.expect,
            page: file.page,
            alone: file.alone,
            short,
            folder: folder.to_owned(),
        };
        let shorter = shortened.as_ref().map(|short| &short.base);
        for mut mix in matrix::mixes(&file.base, &file.matrix) {
            mix.layers.extend(shorter.map(|base| ("short.base".to_owned(), base)));
            let case = mix.case(folder)?;
            scenario.variants.push(Variant { labels: mix.labels, case });
        }
        if let Some(short) = shortened {
            let axes = &scenario.axes;
            scenario.variants.retain(|variant| selected(axes, &short.r#in, &variant.labels));
            if !short.algorithms.is_empty() {
                scenario.algorithms = short.algorithms;
            }
            let (expects, playing) = (&mut scenario.expect, &scenario.algorithms);
            expects.iter_mut().for_each(|expect| expect.of.retain(|entrant| playing.contains(entrant)));
            let over = |expect: &Expect| match &expect.over {
                Some(Over::Entrant(entrant)) => playing.contains(entrant),
                Some(Over::Best) | None => true,
            };
            expects.retain(|expect| !expect.full && !expect.of.is_empty() && over(expect));
        }
        Ok(scenario)
    }

    /// Lets these take part in place of those that it names; what must hold is not looked at then.
    ///
    /// # Errors
    /// If one is named twice.
    pub fn enter(&mut self, algorithms: &[Entrant]) -> Result<(), Problem> {
        once(algorithms.iter(), "algorithms")?;
        algorithms.clone_into(&mut self.algorithms);
        self.published = None;
        self.expect.clear();
        Ok(())
    }

    /// Whether `labels` are among those that `wanted` asks for.
    #[must_use]
    pub fn selects(&self, wanted: &[String], labels: &[String]) -> bool {
        selected(&self.axes, wanted, labels)
    }
}

/// Without advice for those who call the parser.
fn plain(error: &serde_saphyr::Error) -> String {
    error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", "; it may be there once")
}

#[cfg(test)]
mod tests;
