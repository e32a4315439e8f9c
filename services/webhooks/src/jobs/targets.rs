//! Which addresses a webhook may reach. A subscriber chooses the URL, so without a rule it could make this
//! service speak to whatever it can reach itself: databases, metadata services, the mesh port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use url::{Host, Url};

/// Addresses and names that are allowed although they are not public: `WEBHOOKS_ALLOWED_TARGETS`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    networks: Vec<Network>,
    /// Lower case.
    hosts: Vec<String>,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Network {
    first: IpAddr,
    prefix: u8,
}

/// A target that webhooks may not reach; the text says why, for the subscriber to read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Forbidden {
    #[error("{address} is not a public address; the operator may allow it in WEBHOOKS_ALLOWED_TARGETS")]
    Literal { address: IpAddr },
    #[error(
        "{host} leads to {address}, which is not a public address; the operator may allow it in WEBHOOKS_ALLOWED_TARGETS"
    )]
    NotPublic { host: String, address: IpAddr },
}

impl Targets {
    /// Reads the setting's entries: CIDRs, addresses and host names.
    ///
    /// # Errors
    /// Names the entry that is none of them.
    pub fn parse(entries: &[String]) -> anyhow::Result<Self> {
        let mut targets = Self::default();
        for entry in entries {
            let (address, prefix) =
                entry.split_once('/').map_or((entry.as_str(), None), |(a, p)| (a, Some(p)));
            match (address.parse::<IpAddr>(), prefix) {
                (Ok(first), prefix) => {
                    targets.networks.push(Network::new(first, prefix).with_context(|| {
                        format!("WEBHOOKS_ALLOWED_TARGETS: `{entry}` is not a network like 10.0.0.0/8")
                    })?)
                }
                (Err(_), None) if matches!(Host::parse(entry), Ok(Host::Domain(_))) => {
                    targets.hosts.push(name(entry));
                }
                (Err(_), _) => anyhow::bail!(
                    "WEBHOOKS_ALLOWED_TARGETS: `{entry}` is neither a network like 10.0.0.0/8 nor a host name"
                ),
            }
        }
        Ok(targets)
    }

    /// Checks all addresses that a host name stands for: one bad address makes the name bad.
    ///
    /// # Errors
    /// Says which address is not allowed.
    pub fn check(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), Forbidden> {
        if self.hosts.contains(&name(host)) {
            return Ok(());
        }
        match addresses.iter().map(SocketAddr::ip).find(|address| !self.allows(*address)) {
            Some(address) => Err(Forbidden::NotPublic { host: host.to_owned(), address }),
            None => Ok(()),
        }
    }

    /// Checks an URL whose host is an address; of a name nothing is known before it is looked up.
    ///
    /// # Errors
    /// Says which address is not allowed.
    pub fn check_literal(&self, url: &Url) -> Result<(), Forbidden> {
        match literal(url) {
            Some(address) if !self.allows(address) => Err(Forbidden::Literal { address }),
            Some(_) | None => Ok(()),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.networks.iter().any(|network| network.contains(address))
    }
}

/// The address that an URL names instead of a host name.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

fn name(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

impl Network {
    fn new(first: IpAddr, prefix: Option<&str>) -> anyhow::Result<Self> {
        let longest = if first.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse)?;
        anyhow::ensure!(prefix <= longest, "the prefix is too long");
        Ok(Self { first, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                first.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                first.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // "This network", carrier-grade NAT, protocol assignments, 6to4 relays, benchmarks, reserved.
        [0, ..]
        | [100, 64..=127, ..]
        | [192, 0, 0, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [240..=255, ..] => true,
        _ => {
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || address.is_multicast()
        }
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 leads to the IPv4 address at its end.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Protocol assignments with Teredo, documentation, 6to4: inside what is otherwise public.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Only 2000::/3 is given out as public.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(entries: &[&str]) -> anyhow::Result<Targets> {
        Targets::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
    }

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 443)).collect()
    }

    #[test]
    fn nothing_but_the_public_internet_is_reachable() {
        let none = Targets::default();
        let refused = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "fec0::1",
            "5f00::1",
            "3fff::1",
        ];
        for address in refused {
            assert!(none.check("x", &addresses(&[address])).is_err(), "{address}");
        }
        for address in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert_eq!(none.check("x", &addresses(&[address])), Ok(()), "{address}");
        }
    }

    #[test]
    fn one_private_address_makes_a_name_bad() {
        let error =
            Targets::default().check("evil.example", &addresses(&["1.1.1.1", "10.0.0.1"])).unwrap_err();
        assert!(error.to_string().starts_with("evil.example leads to 10.0.0.1, which is not"));
    }

    #[test]
    fn the_operator_allows_networks_and_names() {
        let targets = targets(&["10.1.0.0/16", "192.168.5.5", "fd00::/8", "Hooks.Internal"]).unwrap();
        for (host, address, allowed) in [
            ("a", "10.1.2.3", true),
            ("a", "10.2.0.1", false),
            ("a", "192.168.5.5", true),
            ("a", "192.168.5.6", false),
            ("a", "fd00::1", true),
            ("a", "::ffff:10.1.2.3", true),
            ("hooks.internal", "10.9.9.9", true),
            ("HOOKS.internal.", "10.9.9.9", true),
            ("x.hooks.internal", "10.9.9.9", false),
        ] {
            assert_eq!(targets.check(host, &addresses(&[address])).is_ok(), allowed, "{host} {address}");
        }
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        for entry in ["10.0.0.0/33", "10.0.0.0/x", "fd00::/129", "a b", "hooks.internal/8"] {
            let error = targets(&[entry]).unwrap_err().to_string();
            assert!(error.contains("WEBHOOKS_ALLOWED_TARGETS") && error.contains(entry), "{error}");
        }
        assert!(
            targets(&["0.0.0.0/0", "::/0"]).unwrap().check("x", &addresses(&["10.0.0.1", "::1"])).is_ok()
        );
    }

    #[test]
    fn an_address_in_disguise_is_still_an_address() {
        let none = Targets::default();
        for url in
            ["http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://[::ffff:7f00:1]/", "http://0/"]
        {
            assert!(none.check_literal(&Url::parse(url).unwrap()).is_err(), "{url}");
        }
        assert!(none.check_literal(&Url::parse("https://hooks.example.com/").unwrap()).is_ok());
    }
}
