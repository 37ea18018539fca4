use crate::cell::Gate;
use crate::config::{Precision, Problems, Reader, read_document};
use sha2::{Digest, Sha256};
use std::path::Path;

/// What is longer, or larger, is no speck.
const SPECK_MM_MAX: f64 = 5.0;
const SPECK_MM2_MAX: f64 = 1.0;

const NO_LIMIT: &str = "sets no limit, so no crack ever rejects a cell";

/// What is allowed; more than it rejects. `None` allows anything.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Length of the longest crack, mm.
    pub longest_crack_mm: Option<f64>,
    /// Length of all cracks together, mm.
    pub total_length_mm: Option<f64>,
    /// Area of all cracks together, mm².
    pub area_mm2: Option<f64>,
    /// Number of cracks.
    pub count: Option<u32>,
}

/// The rules and thresholds of a product. `configs/recipe.toml` explains every key.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The product's name; the file's name where the file gives none.
    pub name: String,
    /// SHA-256 of the file, hexadecimal; empty where it is of none.
    pub digest: String,
    /// How exactly the network is computed for it, in place of the station's own.
    pub precision: Option<Precision>,
    /// Probability from which a pixel is crack, in place of the model's own.
    pub threshold: Option<f32>,
    /// A shorter crack does not count, mm.
    pub minimum_length_mm: f64,
    /// A smaller crack does not count, mm².
    pub minimum_area_mm2: f64,
    /// Fragments no farther apart than this are one crack, mm.
    pub join_gap_mm: f64,
    /// What becomes of a cell that could not be judged.
    pub hold_gate: Gate,
    /// Limits for the whole cell.
    pub limits: Limits,
    /// Width of the edge zone, measured inwards from the wafer's outline, mm.
    pub edge_zone_mm: f64,
    /// Further limits for the cracks that reach into the edge zone.
    pub edge: Limits,
    /// Whether a missing corner rejects.
    pub reject_missing_corners: bool,
}

impl Default for Recipe {
    /// What holds for the keys that a recipe leaves out. There are no limits here; a file must set one, or say that it sets none.
    fn default() -> Self {
        Self {
            name: "default".into(),
            digest: String::new(),
            precision: None,
            threshold: None,
            minimum_length_mm: 1.0,
            minimum_area_mm2: 0.02,
            join_gap_mm: 0.4,
            hold_gate: Gate::Eject,
            limits: Limits::default(),
            edge_zone_mm: 3.0,
            edge: Limits::default(),
            reject_missing_corners: true,
        }
    }
}

impl Recipe {
    /// Reads a recipe file. With it come the warnings: rules that cannot fire. One without any limit, as an empty or cut-off file is,
    /// is refused unless it says `limits = {}`.
    ///
    /// # Errors
    /// Everything that is wrong with the file at once, warnings included.
    pub fn load(path: &Path) -> Result<(Self, Problems), Problems> {
        let (recipe, problems) = read_document(path, |reader| Self::read(reader, path));
        match recipe {
            Some(recipe) if !problems.has_errors() => Ok((recipe, problems)),
            _ => Err(problems),
        }
    }

    fn read(reader: &mut Reader, path: &Path) -> Self {
        let default = Self::default();
        let file_name = path.file_stem().map_or(default.name, |stem| stem.to_string_lossy().into_owned());
        let mut recipe = Self {
            name: reader.or("name", "the product's name in quotes", file_name),
            digest: hex::encode(Sha256::digest(reader.text())),
            precision: reader.optional("precision", Precision::EXPECTED),
            threshold: reader.optional_number("threshold", "a probability from 0.01 to 0.99 (50 % is 0.5)", 0.01..=0.99),
            minimum_length_mm: reader.number("minimum_length_mm", "millimetres from 0 to 100", 0.0..=100.0, default.minimum_length_mm),
            minimum_area_mm2: reader.number("minimum_area_mm2", "mm² from 0 to 100", 0.0..=100.0, default.minimum_area_mm2),
            join_gap_mm: reader.number("join_gap_mm", "millimetres from 0 to 2", 0.0..=2.0, default.join_gap_mm),
            hold_gate: reader.or("hold_gate", "\"eject\" or \"open\"", default.hold_gate),
            ..Self::default()
        };
        recipe.limits = reader.table("limits", |table| {
            let limits = Limits::read(table);
            warn_of_limits_below_minimums(table, &limits, &recipe);
            limits
        });
        (recipe.edge_zone_mm, recipe.edge) = reader.table("edge", |edge| {
            let zone_mm = edge.number("zone_mm", "millimetres from 0 to 50", 0.0..=50.0, default.edge_zone_mm);
            let limits = Limits::read(edge);
            warn_of_idle_rules(edge, &limits, &recipe.limits);
            warn_of_limits_below_minimums(edge, &limits, &recipe);
            (zone_mm, limits)
        });
        recipe.reject_missing_corners = reader.table("corners", |corners| corners.or("reject_missing", "true or false", true));
        if recipe.limits == Limits::default() && recipe.edge == Limits::default() {
            // What is left of a recipe that was cut off may end in `[limits]`, never in a whole `{}`.
            if reader.has_inline_table("limits") {
                reader.warning("limits", NO_LIMIT, "set at least longest_crack_mm under [limits]");
            } else {
                let remedy = "set at least longest_crack_mm under [limits]; where that is meant, write `limits = {}`";
                reader.error("limits", NO_LIMIT, remedy);
            }
        }
        warn_of_large_minimums(reader, &recipe);
        recipe
    }
}

