//! What the paper (arXiv 2211.05295) reports, to be held beside our own figures.

/// Tables 3 and 4: THC448, one row a loss; SegNet, U-Net, PSPNet, DeepLabv3. The row labels of Table 4 were lost
/// in the text and follow its order.
const THC448: [(&str, [f64; 4]); 11] = [
    ("bce", [0.435, 0.577, 0.372, 0.259]),
    ("focal", [0.476, 0.585, 0.252, 0.293]),
    ("dibe-dis", [0.493, 0.585, 0.248, 0.286]),
    ("dice", [0.615, 0.641, 0.513, 0.554]),
    ("tversky", [0.607, 0.635, 0.550, 0.554]),
    ("focal-tversky", [0.607, 0.639, 0.505, 0.539]),
    ("dibe-reg", [0.617, 0.652, 0.515, 0.565]),
    ("combo", [0.595, 0.632, 0.545, 0.538]),
    ("exponential-logarithmic", [0.593, 0.640, 0.549, 0.553]),
    ("hybrid-focal", [0.602, 0.644, 0.547, 0.507]),
    ("dibe", [0.600, 0.646, 0.558, 0.519]),
];
const NETWORKS: [&str; 4] = ["segnet", "unet", "pspnet", "deeplabv3"];

/// Table 5: U-Net; FT, DIBEReg, HF, DIBE.
const TABLE_5: [(&str, [f64; 4]); 3] =
    [("blowhole", [0.774, 0.776, 0.776, 0.779]), ("crack", [0.708, 0.717, 0.716, 0.723]), ("cfd", [0.501, 0.510, 0.497, 0.512])];
const TABLE_5_LOSSES: [&str; 4] = ["focal-tversky", "dibe-reg", "hybrid-focal", "dibe"];

/// The IoU that the paper reports for a data set, network and loss, by their names as arguments.
pub fn paper_iou(data: &str, network: &str, loss: &str) -> Option<f64> {
    let [data, network, loss] = [data, network, loss].map(str::to_lowercase);
    if data == "thc448" {
        let column = NETWORKS.iter().position(|n| *n == network)?;
        return THC448.iter().find(|(name, _)| *name == loss).map(|(_, row)| row[column]);
    }
    let column = TABLE_5_LOSSES.iter().position(|l| *l == loss)?;
    TABLE_5.iter().find(|(name, _)| *name == data && network == "unet").map(|(_, row)| row[column])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name() {
        assert_eq!(paper_iou("Crack", "unet", "dibe"), Some(0.723));
        assert_eq!(paper_iou("THC448", "pspnet", "focal"), Some(0.252));
        assert_eq!(paper_iou("Crack", "segnet", "dibe"), None);
    }
}
