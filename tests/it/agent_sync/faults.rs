//! Agents that die, lag behind, are of another release or lie: nothing is lost, and nothing looks complete that is not.

use std::path::PathBuf;

use agent_proto::parts::{Cutter, Joiner, LARGEST_PART, Part};
use agent_proto::{DeclineReason, RequestId, ToAgent, ToGateway, Versions};
use landbridge::agent_sync::words::{Fault, FaultKind, Question, Word};
use landbridge::identity::{Refusal, Verdict};
use landbridge::sync::Connector as _;
use landbridge::sync::connector::{
    ConnectorError, ExportChange, ExportOperation, ExportResult, ImportMode, ImportPage, ImportRequest, ImportStream,
    ImportedObject, Watermark,
};
use landbridge::sync::space::ObjectId;

use super::world::{directory, id, scope, writing};
use crate::agents::false_agent::FalseAgent;
use crate::agents::world::{CORP, LAB, World};
use crate::connectors::turn;
use crate::support::wait::wait_until_async;

/// An agent that carries imports and does what a test says.
pub struct Scripted {
    wire: FalseAgent,
    folder: PathBuf,
}

impl Scripted {
    pub async fn connect_carrying(world: &World, label: &str, carries: &[&str]) -> Self {
        Self::connect_as(world, label, Versions::OURS, Some(carries)).await
    }

    /// As its certificate names it.
    pub fn id(&self) -> agent_proto::AgentId {
        self.wire.identity.agent
    }

    async fn connect(world: &World, label: &str) -> Self {
        Self::connect_as(world, label, Versions::OURS, Some(&["import"])).await
    }

    async fn connect_as(world: &World, label: &str, versions: Versions, carries: Option<&[&str]>) -> Self {
        let folder = world.enrol(label, CORP).await;
        Self::greet(world, folder, versions, carries).await
    }

    async fn greet(world: &World, folder: PathBuf, versions: Versions, carries: Option<&[&str]>) -> Self {
        let mut wire = FalseAgent::try_connect(&world.url, &folder).await.expect("connected");
        wire.greet_as(versions, carries).await;
        assert!(matches!(wire.hear().await, Some(ToAgent::Welcome { .. })));
        world.wait_for("the agent to be listed", id(&folder), "connected").await;
        Self { wire, folder }
    }

    /// The next question.
    pub async fn asked(&mut self) -> (RequestId, Question) {
        let mut joiner = Joiner::default();
        loop {
            match self.wire.hear().await {
                Some(ToAgent::Ask(part)) => {
                    let request = part.request;
                    // A question in an exchange that is open is short.
                    let further = part.sequence > 0 && part.last;
                    let word = if further { Some(part.bytes) } else { joiner.take(part).expect("in order") };
                    if let Some(word) = word {
                        return (request, serde_json::from_slice(&word).expect("a question"));
                    }
                }
                Some(ToAgent::Grant { .. } | ToAgent::Abandon { .. }) => {}
                other => panic!("no question: {other:?}"),
            }
        }
    }

    /// The next export.
    async fn asked_to_export(&mut self) -> RequestId {
        loop {
            if let (request, Question::Export { .. }) = self.asked().await {
                return request;
            }
        }
    }

    /// Whether nothing but "go on" or "give up" comes for a while.
    async fn is_asked_nothing_more(&mut self) -> bool {
        let asked = async { while matches!(self.asked().await.1, Question::GoOn | Question::HasTurn(_)) {} };
        tokio::time::timeout(std::time::Duration::from_secs(2), asked).await.is_err()
    }

    /// The next question, which must be an import; and what answers it.
    async fn asked_to_import(&mut self) -> (ImportMode, Cutter) {
        match self.asked().await {
            (request, Question::Import { request: import, .. }) => (import.mode, Cutter::new(request)),
            other => panic!("no import: {other:?}"),
        }
    }

    pub async fn tell(&mut self, cutter: &mut Cutter, word: &Word) {
        let text = serde_json::to_vec(word).expect("text");
        self.tell_bytes(cutter, &text).await;
    }

    async fn tell_bytes(&mut self, cutter: &mut Cutter, text: &[u8]) {
        for part in cutter.cut(text).expect("fits").collect::<Vec<_>>() {
            self.wire.say(&ToGateway::Tell(part)).await;
        }
    }
}

fn watermark(value: &str) -> Watermark {
    Watermark { server: "ldaps://dc1".to_owned(), incarnation: String::new(), value: value.to_owned() }
}

