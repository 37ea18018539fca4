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

/// Keeps this thread, and those that it starts from now on, off the CPUs that the network's threads are kept on. Where that would leave it
/// none, it stays where it is.
#[cfg(target_os = "linux")]
pub fn keep_off(threads: &Threads) {
    if threads.cpus.is_empty() {
        return;
    }
    let Ok(mut others) = rustix::thread::sched_getaffinity(None) else { return };
    threads.cpus.iter().for_each(|cpu| others.unset(*cpu));
    if others.count() == 0 {
        tracing::warn!(
            "`network.cpus` names every CPU that this service may use: its other threads stay on them, too; leave one out for those that take frames"
        );
        return;
    }
    if let Err(error) = rustix::thread::sched_setaffinity(None, &others) {
        tracing::warn!(%error, "threads beside the network's cannot be kept off the CPUs of `network.cpus`");
    }
}

#[cfg(not(target_os = "linux"))]
pub fn keep_off(_: &Threads) {}

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
    fn other_threads_are_kept_off_the_networks_cpus() {
        let threads = |cpus| Threads { count: 0, cpus };
        // In threads of their own: whoever is kept off stays off.
        let left = |cpus: Vec<usize>| {
            let started = || {
                keep_off(&threads(cpus.clone()));
                std::thread::spawn(|| rustix::thread::sched_getaffinity(None).unwrap()).join().unwrap()
            };
            std::thread::scope(|scope| scope.spawn(started).join().unwrap())
        };
        let all = rustix::thread::sched_getaffinity(None).unwrap();
        let here: Vec<usize> = (0..1024).filter(|cpu| all.is_set(*cpu)).collect();
        assert!(left(vec![]) == all && left(here.clone()) == all);
        let [first, rest @ ..] = &here[..] else { panic!("a machine without a CPU") };
        if rest.is_empty() {
            return crate::skipped!("this machine has one CPU");
        }
        let others = left(vec![*first]);
        assert!(!others.is_set(*first) && rest.iter().all(|cpu| others.is_set(*cpu)));
    }

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
