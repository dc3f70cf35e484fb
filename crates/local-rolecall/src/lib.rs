//! Rolecall's own three services as child processes on the local stack: for the demo, `just up`,
//! the benches and the tests that go end to end. One of each, unless more are asked for.
//!
//! ```no_run
//! # async fn example() -> Result<(), local_rolecall::Error> {
//! let stack = local_stack::Stack::builder().start().await?;
//! let rolecall = local_rolecall::LocalRolecall::builder().start(&stack).await?;
//! println!("{}", rolecall.command_url());
//! rolecall.projector().kill().await?; // as a crash would
//! rolecall.projector().restart().await?;
//! # Ok(())
//! # }
//! ```
//!
//! To add a service: give it a [`Service`] and an accessor.

mod builder;
mod ports;

use std::fmt::Display;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use local_stack::{Certificates, MailServer, Server, SmsGateway};
use service_kit::keys::{KeyError, KeyFiles};

pub use builder::{Builder, Elsewhere};
use ports::PORTS;
pub use ports::{is_free, port_or_free};

/// The first administrator's user name here.
pub const ADMIN_USERNAME: &str = "admin";

/// Domain of the addresses to which messages to phones go here.
pub const SMS_DOMAIN: &str = "sms.example.org";

/// What programs need to be told that they are to speak plain text with a stack that does.
pub const PLAIN: [(&str, &str); 2] = [
    ("ROLECALL_PLAINTEXT", "allowed"),
    ("ROLECALL_KAFKA_SECURITY", "plaintext"),
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Stack(#[from] local_stack::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{doing}: {cause}")]
    Io { doing: String, cause: std::io::Error },
    #[error("no free port between {} and {}", PORTS.start, PORTS.end)]
    NoFreePort,
    #[error("making the tables of the shards: {0}")]
    Migrating(String),
    #[error("the program {0} is not built: run cargo build first")]
    NotBuilt(PathBuf),
}

/// A kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Command,
    Query,
    Projector,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::Command, Self::Query, Self::Projector];

    /// Of its program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command-service",
            Self::Query => "query-service",
            Self::Projector => "projector",
        }
    }
}

struct Instance {
    server: Server,
    address: SocketAddrV4,
    /// Of a query service.
    grpc: Option<SocketAddrV4>,
}

/// The running services. Dropping it kills them.
pub struct LocalRolecall {
    instances: [Vec<Instance>; 3],
    keys: KeyFiles,
    mail: MailServer,
    sms: Option<SmsGateway>,
    admin_password: String,
    topic_prefix: String,
    programs: PathBuf,
    certificates: Option<Certificates>,
    env: Vec<(String, String)>,
}

impl LocalRolecall {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The first one, or the only one.
    pub fn command(&self) -> &Server {
        self.server(Service::Command, 0)
    }

    pub fn query(&self) -> &Server {
        self.server(Service::Query, 0)
    }

    pub fn projector(&self) -> &Server {
        self.server(Service::Projector, 0)
    }

    /// # Panics
    /// If there is no instance `index`, counted from 0.
    pub fn server(&self, service: Service, index: usize) -> &Server {
        &self.instances[service as usize][index].server
    }

    pub fn count(&self, service: Service) -> usize {
        self.instances[service as usize].len()
    }

    /// All of one kind.
    pub fn servers(&self, service: Service) -> impl Iterator<Item = &Server> {
        self.instances[service as usize].iter().map(|it| &it.server)
    }

    pub fn commands(&self) -> impl Iterator<Item = &Server> {
        self.servers(Service::Command)
    }

    pub fn queries(&self) -> impl Iterator<Item = &Server> {
        self.servers(Service::Query)
    }

    pub fn projectors(&self) -> impl Iterator<Item = &Server> {
        self.servers(Service::Projector)
    }

    pub fn all(&self) -> impl Iterator<Item = &Server> {
        Service::ALL.into_iter().flat_map(|service| self.servers(service))
    }

    pub fn command_url(&self) -> String {
        self.url(Service::Command, 0)
    }

    pub fn query_url(&self) -> String {
        self.url(Service::Query, 0)
    }

    pub fn projector_url(&self) -> String {
        self.url(Service::Projector, 0)
    }

    /// # Panics
    /// If there is no instance `index`, counted from 0.
    pub fn url(&self, service: Service, index: usize) -> String {
        self.url_of(self.instances[service as usize][index].address)
    }

    /// Root of what a service of the same settings serves there.
    pub fn url_of(&self, address: impl Display) -> String {
        let scheme = if self.certificates.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{address}")
    }

    /// Root of what query service `index` serves over gRPC.
    ///
    /// # Panics
    /// If there is no such instance, counted from 0.
    pub fn grpc_url(&self, index: usize) -> String {
        let address = self.instances[Service::Query as usize][index].grpc;
        self.url_of(address.expect("a query service serves gRPC"))
    }

    /// What the services serve HTTPS with: those of the stack.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// # Panics
    /// If there is no instance `index`, counted from 0.
    pub fn port(&self, service: Service, index: usize) -> u16 {
        self.instances[service as usize][index].address.port()
    }

    pub fn keys(&self) -> &KeyFiles {
        &self.keys
    }

    /// Gets every message that the services send.
    pub fn mail(&self) -> &MailServer {
        &self.mail
    }

    /// Gets every message to a phone, if it was asked for; else they are mails too.
    pub fn sms(&self) -> Option<&SmsGateway> {
        self.sms.as_ref()
    }

    pub fn admin_password(&self) -> &str {
        &self.admin_password
    }

    pub fn topic_prefix(&self) -> &str {
        &self.topic_prefix
    }

    /// Where a program lies that was started here, for another run of it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// What the services were started with: enough for the replay tools too.
    pub fn environment(&self) -> &[(String, String)] {
        &self.env
    }

    /// Stops the doors first, then what feeds them.
    pub async fn shutdown(self) -> Result<(), Error> {
        futures::future::try_join_all(self.commands().map(Server::stop)).await?;
        let rest = self.queries().chain(self.projectors());
        futures::future::try_join_all(rest.map(Server::stop)).await?;
        Ok(())
    }
}
