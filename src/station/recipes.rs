use crate::config::Problems;
use crate::judge::Recipe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The recipe a lane judges by; exchanged between two cells.
pub(super) struct RecipeSlot {
    file: PathBuf,
    recipe: Mutex<Arc<Recipe>>,
}

impl RecipeSlot {
    /// Reads the lane's recipe.
    pub fn load(file: PathBuf) -> Result<Self, Problems> {
        let recipe = Mutex::new(read(&file)?);
        Ok(Self { file, recipe })
    }

    /// The recipe for the next cell.
    pub fn get(&self) -> Arc<Recipe> {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. A bad recipe is refused and the old one stays.
    pub fn reload(&self) -> Result<Arc<Recipe>, Problems> {
        let recipe = read(&self.file)?;
        *self.recipe.lock().unwrap_or_else(PoisonError::into_inner) = recipe.clone();
        Ok(recipe)
    }
}

/// Reads a recipe; what it probably does not mean is told in the log.
fn read(file: &Path) -> Result<Arc<Recipe>, Problems> {
    let (recipe, warnings) = Recipe::load(file)?;
    for warning in warnings.all() {
        tracing::warn!("{warning}");
    }
    Ok(Arc::new(recipe))
}
