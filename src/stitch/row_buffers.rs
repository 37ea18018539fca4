use crate::cell::TileRow;
use std::collections::VecDeque;
use std::sync::Arc;

/// Memory of rows that nobody holds any more, for the next ones: fresh memory costs a page fault for every two lines.
#[derive(Debug, Default)]
pub(super) struct RowBuffers(VecDeque<Arc<[u16]>>);

impl RowBuffers {
    /// Rows remembered; with more of them under way, the others get fresh memory.
    const MOST: usize = 8;

    /// Memory for one row, of any content.
    pub fn take(&mut self) -> Arc<[u16]> {
        let free = self.0.iter_mut().position(|buffer| Arc::get_mut(buffer).is_some());
        free.and_then(|at| self.0.remove(at)).unwrap_or_else(|| vec![0; TileRow::PIXELS].into())
    }

    /// Remembers a row that is on its way, for when it comes back.
    pub fn remember(&mut self, row: &Arc<[u16]>) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(row.clone());
    }
}