fn page(anchor: &str, reached: Option<&str>) -> Word {
    let object = ImportedObject {
        anchor: anchor.to_owned(),
        dn: Some(format!("uid={anchor},dc=example").parse().expect("a name")),
        object_type: "user".to_owned(),
        container: false,
        attributes: Default::default(),
        references: Default::default(),
    };
    let watermark = reached.map(watermark);
    Word::Page(Box::new(ImportPage { objects: vec![object], watermark, ..ImportPage::default() }))
}

fn request(mode: ImportMode) -> ImportRequest {
    ImportRequest { mode, bases: Vec::new(), wanted: Default::default() }
}

fn delta(since: &str) -> ImportRequest {
    request(ImportMode::Delta { since: watermark(since) })
}

/// The anchors of the next page.
async fn anchors(stream: &mut dyn ImportStream) -> Vec<String> {
    let page = stream.next_page().await.expect("the read goes on").expect("not the end");
    page.objects.into_iter().map(|object| object.anchor).collect()
}

fn reason(error: &ConnectorError) -> String {
    error.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_out_of_order_too_long_or_not_understood_aborts_the_read() {
    let world = World::open().await;
    let mut agent = Scripted::connect(&world, "one").await;
    let directory = directory(&world, CORP, scope());
    let of = |request: RequestId, sequence: u32, length: usize| {
        ToGateway::Tell(Part { request, sequence, last: true, bytes: vec![b'x'; length] })
    };
    let results = serde_json::to_vec(&Word::Results(Vec::new())).expect("text");
    for (case, expected) in [
        ("skipped", "part 9 came where part 3 was due"),
        ("repeated", "part 1 came where part 3 was due"),
        ("long", "more than 49152"),
        ("garbage", "is not understood"),
        ("another answer", "no answer to the question"),
    ] {
        let script = async {
            let (opened, question) = agent.asked().await;
            assert!(matches!(question, Question::Import { .. }));
            let mut cutter = Cutter::new(opened);
            agent.tell(&mut cutter, &Word::Begun).await;
            // It goes on, and has nothing to tell yet.
            agent.tell(&mut cutter, &Word::Begun).await;
            agent.tell(&mut cutter, &page("ada", None)).await;
            match case {
                "skipped" => agent.wire.say(&of(opened, 9, 1)).await,
                "repeated" => agent.wire.say(&of(opened, 1, 1)).await,
                "long" => agent.wire.say(&of(opened, 3, LARGEST_PART + 1)).await,
                "garbage" => agent.wire.say(&of(opened, 3, 30)).await,
                _ => agent.tell_bytes(&mut cutter, &results).await,
            }
        };
        let read = async {
            let mut stream = directory.import(request(ImportMode::Full)).await.expect("it begins");
            assert_eq!(anchors(&mut *stream).await, ["ada"], "{case}");
            stream.next_page().await.map(drop).expect_err("the read is aborted")
        };
        let ((), error) = tokio::join!(script, read);
        assert!(matches!(error, ConnectorError::Aborted { .. }), "{case}: {error}");
        assert!(reason(&error).contains(expected), "{case}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_tells_more_than_was_granted_is_cut_off() {
    let world = World::open().await;
    let mut agent = Scripted::connect(&world, "one").await;
    let directory = directory(&world, CORP, scope());
    let script = async {
        let (_, mut cutter) = agent.asked_to_import().await;
        agent.tell(&mut cutter, &Word::Begun).await;
        for index in 0..100 {
            agent.tell(&mut cutter, &page(&index.to_string(), None)).await;
        }
        // Until the gateway hangs up.
        while let Some(message) = agent.wire.hear().await {
            assert!(matches!(message, ToAgent::Grant { .. } | ToAgent::Goodbye { .. }), "{message:?}");
        }
    };
    let (stream, ()) = tokio::join!(directory.import(request(ImportMode::Full)), script);
    // The end may be noticed before the first word was read.
    let error = match stream {
        Ok(mut stream) => stream.next_page().await.map(drop).expect_err("what was said counts no more"),
        Err(error) => error,
    };
    assert!(matches!(error, ConnectorError::Aborted { .. } | ConnectorError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_agents_of_the_connector_and_of_all_its_domains_are_asked() {
    let world = World::open().await;
    let corp = directory(&world, CORP, scope());
    let folder = world.enrol("elsewhere", LAB).await;
    let mut lab = Scripted::greet(&world, folder, Versions::OURS, Some(&["import", "export"])).await;
    let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is asked");
    assert!(reason(&error).contains("no agent of connector corp is connected"), "{error}");
    assert!(lab.wire.hears_nothing().await, "a certificate for one connector sees nothing of another");

    let token = world.token(CORP, &["alpha.example"]).await;
    let folder = world.try_enrol("narrow", CORP, &token).await.expect("enrolled");
    let mut narrow = Scripted::greet(&world, folder, Versions::OURS, Some(&["import"])).await;
    let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is asked");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{error}");
    assert!(reason(&error).contains("for some of the connector's domains alone"), "{error}");
    assert!(narrow.wire.hears_nothing().await);

    let mut quiet = Scripted::connect_as(&world, "quiet", Versions::OURS, Some(&["of-next-year"])).await;
    let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is asked");
    assert!(reason(&error).contains("do not say `import` under `carries`"), "{error}");
    assert!(quiet.wire.hears_nothing().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_the_former_release_goes_on_checking_passwords_and_is_told_apart() {
    let world = World::open().await;
    let former = Versions { oldest: 1, newest: 1 };
    let mut agent = Scripted::connect_as(&world, "old", former, None).await;
    let corp = directory(&world, CORP, scope());
    let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is asked");
    assert!(reason(&error).contains("of an older release that only checks passwords; upgrade it"), "{error}");
    let listed = world.desk.list().await.expect("a list");
    assert_eq!((listed[0].protocol, listed[0].carries.len()), (Some(1), 0));

    let (_, subject) = world.person(0);
    let (verdict, ()) = tokio::join!(world.verdict(&subject, "any"), async {
        let gone = agent.wire.accept().await;
        let (asked, refused) = (crate::agents::checks::asked(&gone), crate::agents::checks::refused());
        let answer = agent.wire.identity.keys.signing.answer(&asked, refused);
        agent.wire.say(&ToGateway::Answer(answer)).await;
    });
    assert_eq!(verdict, Verdict::Refused(Refusal::WrongPassword));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_goes_on_with_another_agent_from_the_last_watermark() {
    let world = World::open().await;
    let mut one = Scripted::connect(&world, "one").await;
    let mut two = Scripted::connect(&world, "two").await;
    let corp = directory(&world, CORP, scope());
    let script = async {
        let (mode, mut cutter) = one.asked_to_import().await;
        assert_eq!(mode, ImportMode::Delta { since: watermark("1") });
        one.tell(&mut cutter, &Word::Begun).await;
        one.tell(&mut cutter, &page("ada", Some("2"))).await;
        one.tell(&mut cutter, &page("bob", None)).await;
        one
    };
    let (one, mut stream) = tokio::join!(script, async {
        let mut stream = corp.import(delta("1")).await.expect("it begins");
        assert_eq!(anchors(&mut *stream).await, ["ada"]);
        assert_eq!(anchors(&mut *stream).await, ["bob"]);
        stream
    });
    drop(one);
    let script = async {
        let (mode, mut cutter) = two.asked_to_import().await;
        assert_eq!(mode, ImportMode::Delta { since: watermark("2") });
        two.tell(&mut cutter, &Word::Begun).await;
        // What came after the last watermark is told twice.
        two.tell(&mut cutter, &page("bob", Some("3"))).await;
        two.tell(&mut cutter, &Word::End).await;
    };
    let ((), ()) = tokio::join!(script, async {
        let page = stream.next_page().await.expect("the read goes on").expect("not the end");
        assert_eq!((page.objects[0].anchor.as_str(), page.watermark), ("bob", Some(watermark("3"))));
        assert!(stream.next_page().await.expect("the end").is_none());
        assert!(stream.next_page().await.expect("the end").is_none(), "the end stays the end");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_import_begins_anew_elsewhere_only_before_anything_was_told() {
    let world = World::open().await;
    let mut one = Scripted::connect(&world, "one").await;
    let mut two = Scripted::connect(&world, "two").await;
    let corp = directory(&world, CORP, scope());
    let script = async {
        let (_, mut cutter) = one.asked_to_import().await;
        one.tell(&mut cutter, &Word::Begun).await;
        drop(one);
        let (mode, mut cutter) = two.asked_to_import().await;
        assert_eq!(mode, ImportMode::Full);
        two.tell(&mut cutter, &Word::Begun).await;
        two.tell(&mut cutter, &page("ada", None)).await;
        two
    };
    let (two, mut stream) = tokio::join!(script, async {
        let mut stream = corp.import(request(ImportMode::Full)).await.expect("it begins");
        assert_eq!(anchors(&mut *stream).await, ["ada"]);
        stream
    });
    let mut three = Scripted::connect(&world, "three").await;
    drop(two);
    let error = stream.next_page().await.map(drop).expect_err("a read without its end");
    assert!(matches!(error, ConnectorError::Aborted { .. }), "{error}");
    assert!(reason(&error).contains("the connection of the agent on false has ended"), "{error}");
    assert!(three.wire.hears_nothing().await, "what was told may have changed since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_is_out_in_the_middle_of_an_import() {
    let world = World::open().await;
    let mut agent = Scripted::connect(&world, "one").await;
    let corp = directory(&world, CORP, scope());
    let (mut cutter, mut stream) = tokio::join!(
        async {
            let (_, mut cutter) = agent.asked_to_import().await;
            agent.tell(&mut cutter, &Word::Begun).await;
            agent.tell(&mut cutter, &page("ada", None)).await;
            cutter
        },
        async {
            let mut stream = corp.import(request(ImportMode::Full)).await.expect("it begins");
            assert_eq!(anchors(&mut *stream).await, ["ada"]);
            stream
        }
    );
    // Told before the revocation, and not read yet.
    agent.tell(&mut cutter, &page("mallory", None)).await;
    world.desk.revoke(id(&agent.folder)).await.expect("revoked");
    agent.tell(&mut cutter, &Word::End).await;
    let error = stream.next_page().await.map(drop).expect_err("a revoked agent counts no more");
    assert!(matches!(error, ConnectorError::Aborted { .. }), "{error}");
    assert!(reason(&error).contains("the agent is revoked"), "{error}");
    wait_until_async("nobody to be left", std::time::Duration::from_secs(10), async || {
        let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is left");
        reason(&error).contains("no agent of connector corp is connected").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watermark_is_stale_when_no_agent_knows_its_server() {
    let world = World::open().await;
    let mut one = Scripted::connect(&world, "one").await;
    let mut two = Scripted::connect(&world, "two").await;
    let corp = directory(&world, CORP, scope());
    let stale = || Word::Fault(Fault::new(FaultKind::StaleWatermark, "the watermark is of another server"));
    let script = async {
        let (_, mut cutter) = one.asked_to_import().await;
        one.tell(&mut cutter, &stale()).await;
        let (_, mut cutter) = two.asked_to_import().await;
        two.tell(&mut cutter, &Word::Begun).await;
        two.tell(&mut cutter, &Word::End).await;
    };
    let ((), stream) = tokio::join!(script, corp.import(delta("1")));
    assert!(stream.expect("the second agent has its server").next_page().await.expect("the end").is_none());

    let script = async {
        for _ in 0..2 {
            tokio::select! {
                (_, mut cutter) = one.asked_to_import() => one.tell(&mut cutter, &stale()).await,
                (_, mut cutter) = two.asked_to_import() => two.tell(&mut cutter, &stale()).await,
            }
        }
    };
    let ((), stream) = tokio::join!(script, corp.import(delta("1")));
    let error = stream.err().expect("nobody has its server");
    assert!(matches!(error, ConnectorError::StaleWatermark { .. }), "{error}");
}

const WRITER: [&str; 2] = ["import", "export"];

fn change() -> ExportChange {
    let operation = ExportOperation::Update { anchor: "ada".to_owned(), changes: Default::default() };
    ExportChange { object: ObjectId(1), object_type: "user".to_owned(), identity: Default::default(), operation }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_sent_goes_to_nobody_else_whatever_its_agent_says_then() {
    let world = World::open().await;
    let mut one = Scripted::connect_carrying(&world, "one", &WRITER).await;
    let mut two = Scripted::connect_carrying(&world, "two", &WRITER).await;
    let corp = directory(&world, CORP, writing(&["description"]));
    // At once, and after it asked for the turn, which it does when it begins.
    for begun in [false, true] {
        let declined = async {
            let (declining, request) = tokio::select! {
                request = one.asked_to_export() => (&mut one, request),
                request = two.asked_to_export() => (&mut two, request),
            };
            if begun {
                let mut cutter = Cutter::new(request);
                declining.tell(&mut cutter, &Word::Turn(0)).await;
                while !matches!(declining.asked().await.1, Question::HasTurn(0)) {}
            }
            declining.wire.say(&ToGateway::Decline { request, reason: DeclineReason::Full }).await;
        };
        let unending = turn();
        let (result, ()) = tokio::join!(corp.export(vec![change()], &unending), declined);
        let error = result.expect_err("nobody knows whether it was written");
        assert!(matches!(error, ConnectorError::Aborted { .. }), "{begun}: {error}");
    }
    let (calm_one, calm_two) = (one.is_asked_nothing_more().await, two.is_asked_nothing_more().await);
    assert!(calm_one && calm_two, "the batch went to another agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_the_former_release_is_told_of_the_turn_unasked() {
    let world = World::open().await;
    let mut agent = Scripted::connect_carrying(&world, "one", &WRITER).await;
    let corp = directory(&world, CORP, writing(&["description"]));
    let script = async {
        let (request, question) = agent.asked().await;
        assert!(matches!(question, Question::Export { answers_turns: true, .. }), "{question:?}");
        for _ in 0..3 {
            assert_eq!(agent.asked().await.1, Question::GoOn);
        }
        let results = Word::Results(vec![ExportResult::Accepted { anchor: None, warning: None }]);
        agent.tell(&mut Cutter::new(request), &results).await;
    };
    let batch = vec![change()];
    let turn = turn();
    let (result, ()) = tokio::join!(corp.export(batch, &turn), script);
    assert!(matches!(result.expect("answers")[0], ExportResult::Accepted { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_tells_nothing_is_given_up_whatever_lies_between_its_words() {
    let world = World::open().await;
    let mut agent = Scripted::connect(&world, "one").await;
    let corp = directory(&world, CORP, scope());
    let script = async {
        let (_, mut cutter) = agent.asked_to_import().await;
        agent.tell(&mut cutter, &Word::Begun).await;
        agent.tell(&mut cutter, &page("ada", None)).await;
        for _ in 0..40 {
            agent.tell(&mut cutter, &Word::Begun).await;
            agent.tell(&mut cutter, &Word::Page(Box::default())).await;
            // The gateway makes room for more.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let read = async {
        let mut stream = corp.import(request(ImportMode::Full)).await.expect("it begins");
        let mut pages = 0;
        loop {
            match stream.next_page().await {
                Ok(Some(_)) => pages += 1,
                Ok(None) => panic!("it has no end"),
                Err(error) => break (pages, error),
            }
        }
    };
    let ((), (pages, error)) = tokio::join!(script, read);
    assert!(matches!(error, ConnectorError::Aborted { .. }), "{error}");
    assert!(reason(&error).contains("it goes on and tells nothing"), "{error}");
    assert_eq!(pages, 1 + 29, "sixty words tell nothing, every second of which is a page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_said_before_its_connection_ended_in_order_is_heard() {
    let world = World::open().await;
    let mut agent = Scripted::connect(&world, "one").await;
    let corp = directory(&world, CORP, scope());
    let (mut cutter, mut stream) = tokio::join!(
        async {
            let (_, mut cutter) = agent.asked_to_import().await;
            agent.tell(&mut cutter, &Word::Begun).await;
            agent.tell(&mut cutter, &page("ada", None)).await;
            cutter
        },
        async {
            let mut stream = corp.import(request(ImportMode::Full)).await.expect("it begins");
            assert_eq!(anchors(&mut *stream).await, ["ada"]);
            stream
        }
    );
    agent.tell(&mut cutter, &page("bob", None)).await;
    agent.tell(&mut cutter, &Word::End).await;
    // What comes on one connection is heard in its order.
    agent.wire.say(&ToGateway::Draining).await;
    world.wait_for("the agent to drain", id(&agent.folder), "draining").await;
    world.broker.close("the node leaves");
    assert_eq!(anchors(&mut *stream).await, ["bob"]);
    assert!(stream.next_page().await.expect("the end").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_speaks_no_version_of_the_gateways_is_refused_with_what_is_to_be_upgraded() {
    let world = World::open().await;
    let corp = directory(&world, CORP, scope());
    let folder = world.enrol("other", CORP).await;
    for (versions, remedy) in [
        (Versions { oldest: 70, newest: 71 }, "upgrade the gateway"),
        (Versions { oldest: 0, newest: 0 }, "upgrade the agent"),
    ] {
        let mut wire = FalseAgent::try_connect(&world.url, &folder).await.expect("a certificate of the gateway's");
        wire.greet(versions).await;
        match wire.hear().await {
            Some(ToAgent::Goodbye { reason }) => assert!(reason.contains(remedy), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(wire.hear().await.is_none(), "the connection ends");
        let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is asked");
        assert!(matches!(error, ConnectorError::Unreachable { .. }), "{error}");
        assert!(reason(&error).contains(remedy) && reason(&error).contains("false: the agent speaks"), "{error}");
    }
    // Once it was upgraded nothing is left of it.
    drop(Scripted::greet(&world, folder, Versions::OURS, None).await);
    let error = corp.import(request(ImportMode::Full)).await.err().expect("nobody is asked");
    assert!(!reason(&error).contains("upgrade the gateway"), "{error}");
}
