//! What a block costs, asserted where it does not depend on the machine.

use basalt_sim::measure::{Row, measure};

#[test]
fn three_delays_whatever_execution_takes_and_messages_by_the_square() {
    let rows: Vec<Row> = [4, 7, 16, 31].into_iter().map(|n| measure(n).expect("a sound run")).collect();
    for row in &rows {
        assert!(row.delays == 3.0 && row.delays_slow_execution == 3.0, "{row:?}");
        // What the ends of a run repeat is a tenth at most.
        let stated = row.stated_messages;
        assert!((stated..=stated + stated / 10).contains(&row.messages_per_block), "{row:?}");
        assert!(row.engine_us_per_block > 0.0, "{row:?}");
    }
    let growth = |a: &Row, b: &Row| b.messages_per_block as f64 / a.messages_per_block as f64;
    for pair in rows.windows(2) {
        let square = (pair[1].validators as f64 / pair[0].validators as f64).powi(2);
        assert!(growth(&pair[0], &pair[1]) <= square * 1.15, "faster than n²: {pair:?}");
    }
}
