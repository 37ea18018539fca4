//! What is learnt from: pictures with masks, cut into crops, varied, prepared ahead of the device.

mod augment;
mod batches;
mod crop;
mod five_fold;
mod folder;
mod learnt;
mod manifest;
mod picture;
mod pictures;
mod simulated;
mod source;
mod split;
mod squares;
mod told;

pub use augment::Augmentation;
pub use batches::{Batch, Batches};
pub use crop::{Crop, CropPlan, Sampling};
pub use five_fold::{Stored, store_five_fold};
pub use folder::Folder;
pub use learnt::Learnt;
pub use picture::Picture;
pub use simulated::{Kinds, Simulated, SimulatedSettings};
pub use source::{Set, Source};
pub use split::{Grouping, HeldBack, SplitPlan};
pub use squares::Squares;
