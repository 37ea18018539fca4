//! The shapes of AMX's tiles.

use std::arch::asm;

/// Rows of a tile at most.
pub(super) const ROWS: usize = 16;
/// Bytes of a tile's row at most.
pub(super) const ROW_BYTES: usize = 64;
/// Bytes of a tile at most.
pub(super) const TILE_BYTES: usize = ROWS * ROW_BYTES;

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tiles' shapes on this thread, until dropped.
pub(super) struct Tiles;

impl Tiles {
    /// Gives each of the eight tiles its rows and the bytes of a row.
    ///
    /// # Safety
    /// AMX must be here.
    pub unsafe fn set_up(shapes: [(usize, usize); 8]) -> Self {
        let mut config = TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for (tile, (rows, row_bytes)) in shapes.into_iter().enumerate() {
            assert!(rows <= ROWS && row_bytes <= ROW_BYTES, "shape of a tile");
            config.rows[tile] = rows as u8;
            config.row_bytes[tile] = row_bytes as u16;
        }
        // SAFETY: AMX is here; the configuration is one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, preserves_flags)) };
        Self
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: `set_up` ran, so that AMX is here.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
