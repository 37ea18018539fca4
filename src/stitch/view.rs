use super::edges::Edges;
use super::levels::Levels;
use super::line_store::LineStore;
use super::row_buffers::RowBuffers;
use super::shape::Shape;

/// What a cell is seen through.
pub(super) struct View<'a> {
    pub shape: &'a Shape,
    pub levels: &'a Levels,
    pub edge_lines: u32,
    /// From one grey level of the camera to the next, where 65535 is white.
    pub grey_step: f64,
    pub edges: &'a Edges,
    pub store: &'a LineStore,
    pub buffers: &'a mut RowBuffers,
}
