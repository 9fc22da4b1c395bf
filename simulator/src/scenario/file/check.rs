//! What must be so of a scenario's file that no type and no case says.

use super::{Expect, File, Over};
use crate::{
    entrant::Entrant,
    scenario::{
        Problem,
        check::{ensure, within},
        limits::{SEEDS, VARIANTS},
        value,
    },
};

impl File {
    /// What must be so that no case says.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let seeds = |seeds: u32, field: &str| ensure(SEEDS.contains(&seeds), field, &within(&SEEDS));
        seeds(self.seeds, "seeds")?;
        self.published.as_ref().map_or(Ok(()), |published| seeds(published.seeds, "published.seeds"))?;
        self.short.as_ref().map_or(Ok(()), |short| seeds(short.seeds, "short.seeds"))?;
        ensure(!self.algorithms.is_empty(), "algorithms", "be at least one")?;
        once(self.playing(), "algorithms, published ones among them,")?;
        once(self.short.iter().flat_map(|short| &short.algorithms), "short.algorithms")?;
        for (index, expect) in self.expect.iter().enumerate() {
            once(expect.of.iter(), &format!("expect[{index}].of"))?;
        }
        for (index, axis) in self.matrix.iter().enumerate() {
            ensure(!axis.is_empty(), &format!("matrix[{index}]"), "have an entry; leave it out otherwise")?;
        }
        let variants = self.matrix.iter().fold(1_usize, |all, axis| all.saturating_mul(axis.len()));
        let few = format!("have at most {VARIANTS} combinations, not {variants}");
        ensure(variants <= VARIANTS, "matrix", &few)?;
        self.check_labels()?;
        self.check_expected()?;
        let bare = |expect: &&Expect| expect.at_most.is_none() && expect.at_least.is_none();
        let bare = self.expect.iter().find(bare);
        bare.map_or(Ok(()), |expect| {
            Err(value(&format!("expect {:?}", expect.say), "have atMost or atLeast"))
        })
    }

    /// All that take part, if only in some of it.
    fn playing(&self) -> impl Iterator<Item = &Entrant> {
        self.algorithms.iter().chain(self.published.iter().flat_map(|published| &published.algorithms))
    }

    /// Of those that do not take part nothing would ever be measured.
    fn check_expected(&self) -> Result<(), Problem> {
        let playing: Vec<_> = self.playing().collect();
        let plays = |entrant: &Entrant, field: &str| {
            let must = format!("name those that take part, of which {entrant} is none");
            ensure(playing.contains(&entrant), field, &must)
        };
        for (index, expect) in self.expect.iter().enumerate() {
            expect.of.iter().try_for_each(|entrant| plays(entrant, &format!("expect[{index}].of")))?;
            if let Some(Over::Entrant(entrant)) = &expect.over {
                plays(entrant, &format!("expect[{index}].over"))?;
            }
        }
        Ok(())
    }

    /// Labels that the matrix does not have would select all; of one that two axes have, nobody would know which is
    /// meant.
    fn check_labels(&self) -> Result<(), Problem> {
        for (index, axis) in self.matrix.iter().enumerate() {
            let earlier = &self.matrix[..index];
            let twice = axis.keys().find(|label| earlier.iter().any(|axis| axis.contains_key(*label)));
            let must = |label| format!("have labels that no axis before it has, as it has {label:?}");
            twice.map_or(Ok(()), |label| Err(value(&format!("matrix[{index}]"), &must(label))))?;
        }
        let known = |labels: &[String], field: &str| {
            let unknown =
                labels.iter().find(|label| !self.matrix.iter().any(|axis| axis.contains_key(*label)));
            unknown.map_or(Ok(()), |label| {
                Err(value(field, &format!("name labels of the matrix, of which {label:?} is none")))
            })
        };
        for (index, expect) in self.expect.iter().enumerate() {
            known(&expect.r#in, &format!("expect[{index}].in"))?;
            known(expect.than.as_slice(), &format!("expect[{index}].than"))?;
        }
        for (index, page) in self.page.iter().enumerate() {
            known(&page.r#in, &format!("page[{index}].in"))?;
        }
        self.published.as_ref().map_or(Ok(()), |published| known(&published.r#in, "published.in"))?;
        self.short.as_ref().map_or(Ok(()), |short| known(&short.r#in, "short.in"))
    }
}

/// Complains of an algorithm that is named twice, whose figures would count twice.
pub(super) fn once<'a>(entrants: impl Iterator<Item = &'a Entrant>, field: &str) -> Result<(), Problem> {
    let mut seen = Vec::new();
    for entrant in entrants {
        ensure(!seen.contains(entrant), field, &format!("name each once, {entrant} too"))?;
        seen.push(*entrant);
    }
    Ok(())
}
