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
    pub edges: &'a Edges,
    pub store: &'a LineStore,
    pub buffers: &'a mut RowBuffers,
}