impl Limits {
    fn read(reader: &mut Reader) -> Self {
        Self {
            longest_crack_mm: reader.optional_number("longest_crack_mm", "millimetres from 0 to 1000", 0.0..=1000.0),
            total_length_mm: reader.optional_number("total_length_mm", "millimetres from 0 to 100000", 0.0..=1e5),
            area_mm2: reader.optional_number("area_mm2", "mm² from 0 to 100000", 0.0..=1e5),
            count: reader.optional_number("count", "a whole number of cracks from 0", 0..=1_000_000),
        }
    }
}

/// A limit for the edge zone that is no stricter than the whole cell's never fires first.
fn warn_of_idle_rules(edge: &mut Reader, limits: &Limits, whole: &Limits) {
    let pairs = [
        ("longest_crack_mm", limits.longest_crack_mm, whole.longest_crack_mm),
        ("total_length_mm", limits.total_length_mm, whole.total_length_mm),
        ("area_mm2", limits.area_mm2, whole.area_mm2),
        ("count", limits.count.map(f64::from), whole.count.map(f64::from)),
    ];
    for (key, zone, cell) in pairs {
        if let (Some(zone), Some(cell)) = (zone, cell)
            && zone >= cell
        {
            edge.warning(
                key,
                format!("({zone}) is no stricter than limits.{key} ({cell}) and never fires"),
                "make it smaller or remove it",
            );
        }
    }
}

/// Cracks too small to count reject nothing, though a limit lies lower.
fn warn_of_limits_below_minimums(table: &mut Reader, limits: &Limits, recipe: &Recipe) {
    let (length, area) = (("minimum_length_mm", recipe.minimum_length_mm), ("minimum_area_mm2", recipe.minimum_area_mm2));
    let pairs = [
        ("longest_crack_mm", limits.longest_crack_mm, length),
        ("total_length_mm", limits.total_length_mm, length),
        ("area_mm2", limits.area_mm2, area),
    ];
    for (key, limit, (minimum_key, minimum)) in pairs {
        if let Some(limit) = limit.filter(|limit| *limit < minimum) {
            let what = format!("({limit}) is below {minimum_key} ({minimum}): cracks between the two do not reject");
            table.warning(key, what, format!("make {minimum_key} smaller than the limit"));
        }
    }
}

/// A minimum is for specks: one as large as a crack hides cracks from limits of another measure, too.
fn warn_of_large_minimums(reader: &mut Reader, recipe: &Recipe) {
    let any = |is_set: fn(&Limits) -> bool| is_set(&recipe.limits) || is_set(&recipe.edge);
    let by_length = any(|l| l.longest_crack_mm.is_some() || l.total_length_mm.is_some());
    let (by_area, by_count) = (any(|l| l.area_mm2.is_some()), any(|l| l.count.is_some()));
    let minimums = [
        ("minimum_length_mm", recipe.minimum_length_mm, SPECK_MM_MAX, by_area || by_count),
        ("minimum_area_mm2", recipe.minimum_area_mm2, SPECK_MM2_MAX, by_length || by_count),
    ];
    for (key, minimum, speck_max, limited) in minimums {
        if limited && minimum > speck_max {
            let what = format!("({minimum}) is larger than any speck: no rule sees a crack below it, however many there are");
            reader.warning(key, what, format!("make it as small as the network's false specks, at most {speck_max}"));
        }
    }
}
