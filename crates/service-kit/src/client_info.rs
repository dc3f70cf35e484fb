//! Where a request comes from: address, user agent and coarse network.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use clap::Args;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MAX_USER_AGENT: usize = 512;

/// Whether a proxy in front of the service tells the caller's address.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ProxyConfig {
    /// Take the caller's address from X-Forwarded-For. Only behind a proxy that sets it itself.
    #[arg(long = "trust-proxy", env = "ROLECALL_TRUST_PROXY")]
    pub trust_proxy: bool,
}

/// State of a service that knows whether to trust its proxy.
pub trait TrustsProxy {
    fn trusts_proxy(&self) -> bool;
}

impl<T: TrustsProxy + ?Sized> TrustsProxy for Arc<T> {
    fn trusts_proxy(&self) -> bool {
        (**self).trusts_proxy()
    }
}

/// Extractor. Address and user agent are personal data: they go into events only encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    pub address: Option<IpAddr>,
    /// At most 512 bytes, without control characters.
    pub user_agent: Option<String>,
    /// ISO 3166-1 alpha-2, if the service knows where addresses are.
    pub country_code: Option<String>,
    pub city: Option<String>,
}

impl ClientInfo {
    /// The caller's network, coarse enough to be kept in plain.
    pub fn network(&self) -> Option<String> {
        self.address.map(coarse_network)
    }

    fn read(headers: &HeaderMap, peer: Option<SocketAddr>, trust_proxy: bool) -> Self {
        let forwarded = if trust_proxy { forwarded_for(headers) } else { None };
        Self {
            address: forwarded
                .or(peer.map(|peer| peer.ip()))
                .map(|address| address.to_canonical()),
            user_agent: user_agent(headers),
            country_code: None,
            city: None,
        }
    }
}

/// The last entry: the one the proxy itself added. Those before it are the caller's word.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .next_back()?
        .to_str()
        .ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes());
    let mut clean: String = text.chars().filter(|c| !c.is_control()).collect();
    clean.truncate(clean.floor_char_boundary(MAX_USER_AGENT));
    (!clean.is_empty()).then_some(clean)
}

/// `a.b.0.0/16` or the first 32 bits of an IPv6 address.
pub fn coarse_network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, _, _] = v4.octets();
            format!("{a}.{b}.0.0/16")
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            format!("{}/32", Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0))
        }
    }
}

impl<S: TrustsProxy + Send + Sync> FromRequestParts<S> for ClientInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0);
        Ok(Self::read(&parts.headers, peer, state.trusts_proxy()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    fn address(forwarded: &[&str], trust: bool) -> String {
        let pairs: Vec<_> = forwarded.iter().map(|value| (X_FORWARDED_FOR, *value)).collect();
        let peer = "[::ffff:10.0.0.9]:5000".parse().ok();
        ClientInfo::read(&headers(&pairs), peer, trust)
            .address
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_forged_address_counts_only_if_the_proxy_wrote_it() {
        assert_eq!(address(&["192.0.2.1"], false), "10.0.0.9");
        assert_eq!(address(&["192.0.2.1"], true), "192.0.2.1");
        assert_eq!(address(&["6.6.6.6, 192.0.2.1"], true), "192.0.2.1");
        assert_eq!(address(&["6.6.6.6", "192.0.2.1"], true), "192.0.2.1");
        assert_eq!(address(&["unknown"], true), "10.0.0.9");
        assert_eq!(address(&[], true), "10.0.0.9");
    }

    #[test]
    fn networks_are_coarse() {
        let network = |text: &str| coarse_network(text.parse().unwrap());
        assert_eq!(network("192.0.2.77"), "192.0.0.0/16");
        assert_eq!(network("::ffff:192.0.2.77"), "192.0.0.0/16");
        assert_eq!(network("2001:db8:1:2::3"), "2001:db8::/32");
    }

    #[test]
    fn a_user_agent_is_bounded_at_a_character() {
        let long = "\u{e9}".repeat(400);
        let client = ClientInfo::read(&headers(&[(USER_AGENT, &long)]), None, false);
        assert_eq!(client.user_agent.unwrap().len(), 512);
        let odd = format!("x{long}");
        let client = ClientInfo::read(&headers(&[(USER_AGENT, &odd)]), None, false);
        assert_eq!(client.user_agent.unwrap().len(), 511);
        assert_eq!(
            ClientInfo::read(&HeaderMap::new(), None, false),
            ClientInfo::default()
        );
    }
}
