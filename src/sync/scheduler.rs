//! The scheduler: a cycle every so often and runs on request, one after the other.
//!
//! One task owns what is running and what waits; everybody else speaks to it through a [`SchedulerHandle`]. A request during
//! a run waits for the end of it; several for the same profile are one run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::lease::{Cancellation, LeaseError};
use super::maintenance::{HeldBack, OpenWindow, Suspension, Suspensions, open_windows};
use super::profile::RunProfile;
use super::run::{Progress, RunError, RunOutcome, RunRecord, RunRequest, Runner, SCHEDULE, StepRecord};
use crate::identity::{Timestamp, causes};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// From the end of one cycle to the start of the next.
    pub interval: Duration,
    /// Off: runs happen on request alone.
    pub enabled: bool,
    /// What a scheduled cycle is.
    pub profile: RunProfile,
}

/// Messages that wait for the task: more than a few administrators never ask at once.
const INBOX: usize = 64;

/// A run that somebody asks for.
#[derive(Clone, Debug)]
pub struct Order {
    pub profile: RunProfile,
    pub by: String,
    /// Although the engine is suspended or a maintenance window is open.
    pub anyway: bool,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    /// The run begins.
    Begun,
    /// It begins when the runs before it have ended; the number of the one under way.
    Queued { behind: Option<i64> },
}

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("synchronisation is suspended since {} by {}; `sync resume` ends that, `--anyway` runs once", .0.since, .0.by)]
    Suspended(Suspension),
    #[error("maintenance window {} holds runs back until {}; `--anyway` runs once", .0.name, .0.until)]
    Window(OpenWindow),
    #[error("the gateway is stopping")]
    Stopping,
    #[error("the run could not be carried out: {0}")]
    Panicked(String),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The end of a run, told to everybody who waited for it.
pub type Ended = Result<(RunRecord, Vec<StepRecord>), Arc<Refusal>>;

/// What the scheduler does, for status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub running: Option<Running>,
    /// Profiles of the runs that wait, in their order.
    pub waiting: Vec<String>,
    /// When the next cycle begins by itself; absent while one is under way, and when none does.
    pub next: Option<Timestamp>,
    pub last: LastCycle,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub profile: String,
    pub by: String,
    pub since: Timestamp,
    /// Who asked for its end.
    pub cancelled_by: Option<String>,
    pub progress: Option<Progress>,
}

/// How the last cycle of this node that was due by itself ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastCycle {
    #[default]
    NotRunYet,
    Ended(RunOutcome),
    /// Another node runs the engine.
    Elsewhere,
    Suspended,
    InWindow(String),
    Failed(String),
}

enum Message {
    Order { order: Order, admitted: oneshot::Sender<Result<Admission, Refusal>>, ended: oneshot::Sender<Ended> },
    Cancel { by: String, told: oneshot::Sender<Option<Running>> },
}

/// Speaks to the scheduler.
#[derive(Clone)]
pub struct SchedulerHandle {
    inbox: mpsc::Sender<Message>,
    activity: watch::Receiver<Activity>,
}

impl SchedulerHandle {
    /// Orders a run. The receiver tells its end; dropping it changes nothing.
    pub async fn order(&self, order: Order) -> Result<(Admission, oneshot::Receiver<Ended>), Refusal> {
        let (admitted, admission) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        self.inbox.send(Message::Order { order, admitted, ended }).await.map_err(|_| Refusal::Stopping)?;
        Ok((admission.await.map_err(|_| Refusal::Stopping)??, end))
    }

    /// Asks the run under way to end between two of its batches; what waits behind it is begun. `None`: none is under way.
    pub async fn cancel(&self, by: &str) -> Result<Option<Running>, Refusal> {
        let (told, running) = oneshot::channel();
        self.inbox.send(Message::Cancel { by: by.to_owned(), told }).await.map_err(|_| Refusal::Stopping)?;
        running.await.map_err(|_| Refusal::Stopping)
    }

