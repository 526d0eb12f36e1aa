//! A complete worker: one agent, two shutdown steps. `cargo run -p lastbeat --example worker`, then Ctrl+C.

use std::time::Duration;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let worker = lastbeat::Lastbeat::connect("trader", "main");
    worker.spawn("price-feed", |agent| async move {
        while !agent.is_cancelled() {
            tokio::select! {
                () = agent.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => agent.progress(),
            }
        }
        Ok(())
    });
    worker.ready();
    let plan = lastbeat::Plan::new()
        .step("cancel-orders", Duration::from_secs(5), |step| async move {
            step.total(3);
            step.done(3);
            Ok(())
        })
        .step("flush", Duration::from_secs(2), |_| async { Ok(()) });
    worker.run_until_stopped(plan).await
}
