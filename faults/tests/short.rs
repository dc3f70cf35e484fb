//! A campaign short enough for every test run. The long ones are `just faults`.

use std::time::Duration;

use faults::{Settings, run};

#[tokio::test(flavor = "multi_thread")]
async fn promises_hold_while_things_break() {
    let settings = Settings {
        seed: 74,
        length: Duration::from_secs(20),
        commands: 2,
        queries: 2,
        projectors: 1,
        shards: 4,
        clients: 8,
        pace: Duration::from_millis(150),
        checks: 40,
        only: vec![],
        without_faults: false,
    };
    let totals = run(settings).await.unwrap();
    assert_eq!(totals.violations, 0, "{totals}");
    assert!(totals.acknowledged > 20 && totals.decided > 20, "{totals}");
    assert!(totals.faults.len() > 2, "{totals}");
}
