//! What each block of a network costs, to see where its time goes and how near that is to what the machine can do.

use std::time::Duration;

/// The blocks of a network, and what a core could do at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Roofline {
    /// In the order in which they run.
    pub blocks: Vec<BlockCost>,
    /// Tiles so far.
    pub tiles: u32,
    /// Threads that share the tiles.
    pub threads: usize,
    /// Multiply-adds a second of one core in the numbers that are multiplied, from registers alone; none where that is not known.
    pub peak_a_second: Option<f64>,
}

/// Two convolutions with the upsampling before, the pooling or the last layer after them; in networks other than U-Net also one
/// convolution, or what stands between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BlockCost {
    /// Where it stands and how large its maps are, such as `down 464²`.
    pub name: String,
    /// Multiply-adds a tile, as the network defines them.
    pub multiply_adds: u64,
    /// Multiply-adds a tile that are really done: fewer with Winograd's filtering. Zeros that fill vectors are not counted.
    pub done: u64,
    /// Bytes a tile of weights, and of maps that the block takes from or leaves in memory.
    pub bytes: u64,
    /// What all tiles so far have taken together, each its share of the time in which several are done at once.
    pub spent: Duration,
}
