//! A pick allocates nothing, nor does the end of a request.

#![expect(unsafe_code, reason = "an allocator that counts is one")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::Duration,
};

use crate::common::{Pool, S, algorithms, answered, equal};
use evenkeel_balance::{Key, Query};

/// Counts this thread's allocations, and leaves them to the system.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: each call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn picks_allocate_nothing() {
    for algorithm in algorithms() {
        let mut pool = Pool::new(algorithm.clone(), equal(100));
        // From Auto's first look on, requests are written down.
        pool.tick(Duration::ZERO);
        pool.tick(2 * S);
        let before = ALLOCATIONS.with(Cell::get);
        let mut tried = [0; 1];
        for number in 0..1000_u32 {
            let key = number.to_be_bytes();
            let query = Query {
                key: Some(Key::Bytes(&key)),
                client: Some(key.into()),
                tried: if number % 2 == 0 { &[] } else { &tried },
                affinity: (number % 5 == 0).then_some("e7"),
                ..Query::at(pool.now.after(Duration::from_millis(number.into())), 0)
            };
            let mut pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            pick.guard.set_outcome(answered(200, query.now, Duration::from_millis(3)));
            tried = [pick.index];
        }
        let made = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(made, 0, "{algorithm:?}");
    }
}
