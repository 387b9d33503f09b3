//! `[limits]`: what one network, and all together, may take of the gateway.

use super::reader::Table;
use super::words::setting_words;

setting_words! {
    /// Whether what one network may take is bounded.
    PerNetwork {
        /// The address of a connection is the browser's.
        On = "on",
        /// A balancer hides the browsers: all would count as one network.
        Off = "off",
    } "on, off"
}

#[derive(Clone, Debug)]
pub struct LimitsSettings {
    pub networks: PerNetwork,
    /// Connections at once to the public listener of a node.
    pub connections: usize,
    /// Of these, what one network (IPv4 /24, IPv6 /56) may hold.
    pub connections_per_network: usize,
    /// Requests of sign-in that one network may make in a minute, in the long run. A sign-in with a password takes three.
    pub requests_per_minute: u32,
    /// How many of them it may make at once, after a quiet time.
    pub requests_at_once: u32,
}

impl LimitsSettings {
    pub(super) fn read(table: Table<'_>) -> Self {
        let count = |key, range| table.number(key, range).and_then(|count| usize::try_from(count).ok());
        let connections = count("connections", 64..=1_000_000).unwrap_or(8192);
        let rate = |key| table.number(key, 30..=10_000_000).and_then(|count| u32::try_from(count).ok());
        let requests_per_minute = rate("requests_per_minute").unwrap_or(3000);
        let settings = Self {
            networks: table.parsed("networks", "write on or off").unwrap_or(PerNetwork::On),
            connections,
            connections_per_network: count("connections_per_network", 8..=1_000_000).unwrap_or(connections / 4),
            requests_per_minute,
            requests_at_once: rate("requests_at_once").unwrap_or(requests_per_minute),
        };
        table.finish();
        settings
    }

    /// What an operator should know of the choice.
    pub(super) fn warning(&self) -> Option<String> {
        (self.networks == PerNetwork::Off).then(|| {
            "limits.networks is \"off\": one host can take all connections and tries; prefer a balancer that speaks the \
             PROXY protocol, and gateway.proxy_protocol_from"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::config::reader::Source;

    fn read(text: &str) -> (LimitsSettings, usize) {
        let source = Source::new("landbridge.toml".as_ref(), text.to_owned());
        let settings = {
            let parsed = DeTable::parse(source.text()).expect("TOML");
            LimitsSettings::read(Table::root(&source, parsed.get_ref()))
        };
        (settings, source.into_problems().len())
    }

    #[test]
    fn absent_keys_bound_every_network_and_let_a_large_office_through() {
        let (settings, problems) = read("");
        assert_eq!((settings.networks, problems), (PerNetwork::On, 0));
        assert!(settings.connections_per_network < settings.connections && settings.warning().is_none());
        assert!(settings.requests_per_minute >= 3 * 1000, "a thousand people in a minute");
    }

    #[test]
    fn turning_them_off_is_told_and_nonsense_refused() {
        let (settings, problems) = read("networks = \"off\"\nconnections = 100\nrequests_per_minute = 60");
        assert_eq!((settings.connections_per_network, settings.requests_at_once, problems), (25, 60, 0));
        assert!(settings.warning().is_some_and(|text| text.contains("proxy_protocol_from")));
        assert_eq!(read("networks = \"maybe\"\nconnections = 1\nbucket = 3").1, 3);
    }
}
