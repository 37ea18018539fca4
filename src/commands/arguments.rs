//! What arguments of several commands are held to.

use std::path::Path;

/// Most CPU threads that can be asked for: more hold each other up.
const MOST_THREADS: usize = 1024;

/// A number of CPU threads.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let told = || format!("must be a whole number, 0 to {MOST_THREADS}; 0 takes as many as the machine has");
    text.parse().ok().filter(|count| *count <= MOST_THREADS).ok_or_else(told)
}

/// A share.
pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "must lie within 0 to 1, such as 0.5".to_owned())
}

/// The length of a crack, mm.
pub(super) fn length_mm(text: &str) -> Result<f64, String> {
    let length = text.parse().ok().filter(|length: &f64| length.is_finite() && *length >= 0.0);
    length.ok_or_else(|| "must be a length in mm, 0 or more, such as 2.5".to_owned())
}

/// The side of a wafer, mm.
pub(super) fn wafer_mm(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|side| (10.0..=500.0).contains(side)).ok_or_else(|| "must lie within 10 to 500 mm, such as 182".to_owned())
}

/// Refuses to write over what lies at `file`, which `option` names, already.
pub(super) fn refuse_existing(option: &str, file: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!file.exists(), "{option} {}: exists already; choose another name or move it away", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_sense_is_taken() {
        assert_eq!((threads("0"), threads("1024")), (Ok(0), Ok(1024)));
        assert!(["1025", "100000", "-1", "two"].iter().all(|text| threads(text).unwrap_err().contains("0 to 1024")));
        assert_eq!((wafer_mm("182"), wafer_mm("10"), length_mm("0"), length_mm("2.5")), (Ok(182.0), Ok(10.0), Ok(0.0), Ok(2.5)));
        for text in ["nan", "-5", "inf", "wide"] {
            assert!(wafer_mm(text).unwrap_err().contains("10 to 500 mm") && length_mm(text).unwrap_err().contains("0 or more"), "{text}");
        }
        assert!(wafer_mm("0").is_err() && wafer_mm("1e300").is_err());
        assert!(share("0.5").is_ok() && share("nan").is_err() && share("1.1").is_err());
    }
}
