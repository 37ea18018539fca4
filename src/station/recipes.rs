use crate::config::Problems;
use crate::judge::Recipe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The recipe a lane judges by; exchanged between two cells.
pub(super) struct RecipeSlot {
    file: PathBuf,
    recipe: Mutex<Arc<Recipe>>,
}

impl RecipeSlot {
    /// Reads the lane's recipe.
    pub fn load(file: PathBuf) -> Result<Self, Problems> {
        let (recipe, warnings) = Recipe::load(&file)?;
        for warning in warnings.all() {
            tracing::warn!("{warning}");
        }
        Ok(Self { file, recipe: Mutex::new(Arc::new(recipe)) })
    }

    /// The recipe for the next cell.
    pub fn get(&self) -> Arc<Recipe> {
        self.recipe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. A bad recipe is refused and the old one stays.
    pub fn reload(&self) -> Result<Arc<Recipe>, Problems> {
        let (recipe, _) = Recipe::load(&self.file)?;
        let recipe = Arc::new(recipe);
        *self.recipe.lock().unwrap_or_else(PoisonError::into_inner) = recipe.clone();
        Ok(recipe)
    }
}
