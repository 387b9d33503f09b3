//! Certificates (X.509), given as DER or as base64 of it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::convert::{bytes_cell, upper_hex};
use super::{Body, Form, Function, Group, Parameter, binary, each, many, parameter, text};
use crate::cell::{Cell, Data};
use crate::error::Fault;
use crate::kinds::Kinds;
use crate::run::Args;
use crate::value::Value;

const CERTIFICATE: Parameter = parameter("certificate", Kinds::BINARY.or(Kinds::TEXT), Form::Each);
const ONLY: &[Parameter] = &[CERTIFICATE];

/// A function of a certificate alone that yields a text.
const fn of_certificate(name: &'static str, summary: &'static str, body: super::EachBody) -> Function {
    Function {
        name,
        group: Group::Certificate,
        parameters: ONLY,
        summary,
        examples: &[],
        returns: each(Kinds::TEXT),
        body: Body::Each(body),
    }
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "CertExtensionOids",
        group: Group::Certificate,
        parameters: &[parameter("certificate", Kinds::BINARY.or(Kinds::TEXT), Form::Whole)],
        summary: "The object identifiers of the critical extensions.",
        examples: &[],
        returns: many(Kinds::TEXT),
        body: Body::List(|_, mut list, _| match (list.pop(), list.is_empty()) {
            (None, _) => Ok(Data::NULL),
            (Some(certificate), true) => with(certificate, |certificate| {
                let critical = certificate.extensions().iter().filter(|extension| extension.critical);
                Ok(Data::from_list(critical.map(|extension| Value::from(extension.oid.to_id_string())).collect()))
            }),
            _ => Err(Fault::value("`CertExtensionOids` takes one certificate, not several")),
        }),
    },
    of_certificate("CertFormat", "The name of the format, `X509`.", |_, args| read(args, |_| Ok("X509".into()))),
    of_certificate(
        "CertFriendlyName",
        "The alias; the empty text, because a certificate carries none: a key store adds it.",
        |_, args| read(args, |_| Ok("".into())),
    ),
    of_certificate("CertHashString", "The SHA-1 hash in hexadecimal capitals.", |_, args| fingerprint(args)),
    of_certificate("CertIssuer", "The name of the issuer, the most specific part first.", |_, args| {
        read(args, |certificate| Ok(distinguished(certificate.issuer()).into()))
    }),
    of_certificate("CertIssuerDN", "The distinguished name of the issuer.", |_, args| {
        read(args, |certificate| Ok(distinguished(certificate.issuer()).into()))
    }),
    of_certificate("CertIssuerOid", "The object identifier of the first part of the issuer's name.", |_, args| {
        read(args, |certificate| Ok(first_oid(certificate.issuer())))
    }),
    of_certificate("CertKeyAlgorithm", "The object identifier of the algorithm of the key.", |_, args| {
        read(args, |certificate| Ok(certificate.public_key().algorithm.algorithm.to_id_string().into()))
    }),
    of_certificate(
        "CertKeyAlgorithmParams",
        "The parameters of the algorithm of the key, DER in hexadecimal capitals.",
        |_, args| {
            read(args, |certificate| {
                let parameters = certificate.public_key().algorithm.parameters.as_ref();
                Ok(parameters.map_or(Cell::Null, |any| {
                    use x509_parser::asn1_rs::ToDer as _;
                    any.to_der_vec().map_or(Cell::Null, |der| upper_hex(&der).into())
                }))
            })
        },
    ),
    Function {
        name: "CertNameInfo",
        group: Group::Certificate,
        parameters: &[CERTIFICATE, text("nameType"), parameter("issuer", Kinds::CONDITION, Form::Each)],
        summary: "A name of the subject, or of the issuer: `SimpleName`, `EmailName`, `UpnName`, `DnsName`, \
                  `DnsFromAlternativeName` or `UrlName`. The empty text when there is none.",
        examples: &[],
        returns: each(Kinds::TEXT),
        body: Body::Each(|_, mut args| {
            let (kind, of_issuer) = (args.text(1), args.truth(2));
            read(args, |certificate| name_of_kind(certificate, &kind, of_issuer).map(Cell::from))
        }),
    },
    Function {
        name: "CertNotBefore",
        group: Group::Certificate,
        parameters: ONLY,
        summary: "The date from which the certificate is valid.",
        examples: &[],
        returns: each(Kinds::DATE),
        body: Body::Each(|_, args| read(args, |certificate| date(certificate.validity().not_before.timestamp()))),
    },
    Function {
        name: "CertNotAfter",
        group: Group::Certificate,
        parameters: ONLY,
        summary: "The date until which the certificate is valid: `Where($c, [userCertificate], CertNotAfter($c) > Now())` \
                  are those that have not expired.",
        examples: &[],
        returns: each(Kinds::DATE),
        body: Body::Each(|_, args| read(args, |certificate| date(certificate.validity().not_after.timestamp()))),
    },
    of_certificate("CertPublicKeyOid", "The object identifier of the key.", |_, args| {
        read(args, |certificate| Ok(certificate.public_key().algorithm.algorithm.to_id_string().into()))
    }),
    of_certificate(
        "CertPublicKeyParametersOid",
        "The object identifier among the key's parameters, such as that of a curve; of a key without one that of the key.",
        |_, args| {
            read(args, |certificate| {
                let algorithm = &certificate.public_key().algorithm;
                let curve = algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
                Ok(curve.unwrap_or_else(|| algorithm.algorithm.clone()).to_id_string().into())
            })
        },
    ),
    of_certificate("CertSerialNumber", "The serial number in hexadecimal capitals.", |_, args| {
        read(args, |certificate| Ok(upper_hex(certificate.raw_serial()).into()))
    }),
    of_certificate(
        "CertSignatureAlgorithmOid",
        "The object identifier of the algorithm of the signature.",
        |_, args| read(args, |certificate| Ok(certificate.signature_algorithm.algorithm.to_id_string().into())),
    ),
    of_certificate("CertSubject", "The name of the subject, the most specific part first.", |_, args| {
        read(args, |certificate| Ok(distinguished(certificate.subject()).into()))
    }),
    of_certificate("CertSubjectNameDN", "The distinguished name of the subject.", |_, args| {
        read(args, |certificate| Ok(distinguished(certificate.subject()).into()))
    }),
    of_certificate(
        "CertSubjectNameOid",
        "The object identifier of the first part of the subject's name.",
        |_, args| read(args, |certificate| Ok(first_oid(certificate.subject()))),
    ),
    of_certificate("CertThumbprint", "The SHA-1 hash in hexadecimal capitals.", |_, args| fingerprint(args)),
    Function {
        name: "CertVersion",
        group: Group::Certificate,
        parameters: ONLY,
        summary: "The version of the format, 3 for all that are made today.",
        examples: &[],
        returns: each(Kinds::NUMBER),
        body: Body::Each(|_, args| read(args, |certificate| Ok((i64::from(certificate.version().0) + 1).into()))),
    },
    Function {
        name: "Thumbprint",
        group: Group::Certificate,
        parameters: &[binary("value")],
        summary: "The SHA-256 hash of any binary.",
        examples: &[("Len(Thumbprint(CBin(1, 1)))", "32")],
        returns: each(Kinds::BINARY),
        body: Body::Each(|_, mut args| Ok(bytes_cell(Sha256::digest(args.bytes(0)).to_vec()))),
    },
];

