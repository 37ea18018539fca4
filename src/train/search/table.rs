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
    /// Validation IoU, PA and OII of the chosen training, over all pixels.
    pub iou: f64,
    /// Its IoU as the mean over pictures, where the training tells it.
    pub mean_iou: Option<f64>,
    /// See `iou`.
    pub pa: f64,
    /// See `iou`.
    pub oii: f64,
}

/// The rows as the paper prints them, in Markdown.
pub fn search_table(loss: &str, rows: &[SearchRow]) -> String {
    let mut table = String::from("| method | loss | trainings | α | IoU | PA | OII |\n|---|---|---|---|---|---|---|\n");
    for SearchRow { method, trainings, alpha, iou, pa, oii, .. } in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {method} | {loss} | {trainings} | {} | {iou:.3} | {pa:.3} | {oii:+.3} |", short(*alpha));
    }
    table
}

/// Every training of a search in its order, in Markdown.
pub fn trainings_table(trainings: &[SearchRow]) -> String {
    let mut table = String::from("| α | IoU | its mean over pictures | PA | OII |\n|---|---|---|---|---|\n");
    for SearchRow { alpha, iou, mean_iou, pa, oii, .. } in trainings {
        let mean = mean_iou.map_or("–".into(), |mean| format!("{mean:.3}"));
        let _ = writeln!(table, "| {} | {iou:.3} | {mean} | {pa:.3} | {oii:+.3} |", short(*alpha));
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
        let alpha = 0.7000000000000001;
        let row = SearchRow { method: "OII-guided".into(), trainings: 2, alpha, iou: 0.58612, mean_iou: Some(0.6), pa: 0.8, oii: 0.31 };
        assert_eq!(trainings_table(std::slice::from_ref(&row)).lines().last(), Some("| 0.7 | 0.586 | 0.600 | 0.800 | +0.310 |"));
        let table = search_table("dibe_dis", &[row]);
        assert_eq!(table.lines().last(), Some("| OII-guided | dibe_dis | 2 | 0.7 | 0.586 | 0.800 | +0.310 |"));
    }
}
