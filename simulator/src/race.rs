//! Which server finishes its next request first: a tournament, in which a changed time is played again in O(log n) and
//! leaves no stale event behind.

/// The times of so many runners, and who is first.
#[derive(Debug)]
pub(crate) struct Race {
    /// Leaves from `leaves` on; each node above holds the runner that wins below it.
    winners: Vec<u32>,
    times: Vec<u64>,
    leaves: usize,
}

impl Race {
    /// So many runners, none of which has a time.
    pub(crate) fn new(runners: usize) -> Self {
        let leaves = runners.next_power_of_two().max(1);
        let mut winners = vec![0; 2 * leaves];
        for (node, winner) in winners.iter_mut().enumerate().skip(1) {
            // The leftmost leaf below.
            let depth = leaves.ilog2() - node.ilog2();
            *winner = crate::number::small((node << depth) - leaves);
        }
        Self { winners, times: vec![u64::MAX; leaves], leaves }
    }

    /// Changes a runner's time; `u64::MAX` for none.
    pub(crate) fn set(&mut self, runner: usize, time: u64) {
        if self.times[runner] == time {
            return;
        }
        self.times[runner] = time;
        let mut node = (self.leaves + runner) / 2;
        while node >= 1 {
            let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
            let right_wins = self.times[right as usize] < self.times[left as usize];
            self.winners[node] = if right_wins { right } else { left };
            node /= 2;
        }
    }

    /// The first time, and whose it is; of equals the lowest runner.
    pub(crate) fn first(&self) -> (u64, usize) {
        let winner = self.winners[1] as usize;
        (self.times[winner], winner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runners: usize, sets: &[(usize, u64)], expect: (u64, usize)) {
        let mut race = Race::new(runners);
        sets.iter().for_each(|(runner, time)| race.set(*runner, *time));
        assert_eq!(race.first(), expect);
    }

    #[test]
    fn the_first_wins() {
        check(1, &[], (u64::MAX, 0));
        check(1, &[(0, 5)], (5, 0));
        check(5, &[(4, 9), (2, 7), (3, 8)], (7, 2));
        check(5, &[(4, 9), (2, 7), (2, 10)], (9, 4));
        check(3, &[(2, 7), (1, 7)], (7, 1));
    }
}