pub(super) fn is_certificate(value: &Value<'_>) -> bool {
    der(value).is_some_and(|der| X509Certificate::from_der(&der).is_ok_and(|(rest, _)| rest.is_empty()))
}

/// DER as it is, or behind base64, with or without PEM's lines around it.
fn der<'v>(value: &'v Value<'_>) -> Option<Cow<'v, [u8]>> {
    let text = match value {
        Value::Binary(bytes) if bytes.first() == Some(&0x30) => return Some(Cow::Borrowed(bytes)),
        Value::Binary(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::Text(text) => text,
        Value::Integer(_) | Value::Boolean(_) | Value::Reference(_) | Value::Date(_) => return None,
    };
    let base64: String =
        text.lines().filter(|line| !line.starts_with("-----")).flat_map(str::split_whitespace).collect();
    STANDARD.decode(base64).ok().map(Cow::Owned)
}

fn with<'a, T>(value: Value<'a>, take: impl FnOnce(&X509Certificate<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let no_certificate = || Fault::value("the value is no X.509 certificate: `IsCert` tells beforehand");
    let der = der(&value).ok_or_else(no_certificate)?;
    match X509Certificate::from_der(&der) {
        Ok(([], certificate)) => take(&certificate),
        _ => Err(no_certificate()),
    }
}

fn read<'a>(
    mut args: Args<'_, 'a>,
    take: impl FnOnce(&X509Certificate<'_>) -> Result<Cell<'a>, Fault>,
) -> Result<Cell<'a>, Fault> {
    args.value(0).map_or(Ok(Cell::Null), |value| with(value, take))
}

