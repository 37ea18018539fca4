use std::fmt::Write;

/// One line of the paper's Table 6.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRow {
    /// How α was chosen.
    pub method: String,
    /// Trainings that it took.
    pub trainings: usize,
    /// What was chosen.
    pub alpha: f64,
    /// Validation IoU, PA and OII of the chosen training.
    pub iou: f64,
    /// See `iou`.
    pub pa: f64,
    /// See `iou`.
    pub oii: f64,
}

/// The rows as the paper prints them, in Markdown.
pub fn search_table(loss: &str, rows: &[SearchRow]) -> String {
    let mut table = String::from("| method | loss | trainings | α | IoU | PA | OII |\n|---|---|---|---|---|---|---|\n");
    for SearchRow { method, trainings, alpha, iou, pa, oii } in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {method} | {loss} | {trainings} | {} | {iou:.3} | {pa:.3} | {oii:+.3} |", short(*alpha));
    }
    table
}

/// Every training of a search, (α, IoU, PA, OII), by rising α, in Markdown.
pub fn trainings_table(trainings: &[(f64, f64, f64, f64)]) -> String {
    let mut table = String::from("| α | IoU | PA | OII |\n|---|---|---|---|\n");
    for (alpha, iou, pa, oii) in trainings {
        let _ = writeln!(table, "| {} | {iou:.3} | {pa:.3} | {oii:+.3} |", short(*alpha));
    }
    table
}

/// α without the digits that only floating point makes.
fn short(alpha: f64) -> f64 {
    (alpha * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_as_in_table_6() {
        let row = SearchRow { method: "OII-guided".into(), trainings: 2, alpha: 0.7000000000000001, iou: 0.58612, pa: 0.8, oii: 0.31 };
        let table = search_table("dibe_dis", &[row]);
        assert_eq!(table.lines().last(), Some("| OII-guided | dibe_dis | 2 | 0.7 | 0.586 | 0.800 | +0.310 |"));
    }
}
