//! A bounded load: visitors that do one thing after the other, and what it cost the gateway.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use landbridge::identity::{Clock as _, SystemClock};

use tokio::task::JoinSet;

/// What a load took.
#[derive(Debug)]
pub struct Load {
    pub count: usize,
    pub wall: Duration,
    /// Processor time of the gateway's process, all threads.
    pub gateway: Duration,
    /// Sorted.
    pub latencies: Vec<Duration>,
}

impl Load {
    /// Done per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    /// Done per second of one core's time.
    pub fn rate_per_core(&self) -> f64 {
        self.count as f64 / self.gateway.as_secs_f64()
    }

    /// Milliseconds of processor time for each.
    pub fn gateway_ms(&self) -> f64 {
        self.gateway.as_secs_f64() * 1e3 / self.count as f64
    }

    /// The latency that `percent` of all stay below, in milliseconds.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Lets each visitor work through its jobs, all visitors at once, one job of a visitor at a time.
pub async fn closed<V, J, F>(
    gateway: u32,
    visitors: Vec<(V, Vec<J>)>,
    act: impl Fn(V, J) -> F + Clone + Send + 'static,
) -> Load
where
    V: Clone + Send + 'static,
    J: Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (before, started) = (cpu_time(gateway), Instant::now());
    let mut running = JoinSet::new();
    for (visitor, jobs) in visitors {
        let act = act.clone();
        running.spawn(async move {
            let mut latencies = Vec::with_capacity(jobs.len());
            for job in jobs {
                let begun = Instant::now();
                act(visitor.clone(), job).await;
                latencies.push(begun.elapsed());
            }
            latencies
        });
    }
    let mut latencies = running.join_all().await.concat();
    latencies.sort();
    Load { count: latencies.len(), wall: started.elapsed(), gateway: cpu_time(gateway) - before, latencies }
}

/// Splits jobs evenly among visitors.
pub fn deal<V, J>(visitors: Vec<V>, jobs: Vec<J>) -> Vec<(V, Vec<J>)> {
    let mut hands: Vec<(V, Vec<J>)> = visitors.into_iter().map(|visitor| (visitor, Vec::new())).collect();
    let count = hands.len();
    for (index, job) in jobs.into_iter().enumerate() {
        hands[index % count].1.push(job);
    }
    hands
}

/// User and system time of a process, from `/proc/PID/stat` (fields 14 and 15, in hundredths of a second on Linux).
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields = stat.rsplit(')').next().expect("a name in parentheses");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The processor time of a process from one moment to another, told afterwards: it is noted every few milliseconds.
pub struct CpuRecord {
    stop: Arc<AtomicBool>,
    notes: JoinHandle<Vec<(i64, Duration)>>,
}

impl CpuRecord {
    const EVERY: Duration = Duration::from_millis(20);

    pub fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let notes = std::thread::spawn(move || {
            let mut notes = Vec::new();
            loop {
                let last = stopped.load(Ordering::Relaxed);
                notes.push((SystemClock.now().millis(), cpu_time(pid)));
                if last {
                    return notes;
                }
                std::thread::sleep(Self::EVERY);
            }
        });
        Self { stop, notes }
    }

    /// Ends the record.
    pub fn stop(self) -> CpuNotes {
        self.stop.store(true, Ordering::Relaxed);
        CpuNotes(self.notes.join().expect("no panic"))
    }
}

/// Processor time so far, by the clock in milliseconds.
pub struct CpuNotes(Vec<(i64, Duration)>);

impl CpuNotes {
    /// Seconds of processor time between two moments.
    pub fn between(&self, from: f64, to: f64) -> f64 {
        let at = |moment: f64| {
            let note = self.0.iter().rev().find(|(noted, _)| *noted as f64 <= moment).or(self.0.first());
            note.map_or(0.0, |(_, time)| time.as_secs_f64())
        };
        at(to) - at(from)
    }
}

/// A figure of `/proc/PID/status` in MiB, such as `VmRSS` or `VmHWM`.
pub fn memory_mib(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("Linux tells it");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kib / 1024.0
}
