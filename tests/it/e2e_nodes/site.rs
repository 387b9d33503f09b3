//! Two nodes, a balancer before them, and people of slapd: one domain signs in at the directory, the other by hashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::balancer::{self, Balancer};
use crate::support::directory::{ALPHA, BETA, People, Person};
use crate::support::gateway::{Builder, Gateway};
use crate::support::ports::free_port;
use crate::support::slapd::{self, Slapd};
use crate::support::visitor::{Outcome, Signed, Tokens, Visitor};

const HOST: &str = "localhost";
/// How long a stopping node answers on: longer than the balancer takes to notice, on a busy machine too.
const DRAIN: &str = "drain = \"1500ms\"";
/// Networks of clients behind the balancer.
pub const NETWORKS: u8 = 3;
const PEOPLE: usize = 40;

pub struct Site {
    pub slapd: Slapd,
    pub nodes: [Gateway; 2],
    pub balancer: Balancer,
    pub people: Vec<Person>,
    /// Opens a connection for each request, so that each goes to the other node.
    pub visitor: Visitor,
}

/// What differs between sites.
pub struct Plan<'a> {
    pub store: &'a str,
    /// Sections of the settings.
    pub sections: &'a str,
    /// Lines of `[sync]`.
    pub sync: &'a str,
    /// Failures after which the directory locks an account; 0: never.
    pub directory_locks_after: u32,
}

impl Plan<'_> {
    pub fn open(self) -> Site {
        let mut directory = People { people: PEOPLE, groups: 4, ..People::default() }.generate();
        for (index, person) in directory.people.iter_mut().enumerate() {
            person.upn = format!("{}@{}", person.uid, if index.is_multiple_of(2) { ALPHA } else { BETA });
        }
        let slapd = Slapd::builder().directory(&directory).lockout_after(self.directory_locks_after).start();
        let policy = format!("password_policy = \"cn=default,ou=policies,{}\"", slapd::SUFFIX);
        let builder = Gateway::builder().store(self.store).sync_line(self.sync).section(self.sections).slapd(
            "corp",
            &slapd,
            &[ALPHA, BETA],
            &policy,
        );
        let Nodes { nodes, balancer, visitor } = Nodes::start(builder, &[(ALPHA, "pta"), (BETA, "phs")]);
        Site { slapd, nodes, balancer, people: directory.people, visitor }
    }
}

/// Two nodes behind a balancer, whatever their directory is.
pub struct Nodes {
    pub nodes: [Gateway; 2],
    pub balancer: Balancer,
    pub visitor: Visitor,
}

impl Nodes {
    /// Starts the nodes, brings the people in, and lets each domain sign in by its method.
    pub fn start(builder: Builder, domains: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut first = builder
            .public_port(port)
            .hardening("sealed")
            .gateway_line(&format!("proxy_protocol_from = [\"{}\"]", balancer::ADDRESS))
            .gateway_line(DRAIN)
            .prepare();
        let mut second = first.prepared_beside("node2");
        // The first start of all: what the installation lacks is made by whoever comes first.
        std::thread::scope(|scope| {
            scope.spawn(|| second.start_again());
            first.start_again();
        });
        for (domain, _) in domains {
            first.cli(&["domain", "add", domain]);
            first.cli(&["domain", "verify", domain, "--vouch"]);
        }
        let engine = if holds_lease(&first) { &first } else { &second };
        engine.cli(&["rules", "activate"]);
        engine.cli(&["sync", "run", "--profile", "full"]);
        engine.cli(&["password-sync", "run"]);
        for (domain, method) in domains {
            first.cli(&["domain", "set-method", domain, method, "--force"]);
        }
        let checks = first.http_without_cookies();
        let balancer = Balancer::start(port, &[first.port(), second.port()], HOST, checks, NETWORKS);
        Visitor::register(&first);
        let visitor = Visitor::over(&first, fresh(&first, [127, 0, 0, 1]));
        Self { nodes: [first, second], balancer, visitor }
    }
}

/// A client that opens a connection for each request.
fn fresh(gateway: &Gateway, door: [u8; 4]) -> reqwest::Client {
    let builder = gateway.http_builder_at(door).pool_max_idle_per_host(0).timeout(Duration::from_secs(60));
    builder.build().expect("a client")
}

pub fn holds_lease(node: &Gateway) -> bool {
    let status = node.operator().run(&["sync", "status"]);
    status.is_some_and(|status| status["schedule"]["engine_here"] == true)
}