    pub fn activity(&self) -> Activity {
        self.activity.borrow().clone()
    }
}

/// An order that waits, with those who wait for it.
struct Waiting {
    order: Order,
    ended: Vec<oneshot::Sender<Ended>>,
}

pub struct Scheduler {
    runner: Arc<Runner>,
    suspensions: Arc<dyn Suspensions>,
    settings: SchedulerSettings,
    inbox: mpsc::Receiver<Message>,
    activity: watch::Sender<Activity>,
    waiting: VecDeque<Waiting>,
}

impl Scheduler {
    pub fn new(
        runner: Arc<Runner>,
        suspensions: Arc<dyn Suspensions>,
        settings: SchedulerSettings,
    ) -> (Self, SchedulerHandle) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let activity = watch::Sender::new(Activity::default());
        let handle = SchedulerHandle { inbox: sender, activity: activity.subscribe() };
        (Self { runner, suspensions, settings, inbox, activity, waiting: VecDeque::new() }, handle)
    }

    /// Runs until `stop` turns true. A run under way is then cancelled and waited for: dropping it would leave exports in
    /// doubt.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut due = Instant::now() + self.settings.interval;
        self.tell_next();
        while !*stop.borrow() {
            tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message, None).await,
                    None => return,
                },
                () = tokio::time::sleep_until(due), if self.settings.enabled => self.cycle_is_due().await,
            }
            while let Some(next) = self.waiting.pop_front() {
                if *stop.borrow() {
                    break;
                }
                self.carry_out(next, &mut stop).await;
                due = Instant::now() + self.settings.interval;
            }
            if due <= Instant::now() {
                due = Instant::now() + self.settings.interval;
            }
            self.tell_next();
        }
    }

    fn tell_next(&self) {
        let next = self.settings.enabled.then(|| self.runner.clock.now() + self.settings.interval);
        self.activity.send_modify(|activity| activity.next = next);
    }

    fn tell_waiting(&self) {
        let waiting = self.waiting.iter().map(|waiting| waiting.order.profile.name().to_owned()).collect();
        self.activity.send_modify(|activity| activity.waiting = waiting);
    }

    /// A cycle by itself, unless something holds it back.
    async fn cycle_is_due(&mut self) {
        let order = Order { profile: self.settings.profile.clone(), by: SCHEDULE.to_owned(), anyway: false };
        let last = match self.held_back(&order).await {
            Ok(()) => {
                self.waiting.push_back(Waiting { order, ended: Vec::new() });
                return;
            }
            Err(Refusal::Suspended(_)) => LastCycle::Suspended,
            Err(Refusal::Window(window)) => LastCycle::InWindow(window.name),
            Err(refusal) => {
                let text = causes(&refusal);
                tracing::warn!(error = text, "a scheduled sync cycle could not begin");
                LastCycle::Failed(text)
            }
        };
        self.activity.send_modify(|activity| activity.last = last);
    }

    async fn held_back(&self, order: &Order) -> Result<(), Refusal> {
        if order.anyway {
            return Ok(());
        }
        let now = self.runner.clock.now();
        if let Some(suspension) = self.suspensions.suspension().await.map_err(RunError::Store)?
            && suspension.in_force(now)
        {
            return Err(Refusal::Suspended(suspension));
        }
        match open_windows(&self.runner.windows, now).into_iter().find(|window| window.holds == HeldBack::Cycles) {
            Some(window) => Err(Refusal::Window(window)),
            None => Ok(()),
        }
    }

    /// Takes a message, during the run of `current` or between runs.
    async fn take(&mut self, message: Message, current: Option<&Cancellation>) {
        match message {
            Message::Order { order, admitted, ended } => {
                let admission = match self.held_back(&order).await {
                    Err(refusal) => Err(refusal),
                    Ok(()) => {
                        let begins = current.is_none() && self.waiting.is_empty();
                        self.enqueue(order, ended);
                        let activity = self.activity.borrow();
                        let progress = activity.running.as_ref().and_then(|running| running.progress.as_ref());
                        let behind = progress.map(|progress| progress.run);
                        Ok(if begins { Admission::Begun } else { Admission::Queued { behind } })
                    }
                };
                self.tell_waiting();
                // Whoever asked and has gone needs no answer.
                let _ = admitted.send(admission);
            }
            Message::Cancel { by, told } => {
                if let Some(cancellation) = current {
                    cancellation.ask(&by);
                    let by = cancellation.asked_by().map(str::to_owned);
                    self.activity.send_modify(|activity| {
                        if let Some(running) = &mut activity.running {
                            running.cancelled_by = by;
                        }
                    });
                }
                let running = self.activity.borrow().running.clone();
                let _ = told.send(running);
            }
        }
    }

    /// An order for what waits already is the same order.
    fn enqueue(&mut self, order: Order, ended: oneshot::Sender<Ended>) {
        let same = |waiting: &&mut Waiting| {
            waiting.order.profile.name() == order.profile.name() && waiting.order.anyway == order.anyway
        };
        match self.waiting.iter_mut().find(same) {
            Some(waiting) => waiting.ended.push(ended),
            None => self.waiting.push_back(Waiting { order, ended: vec![ended] }),
        }
    }

    async fn carry_out(&mut self, next: Waiting, stop: &mut watch::Receiver<bool>) {
        let Waiting { order, ended } = next;
        let scheduled = order.by == SCHEDULE;
        let cancellation = Cancellation::default();
        let running = Running {
            profile: order.profile.name().to_owned(),
            by: order.by.clone(),
            since: self.runner.clock.now(),
            cancelled_by: None,
            progress: None,
        };
        self.activity.send_modify(|activity| {
            activity.running = Some(running);
            activity.next = None;
        });
        self.tell_waiting();
        let told = self.activity.clone();
        let progress = move |progress: Progress| {
            told.send_modify(|activity| {
                if let Some(running) = &mut activity.running {
                    running.progress = Some(progress);
                }
            });
        };
        let request = RunRequest {
            profile: order.profile,
            by: order.by,
            anyway: order.anyway,
            cancellation: cancellation.clone(),
            progress: Arc::new(progress),
        };
        let runner = self.runner.clone();
        let mut run = tokio::spawn(async move { runner.carry_out(request).await });
        let mut stopping = *stop.borrow();
        let end = loop {
            tokio::select! {
                end = &mut run => break end,
                Some(message) = self.inbox.recv() => self.take(message, Some(&cancellation)).await,
                changed = stop.changed(), if !stopping => stopping = changed.is_err() || *stop.borrow(),
            }
            if stopping {
                cancellation.ask("the stop of the gateway");
            }
        };
        let end: Ended = match end {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(error)) => Err(Arc::new(Refusal::Run(error))),
            Err(error) => Err(Arc::new(Refusal::Panicked(error.to_string()))),
        };
        let last = scheduled.then(|| last_cycle(&end)).flatten();
        self.activity.send_modify(|activity| {
            activity.running = None;
            if let Some(last) = last {
                activity.last = last;
            }
        });
        for waits in ended {
            // Whoever asked and has gone needs no answer.
            let _ = waits.send(end.clone());
        }
    }
}

fn last_cycle(end: &Ended) -> Option<LastCycle> {
    match end {
        Ok((run, _)) => Some(LastCycle::Ended(run.outcome)),
        Err(refusal) => match &**refusal {
            // A preview is being made; the next tick comes.
            Refusal::Run(RunError::Busy) => None,
            Refusal::Run(RunError::Lease(LeaseError::NotHeld)) => Some(LastCycle::Elsewhere),
            refusal => {
                let text = causes(refusal);
                tracing::warn!(error = text, "a scheduled sync cycle failed");
                Some(LastCycle::Failed(text))
            }
        },
    }
}
