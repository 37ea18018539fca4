//! Which pictures models have learnt from, as far as that is known.

use crate::commands::terminal::note;
use crate::nn::CheckpointMeta;
use crate::train::Learnt;
use std::path::Path;

/// What a model has learnt from; that it is not known, or not all of it, is said.
pub(super) fn learnt_by(what: &str, model: &Path, meta: &CheckpointMeta) -> Learnt {
    let (learnt, why) = match Learnt::by(model, meta) {
        Ok(Some(learnt)) if learnt.is_all() => return learnt,
        Ok(Some(learnt)) => (learnt, ": a network that it began with does not tell".to_owned()),
        Ok(None) => (Learnt::unknown(), String::new()),
        Err(error) => (Learnt::unknown(), format!(": {error}")),
    };
    note!("warning: which pictures {what} has learnt from is not known{why}");
    learnt
}
