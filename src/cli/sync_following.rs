//! Shows a run while somebody waits for its end: one line that changes on a terminal, a line for each step in a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use super::{Client, ClientError, Output};
use crate::sync::scheduler::{Activity, Running};
use crate::web::admin::sync_progress::{self, SyncProgress};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for `answer`, showing what the scheduler does meanwhile.
pub(super) async fn following<T>(
    client: &Client,
    output: &Output,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    if output.is_json() {
        return answer.await;
    }
    tokio::pin!(answer);
    let mut shown = Shown { terminal: std::io::stderr().is_terminal(), ..Shown::default() };
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => {
                shown.clear();
                return answer;
            }
            _ = looks.tick() => {}
        }
        tokio::select! {
            biased;
            answer = &mut answer => {
                shown.clear();
                return answer;
            }
            // A look that fails shows nothing; the answer tells what is wrong.
            looked = client.call::<SyncProgress>(&sync_progress::Request {}) => {
                if let Ok(activity) = looked {
                    shown.show(&activity, output);
                }
            }
        }
    }
}

#[derive(Default)]
struct Shown {
    terminal: bool,
    line: String,
    /// Run and step of the last line in a pipe.
    step: Option<(i64, String)>,
    told_queued: bool,
}

impl Shown {
    fn show(&mut self, activity: &Activity, output: &Output) {
        if !activity.waiting.is_empty() && !self.told_queued {
            self.told_queued = true;
            self.clear();
            let behind = activity.running.as_ref().and_then(|running| running.progress.as_ref());
            output.note(&queued(behind.map(|progress| progress.run)));
        }
        let Some(running) = &activity.running else { return };
        if self.terminal {
            self.clear();
            self.line = show_running(running);
            eprint!("{}", self.line);
            // A terminal that is gone shows nothing.
            let _ = std::io::stderr().flush();
        } else if let Some(progress) = &running.progress {
            let step = Some((progress.run, format!("{} {}", progress.step, progress.connector)));
            if self.step != step {
                self.step = step;
                output.note(&show_running(running));
            }
        }
    }

    fn clear(&mut self) {
        if !self.line.is_empty() {
            eprint!("\r{}\r", " ".repeat(self.line.chars().count()));
            self.line.clear();
        }
    }
}

pub(super) fn queued(behind: Option<i64>) -> String {
    let behind = behind.map_or_else(|| "a run".to_owned(), |run| format!("run {run}"));
    format!("{behind} is under way; one more run is queued behind it")
}

pub(super) fn show_running(running: &Running) -> String {
    let mut text = match &running.progress {
        None => format!("the run by {} ({})", running.by, running.profile),
        Some(progress) => {
            let (of, done) = (&progress.connector, progress.done);
            let of = if of.is_empty() { String::new() } else { format!(" of {of}") };
            let done = if done == 0 { String::new() } else { format!(", {done} done") };
            format!("run {} ({}): {}{of}{done}", progress.run, running.profile, progress.step)
        }
    };
    if let Some(by) = &running.cancelled_by {
        text.push_str(&format!(", cancelled by {by}"));
    }
    text
}
