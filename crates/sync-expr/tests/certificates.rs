//! Functions of certificates, on one made for the purpose.

use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};
use sync_expr::{Expression, Fields, Flow, Value, Values};

fn certificate() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
    params.distinguished_name.push(DnType::CommonName, "Ada Byron");
    params.not_before = date_time_ymd(2025, 1, 2);
    params.not_after = date_time_ymd(2027, 3, 4);
    params.subject_alt_names = vec![
        SanType::Rfc822Name("ada@example.org".try_into().expect("ASCII")),
        SanType::DnsName("ada.example.org".try_into().expect("ASCII")),
        SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "ada@example.org".into())),
    ];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.serial_number = Some(rcgen::SerialNumber::from(vec![0x12, 0xab]));
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

#[test]
fn certificates_tell_their_parts() {
    use base64::Engine as _;
    let der = certificate();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
    let mut fields = Fields::default();
    fields.set("cert", Value::Binary(der.clone().into()));
    fields.set("text", Value::from(base64));
    fields.set_many("userCertificate", [Value::Binary(der.into())]);
    fields.set_now(chrono::DateTime::from_timestamp(1_780_000_000, 0).expect("a time"));
    for (text, expected) in [
        ("CertSubject([cert])", Value::from("CN=Ada Byron, O=\"Example, Inc.\", C=DE")),
        ("CertSubjectNameDN([text])", Value::from("CN=Ada Byron, O=\"Example, Inc.\", C=DE")),
        ("CertIssuer([cert]) = CertIssuerDN([cert])", Value::from(true)),
        ("CertSubjectNameOid([cert])", Value::from("2.5.4.3")),
        ("CertIssuerOid([cert])", Value::from("2.5.4.3")),
        ("CertFormat([cert])", Value::from("X509")),
        ("CertFriendlyName([cert])", Value::from("")),
        ("CertVersion([cert])", Value::from(3)),
        ("CertSerialNumber([cert])", Value::from("12AB")),
        ("CertKeyAlgorithm([cert])", Value::from("1.2.840.10045.2.1")),
        ("CertPublicKeyOid([cert])", Value::from("1.2.840.10045.2.1")),
        ("CertKeyAlgorithmParams([cert])", Value::from("06082A8648CE3D030107")),
        ("CertPublicKeyParametersOid([cert])", Value::from("1.2.840.10045.3.1.7")),
        ("CertSignatureAlgorithmOid([cert])", Value::from("1.2.840.10045.4.3.2")),
        ("CertNameInfo([cert], \"SimpleName\", False)", Value::from("Ada Byron")),
        ("CertNameInfo([cert], \"SimpleName\", True)", Value::from("Ada Byron")),
        ("CertNameInfo([cert], \"EmailName\", False)", Value::from("ada@example.org")),
        ("CertNameInfo([cert], \"UpnName\", False)", Value::from("ada@example.org")),
        ("CertNameInfo([cert], \"DnsName\", False)", Value::from("ada.example.org")),
        ("CertNameInfo([cert], \"DnsFromAlternativeName\", False)", Value::from("ada.example.org")),
        ("CertNameInfo([cert], \"UrlName\", False)", Value::from("")),
        ("FormatDateTime(CertNotBefore([cert]), \"yyyy-MM-dd\")", Value::from("2025-01-02")),
        ("FormatDateTime(CertNotAfter([cert]), \"yyyy-MM-dd\")", Value::from("2027-03-04")),
        ("Len(CertThumbprint([cert]))", Value::from(40)),
        ("CertHashString([cert]) = CertThumbprint([text])", Value::from(true)),
        ("IsCert([cert])", Value::from(true)),
        ("IsCert([text])", Value::from(true)),
        ("IsCert(Mid([cert], 1, 100))", Value::from(false)),
        ("Count(Where($c, [userCertificate], CertNotAfter($c) > Now()))", Value::from(1)),
        ("Count(Where($c, [userCertificate], CertNotAfter($c) > CDate(\"2030-01-01\")))", Value::from(0)),
        ("Item(CertExtensionOids([cert]), 1)", Value::from("2.5.29.19")),
    ] {
        let expression = Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expression.evaluate(&fields), Ok(Flow::Value(Values::One(expected))), "{text}");
    }
    for text in
        ["CertSubject(CBin(1, 1))", "CertSubject(\"no certificate\")", "CertNameInfo([cert], \"Nickname\", False)"]
    {
        let expression = Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(expression.evaluate(&fields).is_err(), "{text}");
    }
}
