//! The belt encoder's count on its way through a pipeline: as metadata of the buffer whose last line it is of.

use gstreamer as gst;
use std::sync::Once;

const META: &str = "HairlineEncoder";
const FIELD: &str = "count";

fn registered() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| gst::meta::CustomMeta::register(META, &[]));
}

/// Attaches a count to a buffer.
pub(super) fn attach(buffer: &mut gst::BufferRef, count: i64) {
    registered();
    match gst::meta::CustomMeta::add(buffer, META) {
        Ok(mut meta) => meta.mut_structure().set(FIELD, count),
        Err(error) => tracing::warn!("a frame lost its encoder count: {error}"),
    }
}

/// The count attached to a buffer, if any.
pub(super) fn of(buffer: &gst::BufferRef) -> Option<i64> {
    registered();
    gst::meta::CustomMeta::from_buffer(buffer, META).ok()?.structure().get(FIELD).ok()
}
