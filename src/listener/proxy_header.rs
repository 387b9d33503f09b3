//! The PROXY protocol, version 2, as a balancer in front of the gateway speaks it (HAProxy's `proxy-protocol.txt`,
//! section 2.2): where the connection really comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = SIGNATURE.len() + 4;
/// Longest rest of a header: addresses, and what a balancer may tell besides.
const MOST: usize = 4096;

/// Why a connection of a balancer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HeaderFault {
    #[error("the connection ended within the PROXY header")]
    Ended(#[from] std::io::Error),
    #[error("the connection does not begin with a PROXY header of version 2")]
    Absent,
    #[error("the PROXY header is of a kind that is not known")]
    Unknown,
    #[error("the PROXY header is longer than {MOST} bytes")]
    TooLong,
    #[error("the PROXY header is shorter than its addresses")]
    Short,
}

/// Reads the header that a balancer sends first. `None`: the balancer speaks for itself, such as to see whether we live.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, HeaderFault> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let length = rest_length(&head)?;
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    source(&head, &rest)
}

fn rest_length(head: &[u8; HEAD]) -> Result<usize, HeaderFault> {
    if head[..SIGNATURE.len()] != SIGNATURE {
        return Err(HeaderFault::Absent);
    }
    if head[12] >> 4 != 2 {
        return Err(HeaderFault::Unknown);
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MOST { Err(HeaderFault::TooLong) } else { Ok(length) }
}

fn source(head: &[u8; HEAD], rest: &[u8]) -> Result<Option<SocketAddr>, HeaderFault> {
    match (head[12] & 0x0f, head[13]) {
        // LOCAL: whatever addresses follow are to be ignored.
        (0, _) => Ok(None),
        // PROXY, TCP over IPv4: source, destination, and their ports.
        (1, 0x11) => {
            let &[a, b, c, d, _, _, _, _, high, low, ..] = rest else { return Err(HeaderFault::Short) };
            if rest.len() < 12 {
                return Err(HeaderFault::Short);
            }
            Ok(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low]))))
        }
        // The same over IPv6.
        (1, 0x21) => {
            let (Some(address), Some(&[high, low, _, _])) = (rest.first_chunk::<16>(), rest.get(32..36)) else {
                return Err(HeaderFault::Short);
            };
            Ok(Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*address)), u16::from_be_bytes([high, low]))))
        }
        _ => Err(HeaderFault::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
    }

    async fn read_all(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), HeaderFault> {
        let mut stream = bytes;
        let source = read(&mut stream).await?;
        Ok((source, stream.len()))
    }

    #[tokio::test]
    async fn the_source_is_told_and_what_follows_is_left() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xc0, 0x01, 0x01, 0xbb];
        let mut v6 = [0_u8; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets());
        v6[32..34].copy_from_slice(&[0xc0, 0x01]);
        let with_more = [&v4[..], &[0x04, 0, 1, 9]].concat();
        for (bytes, source) in [
            (header(1, 0x11, &v4), Some("192.0.2.7:49153")),
            (header(1, 0x11, &with_more), Some("192.0.2.7:49153")),
            (header(1, 0x21, &v6), Some("[2001:db8::7]:49153")),
            (header(0, 0, &[]), None),
            (header(0, 0x11, &v4), None),
        ] {
            let bytes = [&bytes[..], b"\x16\x03\x01"].concat();
            let source = source.map(|text| text.parse::<SocketAddr>().expect("an address"));
            assert_eq!(read_all(&bytes).await.expect("a header"), (source, 3));
        }
    }

    #[tokio::test]
    async fn whatever_else_comes_first_is_refused() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xc0, 0x01, 0x01, 0xbb];
        let mut version_one = header(1, 0x11, &v4);
        version_one[12] = 0x11;
        let long = header(1, 0x11, &[0; MOST + 1]);
        for (bytes, fault) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(), "does not begin"),
            (vec![0x16; 64], "does not begin"),
            (version_one, "of a kind"),
            (header(1, 0x12, &v4), "of a kind"),
            (header(2, 0x11, &v4), "of a kind"),
            (header(1, 0x11, &v4[..11]), "shorter"),
            (header(1, 0x21, &v4), "shorter"),
            (long, "longer"),
            (header(1, 0x11, &v4)[..20].to_vec(), "ended"),
            (vec![], "ended"),
        ] {
            let told = read_all(&bytes).await.expect_err("no header").to_string();
            assert!(told.contains(fault), "{told}: {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(command in 0_u8..16, family: u8, rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let bytes = header(command, family, &rest);
            let head = bytes.first_chunk::<HEAD>().expect("a head");
            let length = rest_length(head).expect("a good head");
            prop_assert_eq!(length, rest.len());
            let _ = source(head, &rest);
        }
    }
}
