//! A worker in a program where every panic aborts. It does as it is told: `panic` or `stop`.

use std::time::Duration;

fn main() {
    let budget_ms = std::env::var("LASTBEAT_MANNERS_BUDGET_MS").unwrap().parse().unwrap();
    let worker = lastbeat::Lastbeat::builder("manners", "abort")
        .flush_budget(Duration::from_millis(budget_ms))
        .connect();
    worker.ready();
    println!("host: up {}", worker.run_id());
    let mut order = String::new();
    std::io::stdin().read_line(&mut order).unwrap();
    if order.trim() == "panic" {
        panic!("in a program where panics abort");
    }
    worker.stop("the test");
    worker.run_until_stopped_blocking(lastbeat::Plan::new());
}
