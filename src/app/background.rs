//! Threads for work that nobody waits for: the sync engine and the password channel. The system gives them what the
//! threads of sign-in leave, so that a run never slows a sign-in (design section 1).

use tokio::runtime::{Builder, Handle, Runtime};

/// How far these threads stand back (nice(2)): a third of the share that a thread of sign-in has of a busy core. Further
/// back, a run would all but stop on a machine that has other work too.
const NICE: i32 = 5;

/// The threads. They are left to themselves when dropped: whoever needs their work done waits for it before.
pub struct Background {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    pub fn start() -> std::io::Result<Self> {
        let stand_back = || {
            // Of the calling thread alone, as Linux counts. Whoever may not is only slower under load.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "a background thread keeps its priority");
            }
        };
        let mut runtime = Builder::new_multi_thread();
        runtime.enable_all().thread_name("background").on_thread_start(stand_back);
        let runtime = runtime.build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it within a task would block the thread of that task.
            runtime.shutdown_background();
        }
    }
}
