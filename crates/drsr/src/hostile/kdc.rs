//! A ticket service that answers every request with the same bytes.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{Account, Client, Controller, Error, Password};

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head: &[u8] = if length < 0x80 { &[tag, length] } else { &[tag, 0x81, length] };
    [head, content].concat()
}

/// KRB-ERROR (RFC 4120 5.9.1).
fn error_message(code: u8) -> Vec<u8> {
    let realm = tlv(0x1b, b"CORP.EXAMPLE");
    let service = [tlv(0x1b, b"krbtgt"), realm.clone()].concat();
    let service = [tlv(0xa0, &[2, 1, 2]), tlv(0xa1, &tlv(0x30, &service))].concat();
    let fields = [
        tlv(0xa0, &[2, 1, 5]),
        tlv(0xa1, &[2, 1, 30]),
        tlv(0xa4, &tlv(0x18, b"20261122000000Z")),
        tlv(0xa5, &[2, 1, 0]),
        tlv(0xa6, &[2, 1, code]),
        tlv(0xa9, &realm),
        tlv(0xaa, &tlv(0x30, &service)),
    ];
    tlv(0x7e, &tlv(0x30, &fields.concat()))
}

async fn sign_in(answer: Vec<u8>) -> Error {
    let replication = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tickets = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let controller = Controller {
        replication_port: Some(replication.local_addr().unwrap().port()),
        kerberos_port: tickets.local_addr().unwrap().port(),
        call_deadline: std::time::Duration::from_secs(10),
        ..Controller::new("localhost")
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tickets.accept().await {
            let mut head = [0; 4];
            stream.read_exact(&mut head).await.unwrap();
            let mut request = vec![0; usize::try_from(u32::from_be_bytes(head)).unwrap()];
            stream.read_exact(&mut request).await.unwrap();
            let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &answer].concat()).await.unwrap();
        }
    });
    let account = Account::kerberos("corp.example", "sync", Password::new("x".to_owned()));
    match Client::connect(&controller, &account).await {
        Err(error) => error,
        Ok(_) => panic!("nobody signed us in"),
    }
}

#[tokio::test]
async fn the_reasons_of_a_ticket_service_are_told_apart() {
    // KRB_AP_ERR_SKEW, KDC_ERR_C_PRINCIPAL_UNKNOWN, KDC_ERR_PREAUTH_FAILED, KDC_ERR_CLIENT_REVOKED, KDC_ERR_KEY_EXPIRED,
    // KDC_ERR_ETYPE_NOSUPP.
    let error = sign_in(error_message(37)).await;
    assert!(matches!(error, Error::ClockSkew { .. }), "{error}");
    for code in [6, 24, 18] {
        let error = sign_in(error_message(code)).await;
        assert!(matches!(error, Error::LogonFailure { .. }), "{code}: {error}");
    }
    let error = sign_in(error_message(23)).await;
    assert!(matches!(error, Error::PasswordExpired { .. }), "{error}");
    let error = sign_in(error_message(14)).await;
    assert!(matches!(error, Error::NoCommonEncryption { .. }), "{error}");
    // KDC_ERR_POLICY: there is nothing special to be done about it.
    let error = sign_in(error_message(12)).await;
    assert!(matches!(&error, Error::SignInFailed { reason, .. } if reason.contains("policy")), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(60), ..ProptestConfig::default() })]

    #[test]
    fn answers_of_any_bytes_are_refused(noise in prop::collection::vec(any::<(u16, u8)>(), 0..4), code in prop_oneof![Just(25u8), any::<u8>()]) {
        let mut answer = error_message(code);
        for (at, byte) in noise {
            let at = usize::from(at) % answer.len();
            answer[at] = byte;
        }
        super::runtime().block_on(sign_in(answer));
    }
}
