//! Why a SAML message was refused: one variant per rule, each with the code that the audit record carries.

/// The reason a message was refused. A refusal is final: nothing of the message may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SamlRefusal {
    #[error("message is longer than the limit")]
    TooLarge,
    #[error("message is not base64")]
    NotBase64,
    #[error("message is not utf-8")]
    NotUtf8,
    #[error("message declares another encoding than utf-8 or another version than xml 1.0")]
    EncodingForbidden,
    #[error("document type declaration")]
    DtdForbidden,
    #[error("message is not well-formed xml")]
    Malformed,
    #[error("xml comment")]
    CommentForbidden,
    #[error("xml processing instruction")]
    ProcessingInstructionForbidden,
    #[error("cdata section")]
    CdataForbidden,
    #[error("elements are nested deeper than the limit")]
    TooDeep,
    #[error("more elements or attributes than the limit")]
    TooManyNodes,
    #[error("more attribute values than the limit")]
    TooManyAttributeValues,
    #[error("id is missing or not a name")]
    IdMalformed,
    #[error("two elements share one id")]
    DuplicateId,
    #[error("message is not of the expected kind")]
    UnexpectedRoot,
    #[error("message or assertion is not of saml version 2.0")]
    UnsupportedVersion,
    #[error("encrypted content is not supported")]
    EncryptedContent,
    #[error("response carries no assertion")]
    AssertionMissing,
    #[error("more than one assertion")]
    SeveralAssertions,
    #[error("assertion is not a direct child of the response")]
    AssertionMisplaced,
    #[error("neither response nor assertion is signed")]
    Unsigned,
    #[error("signature outside the place the schema gives it")]
    SignatureMisplaced,
    #[error("signature has parts that the profile does not allow")]
    SignatureMalformed,
    #[error("not exactly one signed info in a signature")]
    SignedInfoCount,
    #[error("not exactly one reference in a signature")]
    ReferenceCount,
    #[error("reference does not name the element that carries the signature")]
    ReferenceForeign,
    #[error("transform other than enveloped signature and canonicalization")]
    TransformForbidden,
    #[error("canonicalization is not allowed")]
    CanonicalizationForbidden,
    #[error("signature algorithm is not allowed")]
    SignatureAlgorithmForbidden,
    #[error("digest algorithm is not allowed")]
    DigestAlgorithmForbidden,
    #[error("digest value is not a digest")]
    DigestMalformed,
    #[error("object inside a signature")]
    ObjectForbidden,
    #[error("key info names a key in a way that is not allowed")]
    KeyInfoForbidden,
    #[error("no configured certificate fits the signature algorithm")]
    NoMatchingCertificate,
    #[error("every configured certificate that fits has expired")]
    CertificateExpired,
    #[error("signature does not verify with any configured certificate")]
    SignatureInvalid,
    #[error("what was verified is not what was expected")]
    VerifiedPartMismatch,
    #[error("response has no status")]
    StatusMissing,
    #[error("partner reports no success: {0}")]
    StatusNotSuccess(String),
    #[error("issuer is missing")]
    IssuerMissing,
    #[error("issuer is not the partner that was asked")]
    IssuerMismatch,
    #[error("destination is missing from a signed response")]
    DestinationMissing,
    #[error("destination is not this service")]
    DestinationMismatch,
    #[error("response answers no request")]
    Unsolicited,
    #[error("response answers another request")]
    InResponseToMismatch,
    #[error("message was issued in the future")]
    IssuedInFuture,
    #[error("instant is not a utc date and time")]
    InstantMalformed,
    #[error("conditions are missing or repeated")]
    ConditionsMissing,
    #[error("condition is not understood")]
    ConditionUnknown,
    #[error("assertion names no audience")]
    AudienceMissing,
    #[error("assertion is for another audience")]
    AudienceMismatch,
    #[error("assertion is not yet valid")]
    NotYetValid,
    #[error("assertion has expired")]
    Expired,
    #[error("subject or its name identifier is missing or repeated")]
    SubjectMissing,
    #[error("name identifier is empty, too long or not plain text")]
    NameIdMalformed,
    #[error("no bearer confirmation")]
    BearerMissing,
    #[error("bearer confirmation lacks recipient or expiry, or has a start")]
    ConfirmationMalformed,
    #[error("recipient is not this service")]
    RecipientMismatch,
    #[error("subject confirmation has expired")]
    ConfirmationExpired,
    #[error("no authentication statement")]
    AuthnStatementMissing,
    #[error("the partner's session has ended")]
    SessionExpired,
    #[error("attribute is not plain text")]
    AttributeMalformed,
    #[error("query parameter is missing, repeated or unknown to the binding")]
    QueryMalformed,
    #[error("request is for another assertion consumer service")]
    ConsumerServiceMismatch,
}

