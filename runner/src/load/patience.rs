//! How long may take what happens beside the load: preparing, looking at the data, cleaning up.
//!
//! Each step has a limit of its own, in proportion to its work, and a whole of many steps has none: a large bucket
//! takes its time, and a server that does not answer ends the first step it does not answer.

use std::time::Duration;

/// Longest wait for the answer to a step that does little.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for a step over so many `units`, of which even a slow service does so many a second.
pub fn patience(units: u64, per_second: u64) -> Duration {
    PATIENCE + Duration::from_secs(units / per_second.max(1))
}

/// `step`, or the error that it took longer than `limit`.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result,
        Err(_) => Err(format!("{what}: no answer within {} s", limit.as_secs_f64())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_an_answer_ends_with_its_name() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ask = |step| runtime.block_on(async { within(Duration::from_millis(20), "CHECKPOINT", step).await });
        let never: std::pin::Pin<Box<dyn Future<Output = Result<u8, String>>>> = Box::pin(std::future::pending());
        assert_eq!(ask(never), Err("CHECKPOINT: no answer within 0.02 s".to_owned()));
        assert_eq!(ask(Box::pin(async { Ok(7) })), Ok(7));
        assert_eq!(patience(0, 0), PATIENCE);
        assert_eq!(patience(5000, 1000), PATIENCE + Duration::from_secs(5));
    }
}
