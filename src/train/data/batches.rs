use super::{Crop, CropPlan, Source};
use crate::train::TrainError;
use candle_core::{Device, Tensor};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Crops as the network takes them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// N × 1 × side × side, normalised.
    pub input: Tensor,
    /// The same shape, 1 on crack.
    pub label: Tensor,
    /// Where each crop was cut from, for messages.
    pub origins: Vec<String>,
}

type Drawn = Result<Vec<Crop>, TrainError>;

/// Batches prepared ahead of the trainer by worker threads.
///
/// Draw `d` is made by worker `d mod workers` and taken from its own queue in turn, so the crops and
/// their order depend on the seed alone, not on the number of workers or their speed. A worker with a full queue
/// waits. Dropping this ends and joins the workers.
pub struct Batches {
    plan: CropPlan,
    size: usize,
    seed: u64,
    next_draw: u64,
    /// Crops of the next draws that earlier batches have had.
    skip: usize,
    pool: Vec<Crop>,
    queues: Vec<Receiver<Drawn>>,
    workers: Vec<JoinHandle<()>>,
}

impl Batches {
    /// Draws whose crops are shuffled together, so that a batch shows several pictures.
    const MIXED_DRAWS: usize = 4;
    /// Draws that a worker's queue holds, at the least: beside the one in hand. Each takes
    /// [`CropPlan::PER_PICTURE`] × side² × 8 bytes: 3 MB of 224 px, 13 MB of 448 px.
    const QUEUE_DRAWS: usize = 2;

    /// Starts `workers` threads (at least one) that prepare batches of `size` crops, from batch number
    /// `first` (from 0) of the one series that the seed stands for.
    ///
    /// # Errors
    /// A plan that cannot be followed, a batch of 0, or no thread to be had.
    pub fn start(source: Arc<dyn Source>, plan: CropPlan, size: usize, seed: u64, workers: usize, first: u64) -> Result<Self, TrainError> {
        plan.check()?;
        if size == 0 {
            return Err(TrainError::Setting { name: "batch", problem: "0 crops are no batch; take 4".into() });
        }
        let mixed = (Self::MIXED_DRAWS * CropPlan::PER_PICTURE) as u64;
        let taken = first * size as u64;
        let next_draw = taken / mixed * Self::MIXED_DRAWS as u64;
        let skip = (taken % mixed) as usize;
        let mut batches =
            Self { plan: plan.clone(), size, seed, next_draw, skip, pool: Vec::new(), queues: Vec::new(), workers: Vec::new() };
        let workers = workers.max(1);
        // All queues together hold what the pool takes at once, so that taking it waits for nothing.
        let deep = Self::MIXED_DRAWS.div_ceil(workers).max(Self::QUEUE_DRAWS);
        for worker in 0..workers {
            let (sender, queue) = bounded(deep);
            let (source, plan) = (source.clone(), plan.clone());
            let crack_chance = plan.crack_chance(source.cracked_share());
            let own_first = (next_draw..).find(|draw| draw % workers as u64 == worker as u64).unwrap_or(next_draw);
            let work = move || {
                for draw in (own_first..).step_by(workers) {
                    let crops = source.training(draw).map(|picture| plan.cut(&picture, crack_chance, &mut rng(seed, draw)));
                    let failed = crops.is_err();
                    if sender.send(crops).is_err() || failed {
                        return;
                    }
                }
            };
            let name = format!("crops-{worker}");
            let thread = std::thread::Builder::new().name(name.clone()).spawn(work);
            batches.workers.push(thread.map_err(TrainError::file(name.as_ref(), "cannot start this thread"))?);
            batches.queues.push(queue);
        }
        Ok(batches)
    }

    /// The next batch, on `device`; waits until its crops are ready or `stop` is set.
    ///
    /// # Errors
    /// What the source or the device says; [`TrainError::Stopped`] once `stop` is set, after which the series has a gap.
    pub fn next(&mut self, device: &Device, stop: &AtomicBool) -> Result<Batch, TrainError> {
        while self.pool.len() < self.size {
            let first = self.next_draw;
            let mut fresh = Vec::with_capacity(Self::MIXED_DRAWS * CropPlan::PER_PICTURE);
            for _ in 0..Self::MIXED_DRAWS {
                let turn = (self.next_draw % self.queues.len() as u64) as usize;
                fresh.extend(self.drawn(turn, stop)?);
                self.next_draw += 1;
            }
            fresh.shuffle(&mut rng(!self.seed, first));
            self.pool.extend(fresh.drain(std::mem::take(&mut self.skip)..));
        }
        let (mut input, mut label, mut origins) = (Vec::new(), Vec::new(), Vec::new());
        for crop in self.pool.drain(..self.size) {
            input.extend(crop.input);
            label.extend(crop.label);
            origins.push(crop.origin);
        }
        let shape = (self.size, 1, self.plan.side_px, self.plan.side_px);
        Ok(Batch { input: Tensor::from_vec(input, shape, device)?, label: Tensor::from_vec(label, shape, device)?, origins })
    }

