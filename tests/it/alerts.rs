//! Alerts on their way to people.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landbridge::alerts::{Channel, Delivery, NotTaken, Notice, Outbox};
use landbridge::audit::{Actor, Event, EventKind, Outcome};
use landbridge::config::ChannelName;
use landbridge::identity::{Clock, SettableClock, Timestamp};
use landbridge::signin::store::{Alert, Alerts};
use landbridge::store::notices::NoticeTables;
use landbridge::store::signin::SignInTables;
use landbridge::store::{AuditLog, Database, DatabaseUrl, Room};
use tokio_util::sync::CancellationToken;

use crate::support::postgres::Postgres;
use crate::support::wait::wait_until_async;

mod channels;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const LONG: Duration = Duration::from_secs(60);

/// A channel that keeps what it takes, or takes nothing.
struct Kept {
    name: ChannelName,
    down: AtomicBool,
    tries: Mutex<u32>,
    notices: Mutex<Vec<Notice>>,
}

impl Kept {
    fn new(down: bool) -> Arc<Self> {
        Self::named("ops", down)
    }

    fn named(name: &str, down: bool) -> Arc<Self> {
        let name = name.parse().expect("a name");
        Arc::new(Self { name, down: down.into(), tries: Mutex::default(), notices: Mutex::default() })
    }

    fn told(&self) -> Vec<String> {
        let notices = self.notices.lock().expect("no panic before");
        notices.iter().map(|notice| format!("{} {} {}", notice.edge.code(), notice.alert, notice.subject)).collect()
    }

    fn tries(&self) -> u32 {
        *self.tries.lock().expect("no panic before")
    }
}

#[async_trait]
impl Channel for Kept {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    async fn send(&self, notice: &Notice) -> Result<(), NotTaken> {
        *self.tries.lock().expect("no panic before") += 1;
        if self.down.load(Ordering::Acquire) {
            return Err(NotTaken::Now("down".to_owned()));
        }
        self.notices.lock().expect("no panic before").push(notice.clone());
        Ok(())
    }
}

struct World {
    alerts: SignInTables,
    outbox: Arc<NoticeTables>,
    clock: Arc<SettableClock>,
    stop: CancellationToken,
}

impl World {
    async fn raise(&self, subject: &str) {
        let alert = Alert {
            name: "authority-down",
            subject: subject.to_owned(),
            detail: "no server answers".to_owned(),
            at: Clock::now(&*self.clock),
        };
        self.alerts.raise(alert, vec![event(EventKind::AlertRaised)]).await.expect("raised");
    }

    async fn clear(&self, subject: &str) {
        let (name, now) = ("authority-down", Clock::now(&*self.clock));
        self.alerts.clear(name, subject.to_owned(), now, vec![event(EventKind::AlertCleared)]).await.expect("cleared");
    }

    /// A node that delivers to `channel`.
    fn node(&self, channel: &Arc<Kept>) -> tokio::task::JoinHandle<()> {
        let channels: Vec<Arc<dyn Channel>> = vec![channel.clone()];
        let delivery = Delivery { outbox: self.outbox.clone(), channels, clock: self.clock.clone() };
        tokio::spawn(delivery.run(self.stop.clone()))
    }

    async fn progress(&self, channel: &Kept) -> landbridge::alerts::Progress {
        self.outbox.progress(channel.name()).await.expect("the store answers").expect("a channel")
    }

    async fn known(&self, channel: &Kept) {
        wait_until_async("the channel to be known", LONG, async || {
            self.outbox.progress(channel.name()).await.expect("the store answers")
        })
        .await;
    }
}

fn event(kind: EventKind) -> Event {
    Event::new(kind, Outcome::Success, Actor::System("test".to_owned()))
}

