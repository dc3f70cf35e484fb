//! Configuration, from flags or the environment.

use std::net::SocketAddr;

use clap::Parser;
use event_log::{KafkaConfig, KafkaSecurity};
use read_model::ShardOptions;
use service_kit::cors::AllowedOrigins;
use service_kit::jwt::TokenConfig;
use service_kit::keys::KeyFiles;
use transport::{CertificateFiles, Trust};

/// Rolecall's query service: checks and reads over HTTP.
// No Debug: DSNs hold passwords.
#[derive(Parser, Clone)]
#[command(version)]
pub struct Config {
    /// Kafka's bootstrap servers, host:port by commas.
    #[arg(long, env = "ROLECALL_KAFKA")]
    pub kafka: String,
    /// First part of every topic's name.
    #[arg(long, env = "ROLECALL_TOPIC_PREFIX", default_value = "rolecall")]
    pub topic_prefix: String,
    #[command(flatten)]
    pub trust: Trust,
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
    #[command(flatten)]
    pub certificate: CertificateFiles,
    #[command(flatten)]
    pub shards: ShardOptions,
    /// Address to serve on.
    #[arg(long, env = "ROLECALL_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Address to serve gRPC on, checks and Envoy's external authorization; not served by default.
    #[arg(long, env = "ROLECALL_GRPC_LISTEN")]
    pub grpc_listen: Option<SocketAddr>,
    /// Root URL under which callers reach this service, for discovery documents; by default the
    /// address it serves on.
    #[arg(long, env = "ROLECALL_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Connections to each shard at most; they are opened when needed.
    #[arg(long, env = "ROLECALL_SHARD_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub shard_connections: u32,
    #[command(flatten)]
    pub keys: KeyFiles,
    #[command(flatten)]
    pub tokens: TokenConfig,
    #[command(flatten)]
    pub origins: AllowedOrigins,
}

impl Config {
    pub(crate) fn kafka_config(&self) -> Result<KafkaConfig, transport::Error> {
        KafkaConfig::new(&self.kafka, &self.topic_prefix, self.kafka_security, &self.trust)
    }

    /// Without a slash at its end.
    pub(crate) fn public_url(&self, served: SocketAddr) -> String {
        if let Some(url) = &self.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let host = match served {
            // "Every address" is none that a caller could use.
            any if any.ip().is_unspecified() => format!("localhost:{}", any.port()),
            one => one.to_string(),
        };
        format!("{}://{host}", self.certificate.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Config {
        let needed = ["query-service", "--kafka", "k:9092", "--shards", "a"];
        Config::try_parse_from(needed.iter().chain(more)).unwrap()
    }

    #[test]
    fn the_public_url_is_one_that_a_caller_can_use() {
        let url = |config: Config, served: &str| config.public_url(served.parse().unwrap());
        assert_eq!(url(parse(&[]), "0.0.0.0:8081"), "http://localhost:8081");
        assert_eq!(url(parse(&[]), "127.0.0.1:80"), "http://127.0.0.1:80");
        let secure = parse(&["--tls-cert-file", "c.pem", "--tls-key-file", "k.pem"]);
        assert_eq!(url(secure, "127.0.0.1:80"), "https://127.0.0.1:80");
        let given = parse(&["--public-url", "https://pdp.example.org/"]);
        assert_eq!(url(given, "0.0.0.0:8081"), "https://pdp.example.org");
    }
}
