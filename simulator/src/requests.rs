//! Requests under way, by number; a number is used again once its request has ended, told apart by its round.

use evenkeel_balance::Guard;

/// A request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) begun: u64,
    /// Nanoseconds at speed 1.
    pub(crate) work: f64,
    pub(crate) machine: u32,
    /// When it came to the machine, and how many requests that had then, this one included.
    pub(crate) arrived: u64,
    pub(crate) load: u32,
    pub(crate) at_machine: bool,
    /// It came to a machine that does not answer.
    pub(crate) hangs: bool,
    pub(crate) round: u32,
    pub(crate) guard: Option<Guard>,
}

/// Names a request, and none that has its number after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: u32,
    pub(crate) round: u32,
}

/// All requests under way.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    all: Vec<Request>,
    free: Vec<u32>,
}

impl Requests {
    pub(crate) fn add(&mut self, request: Request) -> Ticket {
        let id = self.free.pop().unwrap_or_else(|| {
            self.all.push(Request::default());
            crate::number::small(self.all.len() - 1)
        });
        let place = &mut self.all[id as usize];
        let round = place.round.wrapping_add(1);
        *place = Request { round, ..request };
        Ticket { id, round }
    }

    /// The request, unless it has ended.
    pub(crate) fn of(&mut self, ticket: Ticket) -> Option<&mut Request> {
        let request = &mut self.all[ticket.id as usize];
        (request.round == ticket.round && request.guard.is_some()).then_some(request)
    }

    /// The request that has this number now.
    pub(crate) fn at(&mut self, id: u32) -> (Ticket, &mut Request) {
        let request = &mut self.all[id as usize];
        (Ticket { id, round: request.round }, request)
    }

    /// Ends the request, if it has not ended.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<(Guard, Request)> {
        let request = &mut self.all[ticket.id as usize];
        if request.round != ticket.round {
            return None;
        }
        let guard = request.guard.take()?;
        self.free.push(ticket.id);
        let ended = Request { guard: None, ..*request };
        Some((guard, ended))
    }

    /// When each request began that is under way.
    pub(crate) fn begun(&self) -> impl Iterator<Item = u64> {
        self.all.iter().filter(|request| request.guard.is_some()).map(|request| request.begun)
    }

    /// None is under way.
    pub(crate) const fn is_empty(&self) -> bool {
        self.all.len() == self.free.len()
    }
}