impl Site {
    /// Somebody of the domain whose passwords the directory checks.
    pub fn at_directory(&self, number: usize) -> &Person {
        &self.people[number * 2]
    }

    /// Somebody of the domain whose passwords are checked by hash.
    pub fn by_hash(&self, number: usize) -> &Person {
        &self.people[number * 2 + 1]
    }

    /// Visitors of another network, who open a connection for each request.
    pub fn visitor_of(&self, network: u8) -> Visitor {
        Visitor::over(&self.nodes[0], fresh(&self.nodes[0], balancer::door(network)))
    }

    /// The same, who keep their connections.
    pub fn crowd_of(&self, network: u8) -> Visitor {
        let http = self.nodes[0].http_builder_at(balancer::door(network)).timeout(Duration::from_secs(60));
        Visitor::over(&self.nodes[0], http.build().expect("a client"))
    }

    /// Visitors of the network of 127.0.0.1, who keep their connections.
    pub fn keeping_connections(&self) -> Visitor {
        Visitor::over(&self.nodes[0], self.nodes[0].http_without_cookies())
    }

    /// Signs in through the balancer, and redeems the code.
    pub async fn signed_in(&self, person: &Person) -> (Signed, Tokens) {
        let signed = self.visitor.sign_in(&person.upn, &person.password).await.signed();
        let tokens = self.visitor.tokens(&signed).await;
        (signed, tokens)
    }

    /// Signs in twice, so that the password reaches one node and then the other.
    pub async fn signed_in_at_both(&self, person: &Person) -> Vec<Tokens> {
        let mut all = Vec::new();
        for _ in 0..2 {
            let (_, tokens) = self.signed_in(person).await;
            // One request more than the four of a sign-in: the next one begins at the other node.
            assert!(self.visitor.userinfo_answers(&tokens.access).await);
            all.push(tokens);
        }
        all
    }

    /// Both chains of the audit log hold, and have records.
    pub fn audit_holds(&self) {
        let verified = self.nodes[0].cli(&["audit", "verify"]);
        assert_eq!(verified["breaks"], serde_json::json!([]));
        let records = self.nodes[0].audit(1000);
        for node in ["node1", "node2"] {
            assert!(records.iter().any(|record| record["node"] == node), "{node} has written records");
        }
    }
}

/// People who sign in through the balancer over and over.
pub struct Load {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
    begun: Arc<AtomicUsize>,
    tasks: tokio::task::JoinSet<()>,
}

/// What came of their sign-ins.
#[derive(Default)]
pub struct Log {
    pub signed: Vec<(Instant, Signed, Tokens)>,
    /// Whatever else they were told, or that they were told nothing.
    pub failed: Vec<(Instant, String)>,
}

impl Load {
    /// Each of `people` signs in over and over, with one of `visitors` after the other.
    pub fn start(people: Vec<Person>, visitors: &[Visitor]) -> Self {
        let (stop, log) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Log>>::default());
        let begun = Arc::<AtomicUsize>::default();
        let mut tasks = tokio::task::JoinSet::new();
        for (index, person) in people.into_iter().enumerate() {
            let visitor = visitors[index % visitors.len()].clone();
            let (stop, log, begun) = (stop.clone(), log.clone(), Arc::clone(&begun));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    begun.fetch_add(1, Ordering::Relaxed);
                    let came = sign_in(&visitor, &person).await;
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    match came {
                        Ok((signed, tokens)) => log.signed.push((Instant::now(), signed, tokens)),
                        Err(told) => log.failed.push((Instant::now(), told)),
                    }
                }
            });
        }
        Self { stop, log, begun, tasks }
    }

    pub fn signed(&self) -> usize {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).signed.len()
    }

    pub fn failed(&self) -> usize {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).failed.len()
    }

    /// Lets each sign-in that began come to its end.
    pub async fn stop(mut self) -> Log {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a visitor does not panic");
        }
        let log = std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner));
        assert_eq!(log.signed.len() + log.failed.len(), self.begun.load(Ordering::Relaxed), "every sign-in ends");
        log
    }
}

async fn sign_in(visitor: &Visitor, person: &Person) -> Result<(Signed, Tokens), String> {
    let broken = |error: reqwest::Error| format!("{error:?}");
    match visitor.try_sign_in(&person.upn, &person.password).await.map_err(broken)? {
        Outcome::Signed(signed) => {
            let tokens = visitor.try_tokens(&signed).await.map_err(broken)?;
            let tokens = tokens.ok_or_else(|| "the code is refused".to_owned())?;
            Ok((signed, tokens))
        }
        other => Err(format!("{other:?}")),
    }
}
