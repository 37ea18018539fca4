//! `hairline bench --against`: another program on the same cells, in the same run.

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use std::process::{Command, Stdio};

/// The last line that the other program prints.
#[derive(Debug, Deserialize)]
struct Answer {
    /// One for each cell.
    seconds: Vec<f64>,
}

/// Runs `command` in a shell and returns the seconds a cell that its last line tells.
///
/// # Errors
/// A command that fails, or ends with another line.
pub(super) fn seconds_a_cell(command: &str) -> anyhow::Result<Vec<f64>> {
    let ran = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let ran = ran.context("--against: cannot start a shell")?;
    if !ran.status.success() {
        bail!("--against: `{command}` failed ({})", ran.status);
    }
    let text = String::from_utf8_lossy(&ran.stdout);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let expected = || format!("--against: `{command}` must end with a line such as {{\"seconds\": [0.13, 0.14]}}, not `{last}`");
    let Answer { seconds } = serde_json::from_str(last).with_context(expected)?;
    ensure!(!seconds.is_empty() && seconds.iter().all(|s| s.is_finite() && *s > 0.0), expected());
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_the_seconds() {
        assert_eq!(seconds_a_cell("echo warming up; echo '{\"seconds\": [0.5, 0.25], \"peak_gb\": 1}'").unwrap(), [0.5, 0.25]);
    }

    #[test]
    fn what_fails_or_tells_nothing_is_named() {
        for (command, told) in
            [("exit 3", "failed"), ("echo fast", "not `fast`"), ("true", "must end"), ("echo '{\"seconds\": []}'", "must end")]
        {
            let error = format!("{:#}", seconds_a_cell(command).unwrap_err());
            assert!(error.contains(told) && error.contains(command), "{error}");
        }
    }
}
