//! From which address a request came.
//!
//! The server knows the other end of its connection. Behind a proxy that is the proxy, which says in
//! `X-Forwarded-For` for whom it asks; anybody else can write anything there, so the word of an address counts only
//! when the configuration trusts it.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, request::Parts},
};

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Hops that are looked at: nobody has more proxies in a row.
const MAX_HOPS: usize = 16;

/// The other end of the connection. The server puts it into the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// An address, or a range of them such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u32,
}

/// The text is neither an address nor a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidNetwork;

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an IP address, or a range such as 10.0.0.0/8")
    }
}
impl std::error::Error for InvalidNetwork {}

impl Network {
    /// Whether an address lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (own, other, bits) = match (self.first, plain(address)) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let ignored: u32 = bits - self.prefix;
        let cut = |number: u128| number.checked_shr(ignored).unwrap_or_default();
        cut(own) == cut(other)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let first: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let whole = if first.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(whole), |prefix| prefix.parse().map_err(|_| InvalidNetwork))?;
        if prefix > whole {
            return Err(InvalidNetwork);
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The proxies whose word is taken. None by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// Those that lie in these networks.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// The first address, seen from here, that is not one of ours. Where something unreadable stands before it, the
    /// last proxy that could be read.
    pub(crate) fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = plain(peer);
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = values
            .flat_map(|value| value.to_str().unwrap_or_default().rsplit(','))
            .take(MAX_HOPS);
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            let Ok(address) = hop.trim().parse() else { break };
            client = plain(address);
        }
        client
    }
}

/// An IPv4 address in the clothes of IPv6 is one all the same.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// From which address the request came; absent where no server has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl ClientAddress {
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let peer = extensions.get::<PeerAddress>();
        Self(peer.map(|PeerAddress(peer)| proxies.client_of(*peer, headers)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_word_of_a_trusted_proxy_counts() {
        let table = "
            trusted                peer           forwarded                    | client
            -                      203.0.113.9    198.51.100.7                 | 203.0.113.9
            10.0.0.0/8             10.1.2.3       -                            | 10.1.2.3
            10.0.0.0/8             10.1.2.3       198.51.100.7                 | 198.51.100.7
            10.0.0.0/8             10.1.2.3       1.1.1.1,198.51.100.7         | 198.51.100.7
            10.0.0.0/8             10.1.2.3       198.51.100.7,10.9.9.9        | 198.51.100.7
            10.0.0.0/8             11.1.2.3       198.51.100.7                 | 11.1.2.3
            10.0.0.0/8             10.1.2.3       198.51.100.7,nonsense        | 10.1.2.3
            127.0.0.1              127.0.0.1      10.0.0.1,10.0.0.2            | 10.0.0.2
            127.0.0.1              ::ffff:127.0.0.1 198.51.100.7               | 198.51.100.7
            2001:db8::/32          2001:db8::1    2001:db9::1                  | 2001:db9::1
            0.0.0.0/0              10.1.2.3       1.1.1.1,198.51.100.7         | 1.1.1.1
        ";
        for line in table
            .lines()
            .skip(2)
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "|").collect();
            let networks = words[0].split(',').filter(|text| *text != "-");
            let proxies = TrustedProxies::new(networks.map(|text| text.parse().unwrap()));
            let mut headers = HeaderMap::new();
            if words[2] != "-" {
                headers.insert(FORWARDED_FOR, HeaderValue::from_str(words[2]).unwrap());
            }
            let client = proxies.client_of(words[1].parse().unwrap(), &headers);
            assert_eq!(client.to_string(), words[3], "{line}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "proxy.example.com",
            "::/129",
            "10.0.0.0/-1",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(InvalidNetwork), "{wrong}");
        }
    }

    #[test]
    fn several_headers_are_one_list_read_from_its_end() {
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"));
        headers.append(FORWARDED_FOR, HeaderValue::from_static("198.51.100.7, 10.0.0.2"));
        let client = proxies.client_of("10.0.0.1".parse().unwrap(), &headers);
        assert_eq!(client.to_string(), "198.51.100.7");
    }
}
