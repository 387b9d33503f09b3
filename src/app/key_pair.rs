//! A private key with its certificate as one secret of the installation.

use zeroize::Zeroizing;

/// Length of the private key (four bytes, big-endian), private key, certificate.
pub fn pack(pkcs8: &[u8], certificate: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u32::try_from(pkcs8.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + pkcs8.len() + certificate.len()));
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(pkcs8);
    bytes.extend_from_slice(certificate);
    bytes
}

pub fn unpack(bytes: &[u8]) -> Option<(Zeroizing<Vec<u8>>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (pkcs8, certificate) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((Zeroizing::new(pkcs8.to_vec()), certificate))
}
