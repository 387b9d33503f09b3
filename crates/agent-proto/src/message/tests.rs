use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::answer::{Asked, Claims, Outcome, SigningKey};
use crate::codec::MAX_MESSAGE;
use crate::ids::AgentId;
use crate::sealed::{Binding, OpeningKey};

fn request() -> impl Strategy<Value = RequestId> {
    any::<[u8; 16]>().prop_map(RequestId::new)
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![".{0,64}".prop_map(Subject::Anchor), Just(Subject::Unknown)]
}

fn node() -> impl Strategy<Value = GatewayNode> {
    (".{0,20}", ".{0,40}").prop_map(|(name, url)| GatewayNode { name, url })
}

fn part() -> impl Strategy<Value = Part> {
    (request(), any::<u32>(), any::<bool>(), vec(any::<u8>(), 0..300))
        .prop_map(|(request, sequence, last, bytes)| Part { request, sequence, last, bytes })
}

fn to_agent() -> impl Strategy<Value = ToAgent> {
    let sealed = |request: RequestId, expires_at: i64| {
        let key = OpeningKey::generate().expect("a key");
        let (agent, subject) = (AgentId::new([7; 16]), Subject::Unknown);
        let binding = Binding { request, agent, subject: &subject, expires_at };
        key.public().seal("correct horse", &binding).expect("sealed")
    };
    prop_oneof![
        (any::<u32>(), ".{0,20}", any::<i64>(), any::<u32>(), vec(node(), 0..5)).prop_map(
            |(version, node, time, heartbeat_ms, nodes)| ToAgent::Welcome { version, node, time, heartbeat_ms, nodes }
        ),
        ".{0,80}".prop_map(|reason| ToAgent::Goodbye { reason }),
        (any::<u64>(), any::<i64>()).prop_map(|(sequence, time)| ToAgent::Ping { sequence, time }),
        (request(), subject(), any::<i64>()).prop_map(|(request, subject, expires_at)| ToAgent::Offer {
            request,
            subject,
            expires_at
        }),
        (request(), any::<i64>(), any::<u32>()).prop_map(move |(request, at, limit_ms)| ToAgent::Go {
            request,
            password: sealed(request, at),
            limit_ms
        }),
        request().prop_map(|request| ToAgent::Withdraw { request }),
        request().prop_map(|request| ToAgent::Probe { request }),
        vec(node(), 0..40).prop_map(|nodes| ToAgent::Nodes { nodes }),
        part().prop_map(ToAgent::Ask),
        (request(), any::<u32>()).prop_map(|(request, parts)| ToAgent::Grant { request, parts }),
        request().prop_map(|request| ToAgent::Abandon { request }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Verified),
        ("[a-z-]{0,30}", option::of(any::<u32>())).prop_map(|(code, number)| Outcome::Refused { code, number }),
        ("[a-z-]{0,30}", any::<bool>(), any::<bool>()).prop_map(|(cause, sent, late_follows)| Outcome::Unavailable {
            cause,
            sent,
            late_follows
        }),
    ]
}

fn probe() -> impl Strategy<Value = ServerProbe> {
    (".{0,30}", any::<u32>(), option::of(".{0,60}")).prop_map(|(server, took_ms, failure)| ServerProbe {
        server,
        took_ms,
        failure,
    })
}

