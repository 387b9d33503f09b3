//! Authorities that do what the test tells them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use landbridge::identity::{
    Answer, ConnectorName, CredentialSource, DomainName, EntityId, PlainPassword, Refusal, Timestamp, Unavailable,
    UnavailableCause, Verdict, Wire,
};
use landbridge::signin::authority::CredentialStoreDown;
use landbridge::signin::partner_outage::{Synthetic, SyntheticSignIn};
use landbridge::signin::{
    Admission, CredentialFacts, HashAnswer, HashCheck, LateVerdict, LiveAnswer, LiveCheck, LiveSubject, ServerProbe,
};
use landbridge::store::Database;
use sqlx::Row;
use tokio::sync::{Semaphore, oneshot};

/// When a scripted bind is given up.
pub const DEADLINE: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Up,
    /// Connections are refused at once.
    Down,
    /// Connections are accepted and nothing is answered.
    Frozen,
}

/// How a person's own bind goes while the directory is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    Answers,
    Says(Refusal),
    Hangs,
    /// The server hangs up when it sees the bind.
    HangsUp,
}

struct Person {
    password: String,
    bind: Bind,
    password_set: Option<Timestamp>,
}

/// A directory.
pub struct ScriptedDirectory {
    script: Mutex<Script>,
    pub checks: AtomicUsize,
    pub probes: AtomicUsize,
    /// When set, each bind waits for a permit.
    pub gate: Mutex<Option<Arc<Semaphore>>>,
}

struct Script {
    mood: Mood,
    people: HashMap<String, Person>,
    late: HashMap<String, oneshot::Sender<LateVerdict>>,
}

impl ScriptedDirectory {
    pub fn new() -> Self {
        let script = Script { mood: Mood::Up, people: HashMap::new(), late: HashMap::new() };
        Self {
            script: Mutex::new(script),
            checks: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            gate: Mutex::new(None),
        }
    }

    pub fn become_(&self, mood: Mood) {
        self.script().mood = mood;
    }

    pub fn person(&self, anchor: &str, password: &str) {
        let person = Person { password: password.to_owned(), bind: Bind::Answers, password_set: None };
        self.script().people.insert(anchor.to_owned(), person);
    }

    pub fn bind_of(&self, anchor: &str, bind: Bind) {
        self.script().people.get_mut(anchor).expect("a person of the script").bind = bind;
    }

    pub fn password_set(&self, anchor: &str, at: Timestamp) {
        self.script().people.get_mut(anchor).expect("a person of the script").password_set = Some(at);
    }

    /// Lets the bind that was given up for `anchor` come to its end.
    pub fn answer_late(&self, anchor: &str, verdict: Verdict) {
        let late = self.script().late.remove(anchor).expect("a bind that was given up");
        late.send(LateVerdict { verdict, server: "dir-1".to_owned() }).expect("somebody reads it to its end");
    }

    pub fn never_answer(&self, anchor: &str) {
        drop(self.script().late.remove(anchor).expect("a bind that was given up"));
    }

    pub fn checked(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panics while it holds the script")
    }

    fn unavailable(cause: UnavailableCause, wire: Wire, late: Option<oneshot::Receiver<LateVerdict>>) -> LiveAnswer {
        let server = Some("dir-1".to_owned());
        LiveAnswer {
            answer: Answer::Unavailable(Unavailable { cause, wire, server: server.clone() }),
            server,
            password_set: None,
            late,
        }
    }
}

#[async_trait::async_trait]
impl LiveCheck for ScriptedDirectory {
    async fn check(
        &self,
        _: &ConnectorName,
        _: &DomainName,
        subject: &LiveSubject,
        password: &PlainPassword,
    ) -> LiveAnswer {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().expect("the gate").clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        let anchor = match subject {
            LiveSubject::Known(source) => source.anchor.as_str().to_owned(),
            LiveSubject::Unknown => String::new(),
        };
        let (mood, bind, right, password_set) = {
            let script = self.script();
            let person = script.people.get(&anchor);
            (
                script.mood,
                person.map_or(Bind::Answers, |person| person.bind),
                person.is_some_and(|person| person.password == password.expose()),
                person.and_then(|person| person.password_set),
            )
        };
        let verdict = match (mood, bind) {
            (Mood::Down, _) => return Self::unavailable(UnavailableCause::Connect, Wire::NothingSent, None),
            (Mood::Frozen, _) | (Mood::Up, Bind::Hangs) => {
                let (sender, late) = oneshot::channel();
                self.script().late.insert(anchor, sender);
                tokio::time::sleep(DEADLINE).await;
                return Self::unavailable(UnavailableCause::Deadline, Wire::MaybeSent, Some(late));
            }
            (Mood::Up, Bind::HangsUp) => {
                return Self::unavailable(UnavailableCause::ConnectionLost, Wire::MaybeSent, None);
            }
            (Mood::Up, Bind::Says(refusal)) => Verdict::Refused(refusal),
            (Mood::Up, Bind::Answers) if right => Verdict::Verified,
            (Mood::Up, Bind::Answers) => Verdict::Refused(Refusal::WrongPassword),
        };
        LiveAnswer { answer: Answer::Verdict(verdict), server: Some("dir-1".to_owned()), password_set, late: None }
    }

