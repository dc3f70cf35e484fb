//! Whether Kafka is spoken to by TLS.

use std::path::PathBuf;

use rdkafka::ClientConfig;
use transport::Trust;

/// Options, each also an environment variable.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct KafkaSecurity {
    /// How Kafka's listener is spoken to.
    #[arg(
        long,
        env = "ROLECALL_KAFKA_SECURITY",
        value_enum,
        default_value_t,
        global = true
    )]
    pub kafka_security: KafkaProtocol,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KafkaProtocol {
    /// TLS, with a broker that shows a certificate of its host.
    #[default]
    Ssl,
    Plaintext,
}

/// What a client of Kafka is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Plaintext,
    Ssl {
        ca: Option<PathBuf>,
        /// Certificate and key.
        client: Option<(PathBuf, PathBuf)>,
    },
}

impl Security {
    pub fn new(wanted: KafkaSecurity, trust: &Trust) -> Result<Self, transport::Error> {
        match wanted.kafka_security {
            KafkaProtocol::Plaintext => {
                trust.permit(|| "ROLECALL_KAFKA_SECURITY is plaintext".to_owned())?;
                Ok(Self::Plaintext)
            }
            KafkaProtocol::Ssl => Ok(Self::Ssl {
                ca: trust.ca_file.clone(),
                client: trust
                    .client()?
                    .map(|(certificate, key)| (certificate.to_owned(), key.to_owned())),
            }),
        }
    }

    pub fn apply(&self, config: &mut ClientConfig) {
        let Self::Ssl { ca, client } = self else {
            config.set("security.protocol", "plaintext");
            return;
        };
        config
            .set("security.protocol", "ssl")
            // Their defaults, and not to be left to them.
            .set("enable.ssl.certificate.verification", "true")
            .set("ssl.endpoint.identification.algorithm", "https");
        if let Some(ca) = ca {
            config.set("ssl.ca.location", ca.display().to_string());
        }
        if let Some((certificate, key)) = client {
            config
                .set("ssl.certificate.location", certificate.display().to_string())
                .set("ssl.key.location", key.display().to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_refused_unless_it_is_allowed() {
        let wanted = KafkaSecurity {
            kafka_security: KafkaProtocol::Plaintext,
        };
        let refused = Security::new(wanted, &Trust::public()).unwrap_err();
        assert!(matches!(refused, transport::Error::Plain(_)), "{refused}");
        let secure = Security::new(KafkaSecurity::default(), &Trust::public()).unwrap();
        let mut config = ClientConfig::new();
        secure.apply(&mut config);
        assert_eq!(config.get("security.protocol"), Some("ssl"));
    }
}
