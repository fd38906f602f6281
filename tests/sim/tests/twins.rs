//! Twins: a search through partitions of validators that run twice. Millions by hand (`basalt-sim twins`), some here.

use basalt_sim::{
    batch::run_twins,
    twins::{Schedule, run},
};

#[test]
fn up_to_f_twins_never_lead_to_two_blocks() {
    for (n, schedules) in [(4, 3_000), (7, 600), (10, 250)] {
        let report = run_twins(n, (n - 1) / 3, 0..schedules, 2, None);
        assert_eq!(report.conflict, None, "n = {n}");
        let tally = report.tally;
        println!("n = {n}: {tally:?}");
        // A search in which nothing happens would prove nothing.
        assert_eq!(tally.schedules, schedules);
        assert!(tally.decisions > 5 * schedules && tally.later_rounds > schedules, "n = {n}: {tally:?}");
        assert!(tally.equivocations > schedules, "n = {n}: {tally:?}");
    }
}

/// Beyond f the protocol promises nothing, and the search must show it, or it could not show anything.
#[test]
fn more_than_f_twins_are_caught() {
    let report = run_twins(4, 2, 0..2_000, 1, None);
    assert!(report.conflict.is_some(), "{report:?}");
}

#[test]
fn a_schedule_is_its_number() {
    for number in 0..20 {
        let schedule = Schedule::numbered(7, 2, number);
        assert_eq!(schedule, Schedule::numbered(7, 2, number));
        assert_eq!(run(&schedule), run(&schedule));
    }
}

/// The walk through all sequences of splits meets none twice before it has met all.
#[test]
fn systematic_schedules_differ() {
    let schedules = (0..4_000).map(|i| format!("{:?}", Schedule::numbered(4, 1, 2 * i)));
    assert_eq!(schedules.collect::<std::collections::BTreeSet<_>>().len(), 4_000);
}
