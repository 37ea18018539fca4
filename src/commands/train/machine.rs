//! Where a training runs, as arguments of the command line.

use crate::commands::arguments::threads;
use crate::commands::terminal::note;
use crate::config::DeviceChoice;
use crate::nn::cuda_device;
use anyhow::Context;
use candle_core::Device;

/// Where a training runs; changes how long it takes, on a CPU not what comes out.
#[derive(Debug, Clone, Copy, PartialEq, clap::Args)]
pub struct MachineOptions {
    /// Where to train: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Machine")]
    pub(super) device: DeviceChoice,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads, help_heading = "Machine")]
    pub(super) threads: usize,
    /// Threads that prepare crops ahead of the training
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Machine")]
    pub(super) workers: usize,
}

impl MachineOptions {
    /// Sets the number of threads that the whole process reckons with.
    pub(super) fn apply(&self) -> anyhow::Result<()> {
        if self.threads > 0 {
            rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global().context("--threads")?;
        }
        Ok(())
    }

    /// Where tensors live.
    pub(super) fn tensor_device(&self) -> anyhow::Result<Device> {
        match self.device {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto if !cfg!(feature = "cuda") => Ok(Device::Cpu),
            DeviceChoice::Auto => Ok(cuda_device(0).unwrap_or_else(|error| {
                note!("no CUDA device, the CPU does it: {error}");
                Device::Cpu
            })),
            DeviceChoice::Cuda(index) => cuda_device(index)
                .with_context(|| format!("--device cuda:{index}: not available; take cpu, or a build with `--features cudnn`")),
        }
    }

    /// The arguments that say the same.
    pub(super) fn arguments(&self) -> Vec<String> {
        [
            "--device".to_owned(),
            self.device.to_string(),
            "--threads".into(),
            self.threads.to_string(),
            "--workers".into(),
            self.workers.to_string(),
        ]
        .into()
    }
}