fn to_gateway() -> impl Strategy<Value = ToGateway> {
    let key = SigningKey::generate().expect("a key");
    let reason = prop_oneof![Just(DeclineReason::Full), Just(DeclineReason::Draining), Just(DeclineReason::Expired)];
    prop_oneof![
        (any::<u32>(), any::<u32>(), ".{0,20}", ".{0,20}", any::<u32>(), option::of(vec("[a-z]{0,9}", 0..4))).prop_map(
            |(oldest, newest, software, host, capacity, carries)| ToGateway::Hello {
                versions: Versions { oldest, newest },
                software,
                host,
                capacity,
                carries
            }
        ),
        any::<u64>().prop_map(|sequence| ToGateway::Pong { sequence }),
        request().prop_map(|request| ToGateway::Accept { request }),
        (request(), reason).prop_map(|(request, reason)| ToGateway::Decline { request, reason }),
        (request(), outcome(), option::of(".{0,30}"), option::of(any::<i64>()), any::<i64>(), any::<bool>()).prop_map(
            move |(request, outcome, server, password_set, at, late)| {
                let asked = Asked { request, subject: Subject::Unknown, password_hash: [1; 32] };
                ToGateway::Answer(key.answer(&asked, Claims { outcome, server, password_set, at, late }))
            }
        ),
        (request(), vec(probe(), 0..6)).prop_map(|(request, servers)| ToGateway::Probed(Probed { request, servers })),
        Just(ToGateway::Draining),
        part().prop_map(ToGateway::Tell),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back_as_it_was(there in to_agent(), back in to_gateway()) {
        prop_assert_eq!(ToAgent::decode(&there.encode().expect("fits")).expect("a message"), Incoming::Known(there));
        prop_assert_eq!(ToGateway::decode(&back.encode().expect("fits")).expect("a message"), Incoming::Known(back));
    }

    #[test]
    fn a_damaged_message_is_an_error_or_another_message(
        message in to_gateway(), other in to_agent(), at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<prop::sample::Index>()
    ) {
        for mut bytes in [message.encode().expect("fits"), other.encode().expect("fits")] {
            let short = &bytes[..cut.index(bytes.len())];
            prop_assert!(!matches!(ToAgent::decode(short), Ok(Incoming::Known(_))));
            prop_assert!(!matches!(ToGateway::decode(short), Ok(Incoming::Known(_))));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = (ToAgent::decode(&bytes), ToGateway::decode(&bytes));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = (ToAgent::decode(&bytes), ToGateway::decode(&bytes));
        let _ = (crate::enrolment::Enrol::decode(&bytes), crate::enrolment::Renew::decode(&bytes));
        let _ = crate::enrolment::Enrolled::decode(&bytes);
    }
}

#[test]
fn a_message_of_a_later_release_is_passed_over() {
    #[derive(Encode)]
    enum Later {
        #[n(99)]
        Import(#[n(0)] u32, #[n(1)] String),
    }
    let bytes = minicbor::to_vec(Later::Import(7, "all".to_owned())).expect("encoded");
    assert_eq!(ToAgent::decode(&bytes).expect("well-formed"), Incoming::Unknown(99));
    assert_eq!(ToGateway::decode(&bytes).expect("well-formed"), Incoming::Unknown(99));
}

#[test]
fn fields_of_a_later_release_are_passed_over_and_its_absent_ones_are_empty() {
    #[derive(Encode)]
    enum Later {
        #[n(2)]
        Ping {
            #[n(0)]
            sequence: u64,
            #[n(1)]
            time: i64,
            #[n(2)]
            load: Vec<String>,
        },
    }
    let bytes = minicbor::to_vec(Later::Ping { sequence: 1, time: 2, load: vec!["x".to_owned()] }).expect("encoded");
    assert_eq!(ToAgent::decode(&bytes).expect("well-formed"), Incoming::Known(ToAgent::Ping { sequence: 1, time: 2 }));

    #[derive(Encode)]
    struct EarlierProbe {
        #[n(0)]
        server: String,
        #[n(1)]
        took_ms: u32,
    }
    #[derive(Encode)]
    struct EarlierProbed {
        #[n(0)]
        request: RequestId,
        #[n(1)]
        servers: Vec<EarlierProbe>,
    }
    #[derive(Encode)]
    enum Earlier {
        #[n(5)]
        Probed(#[n(0)] EarlierProbed),
    }
    #[derive(Encode)]
    enum OfVersion1 {
        #[n(0)]
        Hello {
            #[n(0)]
            versions: Versions,
            #[n(1)]
            software: String,
            #[n(2)]
            host: String,
            #[n(3)]
            capacity: u32,
        },
    }
    let (software, host) = ("landbridge 0".to_owned(), "dc1".to_owned());
    let versions = Versions { oldest: 1, newest: 1 };
    let bytes =
        minicbor::to_vec(OfVersion1::Hello { versions, software: software.clone(), host: host.clone(), capacity: 4 });
    let expected = ToGateway::Hello { versions, software, host, capacity: 4, carries: None };
    assert_eq!(ToGateway::decode(&bytes.expect("encoded")).expect("well-formed"), Incoming::Known(expected));

    let servers = vec![EarlierProbe { server: "a".to_owned(), took_ms: 3 }];
    let request = RequestId::new([1; 16]);
    let bytes = minicbor::to_vec(Earlier::Probed(EarlierProbed { request, servers })).expect("encoded");
    let expected = ServerProbe { server: "a".to_owned(), took_ms: 3, failure: None };
    let expected = Incoming::Known(ToGateway::Probed(Probed { request, servers: vec![expected] }));
    assert_eq!(ToGateway::decode(&bytes).expect("well-formed"), expected);
}

#[test]
fn what_is_too_long_is_neither_sent_nor_read() {
    let node = GatewayNode { name: "n".repeat(1000), url: "u".repeat(1000) };
    let message = ToAgent::Nodes { nodes: vec![node; 40] };
    assert!(matches!(message.encode(), Err(EncodeError(length)) if length > MAX_MESSAGE));
    assert!(matches!(ToAgent::decode(&vec![0; MAX_MESSAGE + 1]), Err(DecodeError::TooLong(_))));
}

#[test]
fn a_claimed_length_reserves_no_memory() {
    // An array of 2^40 nodes, of which none follows.
    let bytes = [0x82, 0x07, 0x81, 0x9b, 0, 0, 1, 0, 0, 0, 0, 0];
    assert!(ToAgent::decode(&bytes).is_err());
}

#[test]
fn nothing_may_follow_a_message() {
    let mut bytes = ToGateway::Draining.encode().expect("fits");
    bytes.push(0);
    assert!(matches!(ToGateway::decode(&bytes), Err(DecodeError::TrailingBytes(1))));
}