    /// The next draw of a worker. Pictures may be slow to come, on a disk elsewhere: whoever wishes to stop meanwhile is heard.
    fn drawn(&self, turn: usize, stop: &AtomicBool) -> Drawn {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        loop {
            match self.queues[turn].recv_timeout(LOOK_EVERY) {
                Ok(drawn) => return drawn,
                Err(RecvTimeoutError::Disconnected) => return Err(TrainError::Worker(format!("crops-{turn}"))),
                Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => return Err(TrainError::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.queues.clear();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so; there is nothing left to undo.
            let _ = worker.join();
        }
    }
}

fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Normalisation;
    use crate::train::fit::tests::Speckled;
    use crate::train::{Augmentation, Sampling};

    fn plan() -> CropPlan {
        CropPlan {
            side_px: 32,
            normalisation: Normalisation::Tile,
            augmentation: Augmentation::default(),
            sampling: Sampling::Balanced,
            corner_share: 0.0,
        }
    }

    fn seven_batches(seed: u64, workers: usize, first: u64) -> Vec<Vec<f32>> {
        let mut batches = Batches::start(Arc::new(Speckled::new(3)), plan(), 6, seed, workers, first).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (0..7)
            .map(|_| batches.next(&Device::Cpu, &AtomicBool::new(false)).unwrap())
            .map(|b| [flat(&b.input), flat(&b.label)].concat())
            .collect()
    }

    #[test]
    fn batches_depend_on_the_seed_and_not_on_the_workers() {
        let one = seven_batches(5, 1, 0);
        assert!(one == seven_batches(5, 3, 0), "three workers make the same batches as one");
        assert!(one != seven_batches(6, 1, 0), "another seed makes others");
        assert!(one[0] != one[1], "no batch is made twice");
    }

    #[test]
    fn the_series_can_be_entered_anywhere() {
        let whole = seven_batches(5, 2, 0);
        for first in [1, 5, 6] {
            let from = seven_batches(5, 3, first as u64);
            assert!(whole[first..] == from[..7 - first], "from batch {first}");
        }
    }

    #[test]
    fn about_half_of_the_crops_show_a_crack() {
        let mut batches = Batches::start(Arc::new(Speckled::new(3)), plan(), 64, 2, 2, 0).unwrap();
        let label = batches
            .next(&Device::Cpu, &AtomicBool::new(false))
            .unwrap()
            .label
            .flatten_from(1)
            .unwrap()
            .sum(1)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        let cracked = label.iter().filter(|px| **px > 0.0).count();
        assert!((20..=58).contains(&cracked), "{cracked} of 64");
    }

    /// Fails once the other end of the channel is gone.
    struct Failing(Receiver<()>);

    impl Failing {
        fn at_once() -> Self {
            Self(bounded(0).1)
        }
    }

    impl Source for Failing {
        fn training(&self, _: u64) -> Result<crate::train::Picture, TrainError> {
            let _ = self.0.recv();
            Err(TrainError::Data { path: "cell7.png".into(), problem: "gone".into() })
        }
        fn validation(&self, _: usize) -> Result<crate::train::Picture, TrainError> {
            self.training(0)
        }
        fn validation_count(&self) -> usize {
            1
        }
        fn cracked_share(&self) -> f64 {
            0.5
        }
        fn digest(&self) -> Result<String, TrainError> {
            Ok(String::new())
        }
        fn summary(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_told_to_the_trainer() {
        let mut batches = Batches::start(Arc::new(Failing::at_once()), plan(), 2, 1, 2, 0).unwrap();
        assert_eq!(batches.next(&Device::Cpu, &AtomicBool::new(false)).unwrap_err().to_string(), "cell7.png: gone");
    }

    #[test]
    fn whoever_waits_for_a_picture_can_be_stopped() {
        let (held, source) = bounded(0);
        let mut batches = Batches::start(Arc::new(Failing(source)), plan(), 2, 1, 2, 0).unwrap();
        let stopped = batches.next(&Device::Cpu, &AtomicBool::new(true));
        drop(held);
        assert!(matches!(stopped, Err(TrainError::Stopped)), "{stopped:?}");
    }
}
