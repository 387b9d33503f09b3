//! A bounded load: visitors that do one thing after the other, and what it cost the gateway.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use landbridge::identity::{Clock as _, SystemClock};

use tokio::task::JoinSet;

use crate::support::gateway::Gateway;

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
    cpu_time_if_alive(pid).expect("the process runs")
}

/// The same of a process that may have ended.
pub fn cpu_time_if_alive(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit(')').next()?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
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

/// Seconds that callers have waited at a door of the gateway's store, from its metrics.
pub fn store_seconds(gateway: &Gateway, door: &str) -> f64 {
    let settings = std::fs::read_to_string(gateway.settings_file()).expect("settings");
    let address = settings.lines().find_map(|line| line.strip_prefix("metrics_listen = ")).expect("metrics");
    let mut connection = TcpStream::connect(address.trim_matches('"')).expect("the gateway's metrics");
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    let name = format!("landbridge_store_microseconds_total{{door=\"{door}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(name.as_str()));
    value.map_or(0.0, |value| value.parse::<f64>().expect("a number") / 1e6)
}

/// A figure of `/proc/PID/status` in MiB, such as `VmRSS` or `VmHWM`.
pub fn memory_mib(pid: u32, name: &str) -> f64 {
    memory_mib_if_alive(pid, name).expect("the process runs")
}

/// The same of a process that may have ended.
pub fn memory_mib_if_alive(pid: u32, name: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