    async fn probe(&self, _: &ConnectorName) -> Vec<ServerProbe> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        let mood = self.script().mood;
        if mood == Mood::Frozen {
            tokio::time::sleep(DEADLINE / 2).await;
        }
        let outcome = match mood {
            Mood::Up => Ok(Duration::from_millis(1)),
            Mood::Down => Err("connection refused".to_owned()),
            Mood::Frozen => Err("no answer".to_owned()),
        };
        vec![ServerProbe { server: "dir-1".to_owned(), outcome }]
    }

    fn deadline(&self, _: &ConnectorName) -> Duration {
        DEADLINE
    }
}

/// A federation partner that answers every synthetic sign-in as it is told.
pub struct ScriptedPartner(Mutex<Synthetic>);

impl Default for ScriptedPartner {
    fn default() -> Self {
        Self(Mutex::new(Synthetic::SignedIn))
    }
}

impl ScriptedPartner {
    pub fn answers(&self, synthetic: Synthetic) {
        *self.0.lock().expect("the partner") = synthetic;
    }
}

#[async_trait::async_trait]
impl SyntheticSignIn for ScriptedPartner {
    async fn sign_in(&self, _: &EntityId) -> Synthetic {
        self.0.lock().expect("the partner").clone()
    }

    fn has_account(&self, _: &EntityId) -> bool {
        true
    }
}

/// The stored hashes: rows of the real table, compared with passwords that the test gave.
pub struct ScriptedHashes {
    db: Database,
    passwords: Mutex<HashMap<String, String>>,
    pub checks: AtomicUsize,
    pub dummies: AtomicUsize,
    pub no_spare_permit: AtomicBool,
    pub unavailable: Mutex<Option<UnavailableCause>>,
}

impl ScriptedHashes {
    pub fn new(db: Database) -> Self {
        Self {
            db,
            passwords: Mutex::default(),
            checks: AtomicUsize::new(0),
            dummies: AtomicUsize::new(0),
            no_spare_permit: AtomicBool::new(false),
            unavailable: Mutex::default(),
        }
    }

    pub fn store(&self, anchor: &str, password: &str) {
        self.passwords.lock().expect("the hashes").insert(anchor.to_owned(), password.to_owned());
    }

    pub fn checked(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    fn matches(&self, source: &CredentialSource, password: &PlainPassword) -> Option<bool> {
        let passwords = self.passwords.lock().expect("the hashes");
        passwords.get(source.anchor.as_str()).map(|stored| stored == password.expose())
    }
}

#[async_trait::async_trait]
impl HashCheck for ScriptedHashes {
    async fn check(&self, source: Option<&CredentialSource>, password: &PlainPassword, _: Admission) -> HashAnswer {
        let Some(source) = source else {
            self.dummies.fetch_add(1, Ordering::SeqCst);
            // Nobody's chain waits for the same places as everybody's.
            let full =
                self.unavailable.lock().expect("the hashes").filter(|cause| *cause == UnavailableCause::Overloaded);
            let answer = match full {
                Some(cause) => Answer::Unavailable(Unavailable { cause, wire: Wire::NothingSent, server: None }),
                None => Answer::Verdict(Verdict::Refused(Refusal::UnknownUser)),
            };
            return HashAnswer { answer, credential_version: None };
        };
        self.checks.fetch_add(1, Ordering::SeqCst);
        if let Some(cause) = *self.unavailable.lock().expect("the hashes") {
            let answer = Answer::Unavailable(Unavailable { cause, wire: Wire::NothingSent, server: None });
            return HashAnswer { answer, credential_version: None };
        }
        let facts = self.facts(source).await.expect("the store is there");
        let verdict = match self.matches(source, password) {
            Some(true) => Verdict::Verified,
            Some(false) => Verdict::Refused(Refusal::WrongPassword),
            None => Verdict::Refused(Refusal::NoCredential),
        };
        HashAnswer { answer: Answer::Verdict(verdict), credential_version: facts.map(|facts| facts.version) }
    }

    async fn matches_spare(&self, source: &CredentialSource, password: &PlainPassword) -> Option<bool> {
        if self.no_spare_permit.load(Ordering::SeqCst) {
            return None;
        }
        self.matches(source, password)
    }

    async fn facts(&self, source: &CredentialSource) -> Result<Option<CredentialFacts>, CredentialStoreDown> {
        let row = sqlx::query(
            "SELECT version, stage, outdated_at, password_set, stored_at, confirmed_at, leaked_at FROM credential \
             WHERE connector = $1 AND anchor = $2",
        )
        .bind(source.connector.as_str().to_owned())
        .bind(source.anchor.as_str().to_owned())
        .fetch_optional(self.db.read())
        .await
        .map_err(|error| CredentialStoreDown(Box::new(error)))?;
        Ok(row.map(|row| CredentialFacts {
            version: row.get("version"),
            usable: matches!(row.get::<String, _>("stage").as_str(), "sealed" | "wrapped"),
            outdated: row.get::<Option<i64>, _>("outdated_at").is_some(),
            password_set: row.get::<Option<i64>, _>("password_set").map(Timestamp::from_millis),
            stored_at: Timestamp::from_millis(row.get("stored_at")),
            confirmed_at: Timestamp::from_millis(row.get("confirmed_at")),
            leaked: row.get::<Option<i64>, _>("leaked_at").is_some(),
        }))
    }
}
