/// How exactly the network is computed. On CUDA `bf16` and `f16` are, and everything else is `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// In `f32` throughout.
    F32,
    /// As good as `f32` for masks and verdicts: with AMX numbers of 16 significant bits (sums of two bf16), added in `f32`, without it
    /// `f32` with a quarter of the products.
    #[default]
    F32Grade,
    /// In bf16, 8 significant bits, added in `f32`.
    Bf16,
    /// In IEEE's half precision, 11 significant bits up to 65504, added in `f32`: U-Nets on CUDA alone, other
    /// networks there in `f32`; on the CPU `f32-grade`.
    F16,
    /// In whole numbers of 8 bits, added in 32; needs a model that `train quantise` has prepared.
    Int8,
}

impl Precision {
    /// What a configuration may give.
    pub const EXPECTED: &'static str = "\"f32\", \"f32-grade\", \"bf16\", \"f16\" or \"int8\"";

    /// Every one by the name it has in configurations and on the command line.
    pub const NAMES: [(&'static str, Self); 5] =
        [("f32", Self::F32), ("f32-grade", Self::F32Grade), ("bf16", Self::Bf16), ("f16", Self::F16), ("int8", Self::Int8)];
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(_, precision)| precision == self).map_or("", |(name, _)| name))
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, precision)| *precision);
        found.ok_or_else(|| "give f32, f32-grade, bf16, f16 or int8".into())
    }
}
