use super::*;

/// Endpoints by how many requests ended and how many of them failed; the places of those that a rule finds.
fn check(seen: &[(u64, u64)], by_success: &[usize], by_percentage: &[usize]) {
    let ids: Vec<EndpointId> = (0..seen.len()).map(|index| index.to_string().as_str().into()).collect();
    let with_ids: Vec<_> = ids
        .iter()
        .zip(seen)
        .map(|(id, (judged, failures))| {
            (id, Seen { judged: *judged, failures: *failures, ..Seen::default() })
        })
        .collect();
    let places = |found: Vec<&EndpointId>| -> Vec<usize> {
        found.into_iter().map(|id| id.as_str().parse().unwrap()).collect()
    };
    let success_rate = SuccessRate { min_endpoints: 5, min_requests: 100, deviations: 1.9 };
    let failure_percentage = FailurePercentage { percent: 85, min_endpoints: 5, min_requests: 50 };
    assert_eq!(places(by_success_rate(&with_ids, success_rate)), by_success, "{seen:?}");
    assert_eq!(places(by_failure_percentage(&with_ids, failure_percentage)), by_percentage, "{seen:?}");
}

#[test]
fn whoever_fails_as_often_as_the_others_stays() {
    check(&[], &[], &[]);
    check(&[(100, 0); 5], &[], &[]);
    check(&[(100, 50); 5], &[], &[]);
    check(&[(100, 1), (100, 1), (100, 1), (100, 1), (1000, 10)], &[], &[]);
    check(&[(100, 90); 5], &[], &[0, 1, 2, 3, 4]);
}

#[test]
fn far_below_the_mean_is_so_many_deviations() {
    // One of five is always two deviations below, two of six 1.41.
    check(&[(100, 0), (100, 0), (100, 10), (100, 0), (100, 0)], &[2], &[]);
    check(&[(100, 0), (100, 0), (100, 10), (100, 0), (100, 0), (100, 10)], &[], &[]);
    // Far above the others is no fault.
    check(&[(100, 20), (100, 20), (100, 0), (100, 20), (100, 20)], &[], &[]);
}

#[test]
fn the_part_that_fails_is_reached() {
    check(&[(100, 0), (100, 0), (100, 0), (100, 0), (100, 84)], &[4], &[]);
    check(&[(100, 0), (100, 0), (100, 0), (100, 0), (100, 85)], &[4], &[4]);
    check(&[(200, 0), (200, 0), (200, 0), (200, 0), (200, 169)], &[4], &[]);
}

#[test]
fn few_requests_and_few_endpoints_say_nothing() {
    check(&[(1000, 0), (1000, 0), (1000, 0), (1000, 999)], &[], &[]);
    check(&[(100, 0), (100, 0), (100, 0), (100, 0), (99, 99)], &[], &[4]);
    check(&[(100, 0), (100, 0), (100, 0), (100, 0), (100, 0), (99, 99)], &[], &[5]);
    check(&[(50, 0), (50, 0), (50, 0), (50, 0), (50, 50)], &[], &[4]);
    check(&[(50, 0), (50, 0), (50, 0), (50, 0), (49, 49)], &[], &[]);
    check(&[(50, 0), (50, 0), (50, 0), (50, 0), (50, 0), (49, 49)], &[], &[]);
}