async fn on_every_store(test: impl AsyncFn(&World)) {
    let dir = tempfile::tempdir().expect("a folder");
    let postgres = tokio::task::spawn_blocking(|| Postgres::start().fresh_database()).await.expect("a server");
    let urls = [DatabaseUrl::Sqlite { directory: dir.path().to_owned() }, postgres.parse().expect("a database url")];
    for url in urls {
        let db = Database::open(&url, Room::Gateway).await.expect("the database opens");
        let clock = Arc::new(SettableClock::at(NOW));
        let audit = AuditLog::new(db.clone(), "node1".parse().expect("an id"), clock.clone());
        let (alerts, outbox) = (SignInTables::new(db.clone(), audit), Arc::new(NoticeTables::new(db.clone())));
        let world = World { alerts, outbox, clock, stop: CancellationToken::new() };
        test(&world).await;
        world.stop.cancel();
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_was_down_gets_everything_in_order_and_once() {
    on_every_store(async |world| {
        world.raise("before").await;
        let channel = Kept::new(true);
        let node = world.node(&channel);
        world.known(&channel).await;
        world.raise("corp").await;
        world.raise("corp").await;
        world.clear("corp").await;
        world.raise("labs").await;
        wait_until_async("a first try", LONG, async || {
            (world.progress(&channel).await.last_error.as_deref() == Some("down")).then_some(())
        })
        .await;
        let progress = world.progress(&channel).await;
        assert_eq!((progress.waiting, progress.tries, progress.delivered_at), (3, 1, None));
        // Nothing is tried before the pause is over, however often one looks.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(channel.tries(), 1);
        channel.down.store(false, Ordering::Release);
        world.clock.advance(Duration::from_secs(31));
        wait_until_async("all to be delivered", LONG, async || (channel.told().len() == 3).then_some(())).await;
        let told = ["raised authority-down corp", "cleared authority-down corp", "raised authority-down labs"];
        assert_eq!(channel.told(), told, "what was raised before the channel was there is not told");
        wait_until_async("this to be written", LONG, async || {
            (world.progress(&channel).await.waiting == 0).then_some(())
        })
        .await;
        let progress = world.progress(&channel).await;
        assert_eq!((progress.tries, progress.last_error, progress.given_up), (0, None, 0));
        world.stop.cancel();
        node.await.expect("no panic");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_tell_each_alert_once_and_one_that_died_loses_none() {
    on_every_store(async |world| {
        let channel = Kept::new(false);
        world.outbox.register(channel.name()).await.expect("registered");
        world.raise("died").await;
        // A node takes the notice, and dies before it is sent.
        let pause = |_| Duration::from_secs(30);
        let taken = world.outbox.claim(channel.name(), NOW, pause).await.expect("the store answers");
        assert_eq!(taken.map(|notice| notice.subject).as_deref(), Some("died"));
        assert_eq!(world.outbox.claim(channel.name(), NOW, pause).await.expect("the store answers"), None);
        world.clock.advance(Duration::from_secs(31));
        let nodes = [world.node(&channel), world.node(&channel)];
        for number in 0..20 {
            world.raise(&format!("c{number}")).await;
        }
        wait_until_async("all to be delivered", LONG, async || {
            (world.progress(&channel).await.waiting == 0).then_some(())
        })
        .await;
        let expected = std::iter::once("died".to_owned()).chain((0..20).map(|number| format!("c{number}")));
        let expected: Vec<String> = expected.map(|subject| format!("raised authority-down {subject}")).collect();
        assert_eq!(channel.told(), expected);
        world.stop.cancel();
        for node in nodes {
            node.await.expect("no panic");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_for_three_days_is_given_up_and_the_next_is_told() {
    on_every_store(async |world| {
        let channel = Kept::new(true);
        world.outbox.register(channel.name()).await.expect("registered");
        world.raise("old").await;
        world.clock.advance(Duration::from_secs(3 * 86_400 + 1));
        world.raise("new").await;
        let node = world.node(&channel);
        wait_until_async("the old one to be given up", LONG, async || {
            (world.progress(&channel).await.given_up == 1).then_some(())
        })
        .await;
        assert_eq!(channel.told(), [""; 0]);
        channel.down.store(false, Ordering::Release);
        world.clock.advance(Duration::from_secs(3600));
        wait_until_async("the new one", LONG, async || (!channel.told().is_empty()).then_some(())).await;
        assert_eq!(channel.told(), ["raised authority-down new"]);
        // Nor is it told by a channel that takes everything, but has been out of the settings.
        let away = Kept::named("away", false);
        world.outbox.register(away.name()).await.expect("registered");
        world.raise("while away").await;
        world.clock.advance(Duration::from_secs(20 * 86_400));
        world.raise("back").await;
        let returned = world.node(&away);
        wait_until_async("what is new", LONG, async || (!away.told().is_empty()).then_some(())).await;
        assert_eq!(away.told(), ["raised authority-down back"]);
        world.stop.cancel();
        node.await.expect("no panic");
        returned.await.expect("no panic");
    })
    .await;
}
