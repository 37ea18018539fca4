//! Which pictures models have learnt from, as far as that is known.

use crate::commands::terminal::note;
use crate::nn::CheckpointMeta;
use crate::train::Learnt;
use std::path::Path;

/// What a model has learnt from; that it is not known is said.
pub(super) fn learnt_by(what: &str, model: &Path, meta: &CheckpointMeta) -> Option<Learnt> {
    let why = match Learnt::by(model, meta) {
        Ok(Some(learnt)) => return Some(learnt),
        Ok(None) => String::new(),
        Err(error) => format!(": {error}"),
    };
    note!("warning: which pictures {what} has learnt from is not known{why}");
    None
}
