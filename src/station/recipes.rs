use crate::cell::RIM_PX;
use crate::config::{Lane, Places, Precision, Problems, Severity, StationConfig};
use crate::judge::{Limits, Recipe};
use crate::publish::wire::RecipeInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The recipe a lane judges by; exchanged between two cells.
pub(super) struct RecipeSlot {
    file: PathBuf,
    recipe: Mutex<Arc<Recipe>>,
    /// What the network is ready for besides the station's own precision.
    precisions: Arc<[Precision]>,
    with: Option<Use>,
}

impl RecipeSlot {
    /// `recipe`, as it was read from `file`; another one may ask for no other precisions than these.
    pub fn new(file: PathBuf, recipe: Recipe, precisions: Arc<[Precision]>) -> Self {
        Self { file, recipe: Mutex::new(Arc::new(recipe)), precisions, with: None }
    }

    /// The same, which tells of another recipe what is to be told of one used so.
    pub fn used(self, with: Use) -> Self {
        Self { with: Some(with), ..self }
    }

    /// The recipe for the next cell.
    pub fn get(&self) -> Arc<Recipe> {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. A bad recipe is refused and the old one stays.
    pub fn reload(&self) -> Result<Arc<Recipe>, Problems> {
        let recipe = Arc::new(read(&self.file)?);
        if let Some(precision) = recipe.precision.filter(|precision| !self.precisions.contains(precision)) {
            let mut problems = Problems::default();
            let what = format!("is \"{precision}\", for which the network was not made ready when the station started");
            problems.error(&self.file, None, "precision", what, "restart the station to take this recipe");
            return Err(problems);
        }
        if let Some(with) = &self.with {
            log(&with.told(&self.file, &recipe));
        }
        *self.recipe.lock().unwrap_or_else(PoisonError::into_inner) = recipe.clone();
        Ok(recipe)
    }
}

/// What verdicts and status messages tell of it.
pub(super) fn told(recipe: &Recipe) -> RecipeInfo {
    RecipeInfo { name: recipe.name.clone(), digest: recipe.digest.clone() }
}

/// What a recipe is used with.
pub(super) struct Use {
    /// The lane.
    pub lane: Arc<str>,
    /// Of a stitched pixel there.
    pub mm_per_px: f64,
    /// The model's own, where it is known.
    pub threshold: Option<f32>,
}

impl Use {
    /// What is to be told of this recipe because of where it is used.
    fn told(&self, file: &Path, recipe: &Recipe) -> Problems {
        let (mut problems, lane) = (Problems::default(), &self.lane);
        let line = |key: &str| Places::of(file).line(key);
        let (zone_mm, rim_mm) = (recipe.edge_zone_mm, f64::from(RIM_PX) * self.mm_per_px);
        if recipe.edge != Limits::default() && zone_mm <= rim_mm {
            let what = format!(
                "is {zone_mm}, and on lane {lane:?} the outermost {rim_mm:.2} mm, where wafer and gap mix, are not looked at: the limits of \
                 [edge] never fire"
            );
            problems.warning(file, line("edge.zone_mm"), "edge.zone_mm", what, "make the zone wider by these, or remove the limits");
        }
        if let Some((own, models)) = recipe.threshold.zip(self.threshold).filter(|(own, models)| own != models) {
            let what = format!("is {own} instead of the model's {models} on lane {lane:?}");
            problems.note(file, line("threshold"), "threshold", what, "leave it out for the threshold that came with the model");
        }
        problems
    }
}

/// The recipe of the lane with this index, and what is to be told of it. A file that cannot be read is told where it is named.
pub(super) fn of_lane(config: &StationConfig, index: usize, lane: &Lane, with: &Use) -> Result<(Recipe, Problems), Problems> {
    let (recipe, mut problems) = Recipe::load(&lane.recipe).map_err(|refused| {
        let Err(e) = std::fs::read_to_string(&lane.recipe) else { return refused };
        let (key, mut problems) = (format!("lane[{index}].recipe"), Problems::default());
        let what = format!("leads to {}, which cannot be read: {e}", lane.recipe.display());
        problems.error(&config.file, Places::of(&config.file).line(&key), key, what, "give the path of a readable recipe (TOML)");
        problems
    })?;
    problems.append(with.told(&lane.recipe, &recipe));
    Ok((recipe, problems))
}

/// Reads a recipe; what it probably does not mean is told in the log.
pub(super) fn read(file: &Path) -> Result<Recipe, Problems> {
    Recipe::load(file).map(warned)
}

/// The recipe, its warnings being told in the log.
pub(super) fn warned((recipe, warnings): (Recipe, Problems)) -> Recipe {
    log(&warnings);
    recipe
}

fn log(warnings: &Problems) {
    for warning in warnings.all() {
        match warning.severity {
            Severity::Note => tracing::info!("{warning}"),
            Severity::Error | Severity::Warning => tracing::warn!("{warning}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_that_is_emptied_or_cut_off_is_refused_and_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recipe.toml");
        let whole = "name = \"x\"\n[limits]\nlongest_crack_mm = 2.0\n";
        std::fs::write(&file, whole).unwrap();
        let slot = RecipeSlot::new(file.clone(), read(&file).unwrap(), [].into());
        let old = slot.get();
        for left in [0, whole.find("[limits]").unwrap(), whole.find("longest").unwrap()] {
            std::fs::write(&file, &whole[..left]).unwrap();
            let refused = slot.reload().unwrap_err().to_string();
            assert!(refused.contains("sets no limit") && Arc::ptr_eq(&slot.get(), &old), "{refused}");
        }
        std::fs::write(&file, whole.replace("2.0", "3.0")).unwrap();
        slot.reload().unwrap();
        assert_eq!(slot.get().limits.longest_crack_mm, Some(3.0));
        let (before, now) = (told(&old), told(&slot.get()));
        assert!(before.name == "x" && now.name == "x" && before.digest.len() == 64 && before.digest != now.digest);
    }

    #[test]
    fn an_edge_zone_within_the_rim_and_a_threshold_in_place_of_the_model_s_are_told_for_the_lane() {
        let folder = tempfile::tempdir().unwrap();
        let (file, recipe) = (folder.path().join("station.toml"), folder.path().join("recipe.toml"));
        let lane = "name = \"a\"\nrecipe = \"recipe.toml\"\n[lane.camera]\nkind = \"simulated\"\n[lane.wafer]\nformat = \"M10\"\n";
        std::fs::write(&file, format!("[network]\nmodel = \"m\"\n[[lane]]\n{lane}")).unwrap();
        let (config, _) = StationConfig::load(&file).unwrap();
        let with = Use { lane: "a".into(), mm_per_px: 182.0 / 1344.0, threshold: Some(0.8) };
        let told = |text: &str| {
            std::fs::write(&recipe, text).unwrap();
            let (_, problems) = of_lane(&config, 0, &config.lanes[0], &with).unwrap();
            problems.all().iter().map(|p| (p.severity, p.line, format!("{} {}", p.key, p.what))).collect::<Vec<_>>()
        };
        // The rim of 5 pixels is 0.68 mm of an M10.
        let [(Severity::Warning, Some(2), what)] = &told("[edge]\nzone_mm = 0.65\ncount = 0\n")[..] else { panic!("no warning") };
        assert!(what.starts_with("edge.zone_mm is 0.65") && what.contains("the outermost 0.68 mm"), "{what}");
        assert_eq!(told("[edge]\nzone_mm = 0.7\ncount = 0\n"), []);
        assert_eq!(told("[limits]\ncount = 0\n[edge]\nzone_mm = 0.65\n"), [], "no limit that could fire");
        let [(Severity::Note, Some(1), what)] = &told("threshold = 0.9\n[limits]\ncount = 0\n")[..] else { panic!("no note") };
        assert!(what.starts_with("threshold is 0.9 instead of the model's 0.8 on lane \"a\""), "{what}");
        assert_eq!(told("threshold = 0.8\n[limits]\ncount = 0\n"), []);
    }
}
