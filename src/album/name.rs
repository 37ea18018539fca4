use super::Page;
use std::fmt;
use std::sync::Arc;

/// What a cell's files in the album are called: its time, its lane and its number, so that names in order are in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Longest name that is looked for.
    const LONGEST: usize = 128;

    pub(super) fn of(page: &Page) -> Self {
        let time = jiff::Timestamp::from_nanosecond(page.unix_ns.into()).unwrap_or_default();
        Self(format!("{}_{}_{}", time.strftime("%Y%m%dT%H%M%S%.3fZ"), page.cell.lane, page.cell.number).into())
    }

    /// The name that somebody else has written; `None` where the album gives no such names, which might lead out of its folders.
    pub fn parse(text: &str) -> Option<Self> {
        let name = Self(text.into());
        let (time, rest) = text.split_once('_')?;
        let (lane, number) = rest.rsplit_once('_')?;
        let is_time = time.ends_with('Z') && time.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'T' | b'.' | b'Z'));
        let is_lane = !lane.is_empty() && lane.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
        let is_number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
        (text.len() <= Self::LONGEST && !time.starts_with('.') && is_time && is_lane && is_number).then_some(name)
    }

    /// The lane that saw the cell.
    pub fn lane(&self) -> &str {
        let rest = self.0.split_once('_').map_or("", |(_, rest)| rest);
        rest.rsplit_once('_').map_or("", |(lane, _)| lane)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_lane_and_what_leads_elsewhere_is_none() {
        let name = Name::parse("20231114T221329.000Z_lane_1-a_42").unwrap();
        assert_eq!((name.lane(), name.to_string().as_str()), ("lane_1-a", "20231114T221329.000Z_lane_1-a_42"));
        for other in ["", "cell7", "../x_a_1", "20231114T221329.000Z_../a_1", "20231114T221329.000Z_a_1.found", "._a_1", "Z__1", "Z_a_"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
