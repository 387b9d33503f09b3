//! The dialects of base64 that password schemes use.

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding may be there or not, and the bits behind the last byte may be set: real data has both.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const AB64: Alphabet = match Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./") {
    Ok(alphabet) => alphabet,
    Err(_) => panic!("64 different characters"),
};
const BCRYPT: Alphabet = match Alphabet::new("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") {
    Ok(alphabet) => alphabet,
    Err(_) => panic!("64 different characters"),
};

static STANDARD_ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
static AB64_ENGINE: GeneralPurpose = GeneralPurpose::new(&AB64, LENIENT);
static BCRYPT_ENGINE: GeneralPurpose = GeneralPurpose::new(&BCRYPT, LENIENT);

/// RFC 4648 base64.
pub(super) fn standard(text: &str) -> Option<Vec<u8>> {
    STANDARD_ENGINE.decode(text).ok()
}

/// Adapted base64 of passlib and pw-pbkdf2: `.` in place of `+`, no padding. `+` is read too, as some writers keep it.
pub(super) fn adapted(text: &str) -> Option<Vec<u8>> {
    if text.contains('+') { standard(text) } else { AB64_ENGINE.decode(text).ok() }
}

/// The same, written.
pub(super) fn write_adapted(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes).replace('+', ".")
}

/// bcrypt's own alphabet.
pub(super) fn bcrypt(text: &str) -> Option<Vec<u8>> {
    BCRYPT_ENGINE.decode(text).ok()
}
