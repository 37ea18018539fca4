//! What a command took of the machine.

/// The most memory that this process has had so far, MB; `None` where the system does not tell.
pub(super) fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1000.0 * 1.024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_was_used_is_told() {
        let before = super::peak_mb().unwrap();
        let used = vec![7u8; 200_000_000];
        let with = super::peak_mb().unwrap();
        assert!(with > 200.0 && with >= before, "{before} {with} {}", used[77]);
    }
}