fn fingerprint<'a>(args: Args<'_, 'a>) -> Result<Cell<'a>, Fault> {
    read(args, |certificate| Ok(upper_hex(&Sha1::digest(certificate.as_raw())).into()))
}

fn date<'a>(timestamp: i64) -> Result<Cell<'a>, Fault> {
    let date = DateTime::from_timestamp(timestamp, 0);
    date.map(|date| Cell::Value(Value::Date(date)))
        .ok_or_else(|| Fault::value("the certificate's date is out of range"))
}

fn first_oid<'a>(name: &X509Name<'_>) -> Cell<'a> {
    let mut parts: Vec<_> = name.iter_attributes().collect();
    parts.pop().map_or(Cell::Null, |part| part.attr_type().to_id_string().into())
}

/// The parts that have a short name in distinguished names.
const SHORT_NAMES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "S"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.42", "G"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "E"),
];

/// The most specific part first, parts with special characters in quotes: as the field prints names of certificates.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_attributes()
        .map(|part| {
            let oid = part.attr_type().to_id_string();
            let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map(|(_, short)| (*short).to_owned());
            let value = part.as_str().map_or_else(|_| format!("#{}", upper_hex(part.as_slice())), str::to_owned);
            let quote = value.contains([',', '+', '"', '=', '<', '>', ';', '\n']) || value.trim() != value;
            let value = if quote { format!("\"{}\"", value.replace('"', "\"\"")) } else { value };
            format!("{}={value}", short.unwrap_or_else(|| format!("OID.{oid}")))
        })
        .collect();
    parts.reverse();
    parts.join(", ")
}

fn name_of_kind(certificate: &X509Certificate<'_>, kind: &str, of_issuer: bool) -> Result<String, Fault> {
    let name = if of_issuer { certificate.issuer() } else { certificate.subject() };
    let part = |oid: &str| {
        let found = name.iter_attributes().find(|part| part.attr_type().to_id_string() == oid);
        found.and_then(|part| part.as_str().ok()).map(str::to_owned)
    };
    let alternative = |take: &dyn Fn(&GeneralName<'_>) -> Option<String>| {
        let names = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) if !of_issuer => Some(&names.general_names),
            ParsedExtension::IssuerAlternativeName(names) if of_issuer => Some(&names.general_names),
            _ => None,
        });
        names.and_then(|names| names.iter().find_map(take))
    };
    let dns = || {
        alternative(&|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
    };
    let found = match kind {
        "SimpleName" => ["2.5.4.3", "2.5.4.11", "2.5.4.10", "1.2.840.113549.1.9.1"].iter().find_map(|oid| part(oid)),
        "EmailName" => alternative(&|name| match name {
            GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            _ => None,
        })
        .or_else(|| part("1.2.840.113549.1.9.1")),
        "UpnName" => alternative(&|name| match name {
            GeneralName::OtherName(oid, value) if oid.to_id_string() == "1.3.6.1.4.1.311.20.2.3" => upn(value),
            _ => None,
        }),
        "DnsName" => dns().or_else(|| part("2.5.4.3")),
        "DnsFromAlternativeName" => dns(),
        "UrlName" => alternative(&|name| match name {
            GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        }),
        other => {
            let cause = format!(
                "`{}` is no kind of name: SimpleName, EmailName, UpnName, DnsName, DnsFromAlternativeName or UrlName",
                super::convert::short(other)
            );
            return Err(Fault::value(cause));
        }
    };
    Ok(found.unwrap_or_default())
}

/// A UTF8String within its explicit tag.
fn upn(value: &[u8]) -> Option<String> {
    use x509_parser::asn1_rs::{Any, Utf8String};
    let (_, outer) = Any::from_der(value).ok()?;
    let (_, name) = Utf8String::from_der(outer.data).ok()?;
    Some(name.string())
}
