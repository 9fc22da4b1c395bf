//! How what requests take depends on the load, by sums that fade.

/// Sums over an endpoint's requests of the root of what they took and the logarithm of the load: by roots neither the
/// longest requests nor those that take next to nothing decide alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fit {
    pub(super) count: f64,
    root: f64,
    nanos: f64,
    load: f64,
    load_load: f64,
    load_root: f64,
}

impl Fit {
    /// Adds a request that took `nanos` after it had begun with so many in flight, itself included.
    pub(super) fn add(&mut self, load: u32, nanos: f64) {
        let (load, root) = (f64::from(load.max(1)).ln(), nanos.sqrt());
        self.count += 1.0;
        self.root += root;
        self.nanos += nanos;
        self.load += load;
        self.load_load += load * load;
        self.load_root += load * root;
    }

    /// What was added counts this part of what it did.
    pub(super) fn fade(&mut self, part: f64) {
        for sum in [
            &mut self.count,
            &mut self.root,
            &mut self.nanos,
            &mut self.load,
            &mut self.load_load,
            &mut self.load_root,
        ] {
            *sum *= part;
        }
    }

    /// What requests took, in nanoseconds, all together.
    pub(super) const fn nanos(&self) -> f64 {
        self.nanos
    }

    /// Logarithm of what a request takes; of no account if there is none.
    pub(super) fn level(&self) -> f64 {
        2.0 * self.mean_root().ln()
    }

    /// Sum of the squares by which requests differ from that logarithm, as far as they do so a little.
    pub(super) fn deviation(&self) -> f64 {
        4.0 * self.deviation_of_roots() / self.mean_root().powi(2)
    }

    fn mean_root(&self) -> f64 {
        (self.root / self.count).max(1.0)
    }

    fn deviation_of_roots(&self) -> f64 {
        (self.nanos - self.root * self.root / self.count).max(0.0)
    }
}

/// Correlation of what requests took with the load, apart from how endpoints differ.
pub(super) fn slant<'a>(fits: impl Iterator<Item = &'a Fit>) -> f64 {
    let (mut loads, mut roots, mut both) = (0.0, 0.0, 0.0);
    for fit in fits.filter(|fit| fit.count > 0.0) {
        loads += fit.load_load - fit.load * fit.load / fit.count;
        roots += fit.deviation_of_roots() / fit.mean_root().powi(2);
        both += (fit.load_root - fit.load * fit.root / fit.count) / fit.mean_root();
    }
    if loads > 1e-9 && roots > 1e-9 { both / (loads * roots).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoints: &[&[(u32, f64)]], expect: f64) {
        let fit = |requests: &&[(u32, f64)]| {
            let mut fit = Fit::default();
            requests.iter().for_each(|(load, nanos)| fit.add(*load, *nanos));
            fit.fade(0.5);
            fit
        };
        let fits: Vec<_> = endpoints.iter().map(fit).collect();
        let found = slant(fits.iter());
        assert!((found - expect).abs() < 1e-3, "{found}");
    }

    #[test]
    fn the_slant_is_that_within_endpoints() {
        let square = |load: f64| (1e3 * (1.0 + load.ln())).powi(2);
        check(&[], 0.0);
        check(&[&[(1, 5e6), (2, 5e6)]], 0.0);
        check(&[&[(1, square(1.0)), (2, square(2.0)), (4, square(4.0))]], 1.0);
        check(&[&[(1, square(4.0)), (2, square(2.0)), (4, square(1.0))]], -1.0);
        check(&[&[(1, 5e6), (1, 6e6)], &[(9, 50e6), (9, 60e6)]], 0.0);
    }

    #[test]
    fn the_level_is_that_of_the_mean_root() {
        let mut fit = Fit::default();
        [1e6, 9e6].iter().for_each(|nanos| fit.add(1, *nanos));
        assert!((fit.level() - 4e6_f64.ln()).abs() < 1e-9);
        assert!((fit.deviation() - 2.0).abs() < 1e-9, "{}", fit.deviation());
        fit.fade(0.25);
        fit.add(1, 4e6);
        assert_eq!((fit.count, fit.nanos()), (1.5, 6.5e6));
    }
}
