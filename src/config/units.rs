/// Side of a wafer format in mm: M6, M10, G12 and their relatives; `None` for an unknown name.
pub fn wafer_size_mm(format: &str) -> Option<f64> {
    match format {
        "M2" => Some(156.75),
        "M6" => Some(166.0),
        "M10" => Some(182.0),
        "G12" => Some(210.0),
        _ => None,
    }
}
