use crate::config::Threads;
use crate::nn::NnError;

/// The network's own threads: the data's threads never wait for them, nor they for those.
pub(super) fn pool(threads: &Threads) -> Result<rayon::ThreadPool, NnError> {
    let count = if threads.count == 0 { threads.cpus.len() } else { threads.count };
    let cpus = threads.cpus.clone();
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|i| format!("network-{i}"))
        .start_handler(move |i| {
            if let Some(cpu) = cpus.get(i % cpus.len().max(1)) {
                keep_on(*cpu);
            }
        })
        .build()
        .map_err(|error| NnError::Threads(error.to_string()))
}

/// Keeps this thread on a CPU; where the system refuses, it says so and goes on.
#[cfg(target_os = "linux")]
fn keep_on(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(cpu, %error, "network: a thread cannot be kept on this CPU; `network.cpus` must name CPUs of `lscpu --extended` that this service may use");
    }
}

#[cfg(not(target_os = "linux"))]
fn keep_on(cpu: usize) {
    tracing::warn!(cpu, "network: threads are kept on CPUs under Linux only");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn threads_are_kept_on_their_cpus() {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let cpu = (0..1024).find(|cpu| allowed.is_set(*cpu)).unwrap();
        let pool = pool(&Threads { count: 0, cpus: vec![cpu] }).unwrap();
        assert_eq!(pool.current_num_threads(), 1);
        let found = pool.install(|| rustix::thread::sched_getaffinity(None).unwrap());
        assert!(found.is_set(cpu) && found.count() == 1);
        assert_eq!(super::pool(&3.into()).unwrap().current_num_threads(), 3);
    }
}
