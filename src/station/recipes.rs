use crate::config::{Lane, Places, Precision, Problems, StationConfig};
use crate::judge::Recipe;
use crate::publish::wire::RecipeInfo;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The recipe a lane judges by; exchanged between two cells.
pub(super) struct RecipeSlot {
    file: PathBuf,
    recipe: Mutex<Arc<Recipe>>,
    /// What the network is ready for besides the station's own precision.
    precisions: Arc<[Precision]>,
}

impl RecipeSlot {
    /// `recipe`, as it was read from `file`; another one may ask for no other precisions than these.
    pub fn new(file: PathBuf, recipe: Recipe, precisions: Arc<[Precision]>) -> Self {
        Self { file, recipe: Mutex::new(Arc::new(recipe)), precisions }
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
        *self.recipe.lock().unwrap_or_else(PoisonError::into_inner) = recipe.clone();
        Ok(recipe)
    }
}

/// What verdicts and status messages tell of it.
pub(super) fn told(recipe: &Recipe) -> RecipeInfo {
    RecipeInfo { name: recipe.name.clone(), digest: recipe.digest.clone() }
}

/// The recipe of the lane with this index, and what is to be warned of. A file that cannot be read is told where it is named.
pub(super) fn of_lane(config: &StationConfig, index: usize, lane: &Lane) -> Result<(Recipe, Problems), Problems> {
    Recipe::load(&lane.recipe).map_err(|refused| {
        let Err(e) = std::fs::read_to_string(&lane.recipe) else { return refused };
        let (key, mut problems) = (format!("lane[{index}].recipe"), Problems::default());
        let what = format!("leads to {}, which cannot be read: {e}", lane.recipe.display());
        problems.error(&config.file, Places::of(&config.file).line(&key), key, what, "give the path of a readable recipe (TOML)");
        problems
    })
}

/// Reads a recipe; what it probably does not mean is told in the log.
pub(super) fn read(file: &Path) -> Result<Recipe, Problems> {
    Recipe::load(file).map(warned)
}

/// The recipe, its warnings being told in the log.
pub(super) fn warned((recipe, warnings): (Recipe, Problems)) -> Recipe {
    for warning in warnings.all() {
        tracing::warn!("{warning}");
    }
    recipe
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
}
