//! The agent's side of exchanges: work for the gateway's sync engine, beside the checks and behind them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agent_proto::parts::{Cutter, Joiner, LARGEST_WORD, Part, WINDOW};
use agent_proto::{AgentId, DeclineReason, RequestId, ToGateway};
use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::Carried;

/// Pieces of work that one node of the gateway may have here at once.
const MOST: usize = 16;
/// A gateway that takes nothing, or asks nothing, for so long has forgotten the exchange. It commits a page in between.
const STALLED: Duration = Duration::from_secs(600);
/// Questions that wait: the next one is asked once the last is answered.
const QUESTIONS: usize = 2;

/// Who does the work.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// What the gateway may ask for.
    fn carries(&self) -> &BTreeSet<Carried>;

    /// Does a piece of work. Dropped when the gateway gives it up or its connection ends.
    async fn serve(&self, exchange: Exchange);
}

/// A conversation with the gateway.
pub struct Exchange {
    pub request: RequestId,
    /// Who this agent is.
    pub agent: AgentId,
    asked: mpsc::Receiver<Vec<u8>>,
    cutter: Cutter,
    /// Parts that the gateway has room for.
    granted: Arc<Semaphore>,
    in_turn: mpsc::Sender<ToGateway>,
}

/// The gateway does not listen any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway does not listen any more")]
pub struct GivenUp;

impl Exchange {
    /// The next question; `None` when there will be none.
    pub async fn asked(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(STALLED, self.asked.recv()).await.ok()?
    }

    /// Tells something, as fast as the gateway takes it. What is too long to be told is told by `instead`.
    pub async fn tell(&mut self, word: &[u8], instead: impl FnOnce() -> Vec<u8>) -> Result<(), GivenUp> {
        if word.len() > LARGEST_WORD {
            let short = instead();
            return self.tell_cut(&short).await;
        }
        self.tell_cut(word).await
    }

    async fn tell_cut(&mut self, word: &[u8]) -> Result<(), GivenUp> {
        for part in self.cutter.cut(word).ok_or(GivenUp)? {
            let permit = tokio::time::timeout(STALLED, self.granted.acquire()).await;
            permit.map_err(|_| GivenUp)?.map_err(|_| GivenUp)?.forget();
            self.in_turn.send(ToGateway::Tell(part)).await.map_err(|_| GivenUp)?;
        }
        Ok(())
    }
}

/// The exchanges of one connection. Dropping it ends them.
pub struct Exchanges {
    agent: AgentId,
    carrier: Option<Arc<dyn Carrier>>,
    in_turn: mpsc::Sender<ToGateway>,
    open: HashMap<RequestId, Open>,
}

struct Open {
    joiner: Joiner,
    questions: mpsc::Sender<Vec<u8>>,
    granted: Arc<Semaphore>,
    done: CancellationToken,
    _end: DropGuard,
}

impl Exchanges {
    pub fn new(agent: AgentId, carrier: Option<Arc<dyn Carrier>>, in_turn: mpsc::Sender<ToGateway>) -> Self {
        Self { agent, carrier, in_turn, open: HashMap::new() }
    }

    /// Takes a part of a question in; the first one begins the work.
    pub fn ask(&mut self, part: Part, draining: bool, tasks: &TaskTracker) -> Result<(), DeclineReason> {
        let request = part.request;
        self.open.retain(|_, open| !open.done.is_cancelled());
        if !self.open.contains_key(&request) {
            // The rest of what was given up begins nothing.
            if part.sequence != 0 {
                return Ok(());
            }
            let carrier = self.carrier.as_ref().filter(|_| !draining).ok_or(DeclineReason::Draining)?;
            if self.open.len() >= MOST {
                return Err(DeclineReason::Full);
            }
            let open = self.begin(request, Arc::clone(carrier), tasks);
            self.open.insert(request, open);
        }
        let Some(open) = self.open.get_mut(&request) else { return Ok(()) };
        let said = match open.joiner.take(part) {
            Ok(None) => Ok(()),
            // What is said again and again may be waited for already, or come when the work is done.
            Ok(Some(question)) => {
                let _ = open.questions.try_send(question);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = said {
            tracing::error!(error, "the gateway does not keep to the protocol; what it asked for is given up");
            self.open.remove(&request);
            return Err(DeclineReason::Full);
        }
        Ok(())
    }

    fn begin(&self, request: RequestId, carrier: Arc<dyn Carrier>, tasks: &TaskTracker) -> Open {
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let granted = Arc::new(Semaphore::new(WINDOW as usize));
        let exchange = Exchange {
            request,
            agent: self.agent,
            asked,
            cutter: Cutter::new(request),
            granted: Arc::clone(&granted),
            in_turn: self.in_turn.clone(),
        };
        let (end, done) = (CancellationToken::new(), CancellationToken::new());
        tasks.spawn({
            let (end, done) = (end.clone(), done.clone().drop_guard());
            async move {
                let _done = done;
                tokio::select! {
                    () = end.cancelled() => {}
                    () = carrier.serve(exchange) => {}
                }
            }
        });
        Open { joiner: Joiner::default(), questions, granted, done, _end: end.drop_guard() }
    }

    pub fn grant(&self, request: RequestId, parts: u32) {
        if let Some(open) = self.open.get(&request) {
            // Never more than a window, whatever a gateway says.
            let room = (WINDOW as usize).saturating_sub(open.granted.available_permits());
            open.granted.add_permits(room.min(parts as usize));
        }
    }

    pub fn abandon(&mut self, request: RequestId) {
        self.open.remove(&request);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    const REQUEST: RequestId = RequestId::new([3; 16]);

    /// Hears nothing until it may, then tells what it was asked first.
    struct Slow(Arc<Notify>);

    #[async_trait]
    impl Carrier for Slow {
        fn carries(&self) -> &BTreeSet<Carried> {
            unimplemented!("nobody asks here")
        }

        async fn serve(&self, mut exchange: Exchange) {
            self.0.notified().await;
            let question = exchange.asked().await.expect("the first question");
            exchange.tell(&question, Vec::new).await.expect("somebody listens");
        }
    }

    #[tokio::test]
    async fn a_burst_of_questions_ends_no_work_and_declines_nothing() {
        let (go, (in_turn, mut told)) = (Arc::new(Notify::new()), mpsc::channel(8));
        let mut exchanges = Exchanges::new(AgentId::new([1; 16]), Some(Arc::new(Slow(go.clone()))), in_turn);
        let (mut cutter, tasks) = (Cutter::new(REQUEST), TaskTracker::new());
        let batch = vec![7; 3 * agent_proto::parts::LARGEST_PART];
        for part in cutter.cut(&batch).expect("fits").collect::<Vec<_>>() {
            assert_eq!(exchanges.ask(part, false, &tasks), Ok(()));
        }
        for _ in 0..100 {
            for part in cutter.cut(b"go on").expect("fits").collect::<Vec<_>>() {
                assert_eq!(exchanges.ask(part, false, &tasks), Ok(()), "it is written already");
            }
            tokio::task::yield_now().await;
        }
        go.notify_one();
        let mut joiner = Joiner::default();
        let word = loop {
            let Some(ToGateway::Tell(part)) = told.recv().await else { panic!("the work was given up") };
            if let Some(word) = joiner.take(part).expect("in order") {
                break word;
            }
        };
        assert_eq!(word, batch);
        // The work is done, and one more question meets nobody.
        tasks.close();
        tasks.wait().await;
        for part in cutter.cut(b"go on").expect("fits").collect::<Vec<_>>() {
            assert_eq!(exchanges.ask(part, false, &tasks), Ok(()));
        }
    }
}