impl SamlRefusal {
    /// The stable code of this refusal in audit records.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "saml.too_large",
            Self::NotBase64 => "saml.not_base64",
            Self::NotUtf8 => "saml.not_utf8",
            Self::EncodingForbidden => "saml.encoding_forbidden",
            Self::DtdForbidden => "saml.dtd_forbidden",
            Self::Malformed => "saml.malformed",
            Self::CommentForbidden => "saml.comment_forbidden",
            Self::ProcessingInstructionForbidden => "saml.processing_instruction_forbidden",
            Self::CdataForbidden => "saml.cdata_forbidden",
            Self::TooDeep => "saml.too_deep",
            Self::TooManyNodes => "saml.too_many_nodes",
            Self::TooManyAttributeValues => "saml.too_many_attribute_values",
            Self::IdMalformed => "saml.id_malformed",
            Self::DuplicateId => "saml.duplicate_id",
            Self::UnexpectedRoot => "saml.unexpected_root",
            Self::UnsupportedVersion => "saml.unsupported_version",
            Self::EncryptedContent => "saml.encrypted_content",
            Self::AssertionMissing => "saml.assertion_missing",
            Self::SeveralAssertions => "saml.several_assertions",
            Self::AssertionMisplaced => "saml.assertion_misplaced",
            Self::Unsigned => "saml.unsigned",
            Self::SignatureMisplaced => "saml.signature_misplaced",
            Self::SignatureMalformed => "saml.signature_malformed",
            Self::SignedInfoCount => "saml.signed_info_count",
            Self::ReferenceCount => "saml.reference_count",
            Self::ReferenceForeign => "saml.reference_foreign",
            Self::TransformForbidden => "saml.transform_forbidden",
            Self::CanonicalizationForbidden => "saml.canonicalization_forbidden",
            Self::SignatureAlgorithmForbidden => "saml.signature_algorithm_forbidden",
            Self::DigestAlgorithmForbidden => "saml.digest_algorithm_forbidden",
            Self::DigestMalformed => "saml.digest_malformed",
            Self::ObjectForbidden => "saml.object_forbidden",
            Self::KeyInfoForbidden => "saml.key_info_forbidden",
            Self::NoMatchingCertificate => "saml.no_matching_certificate",
            Self::CertificateExpired => "saml.certificate_expired",
            Self::SignatureInvalid => "saml.signature_invalid",
            Self::VerifiedPartMismatch => "saml.verified_part_mismatch",
            Self::StatusMissing => "saml.status_missing",
            Self::StatusNotSuccess(_) => "saml.status_not_success",
            Self::IssuerMissing => "saml.issuer_missing",
            Self::IssuerMismatch => "saml.issuer_mismatch",
            Self::DestinationMissing => "saml.destination_missing",
            Self::DestinationMismatch => "saml.destination_mismatch",
            Self::Unsolicited => "saml.unsolicited",
            Self::InResponseToMismatch => "saml.in_response_to_mismatch",
            Self::IssuedInFuture => "saml.issued_in_future",
            Self::InstantMalformed => "saml.instant_malformed",
            Self::ConditionsMissing => "saml.conditions_missing",
            Self::ConditionUnknown => "saml.condition_unknown",
            Self::AudienceMissing => "saml.audience_missing",
            Self::AudienceMismatch => "saml.audience_mismatch",
            Self::NotYetValid => "saml.not_yet_valid",
            Self::Expired => "saml.expired",
            Self::SubjectMissing => "saml.subject_missing",
            Self::NameIdMalformed => "saml.name_id_malformed",
            Self::BearerMissing => "saml.bearer_missing",
            Self::ConfirmationMalformed => "saml.confirmation_malformed",
            Self::RecipientMismatch => "saml.recipient_mismatch",
            Self::ConfirmationExpired => "saml.confirmation_expired",
            Self::AuthnStatementMissing => "saml.authn_statement_missing",
            Self::SessionExpired => "saml.session_expired",
            Self::AttributeMalformed => "saml.attribute_malformed",
            Self::QueryMalformed => "saml.query_malformed",
            Self::ConsumerServiceMismatch => "saml.consumer_service_mismatch",
        }
    }
}
