//! What to start, and starting it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_stack::{Launch, MailServer, Server, SmsGateway, Stack};
use service_kit::keys::{KeyFiles, generate_key, generate_key_files};

use crate::{ADMIN_USERNAME, Error, Instance, LocalRolecall, PLAIN, SMS_DOMAIN, Service};

/// File of the token that the gateway to phones wants.
const SMS_TOKEN: &str = "sms-token";

/// What to start.
#[derive(Clone, Debug)]
pub struct Builder {
    programs: Option<PathBuf>,
    topic_prefix: Option<String>,
    ports: Option<[u16; 3]>,
    grpc_port: Option<u16>,
    counts: [usize; 3],
    env: Vec<(String, String)>,
    own_env: Vec<((Service, usize), (String, String))>,
    own_ports: Vec<((Service, usize), u16)>,
    elsewhere: Vec<((Service, usize), Elsewhere)>,
    sms_gateway: bool,
    start_within: Option<Duration>,
}

/// Another network than this one.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// A program and its arguments that run there what follows them, as `ip netns exec` does.
    pub enter: Vec<String>,
    /// Where the instance listens, for whoever asks from here.
    pub host: Ipv4Addr,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            programs: None,
            topic_prefix: None,
            ports: None,
            grpc_port: None,
            counts: [1; 3],
            env: vec![],
            own_env: vec![],
            own_ports: vec![],
            elsewhere: vec![],
            sms_gateway: false,
            start_within: None,
        }
    }
}

impl Builder {
    /// Folder of the three programs; where the running program lies by default.
    #[must_use]
    pub fn programs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.programs = Some(folder.into());
        self
    }

    /// Another log on the same stack.
    #[must_use]
    pub fn topic_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.topic_prefix = Some(prefix.into());
        self
    }

    #[must_use]
    pub fn commands(mut self, count: usize) -> Self {
        self.counts[Service::Command as usize] = count;
        self
    }

    #[must_use]
    pub fn queries(mut self, count: usize) -> Self {
        self.counts[Service::Query as usize] = count;
        self
    }

    #[must_use]
    pub fn projectors(mut self, count: usize) -> Self {
        self.counts[Service::Projector as usize] = count;
        self
    }

    /// Fixed ports of the first command service, query service and projector; free ones by default.
    #[must_use]
    pub fn ports(mut self, command: u16, query: u16, projector: u16) -> Self {
        self.ports = Some([command, query, projector]);
        self
    }

    /// A fixed port on which the first query service serves gRPC; a free one by default.
    #[must_use]
    pub fn grpc_port(mut self, port: u16) -> Self {
        self.grpc_port = Some(port);
        self
    }

    /// A fixed port of instance `index`.
    #[must_use]
    pub fn port_of(mut self, service: Service, index: usize, port: u16) -> Self {
        self.own_ports.push(((service, index), port));
        self
    }

    /// Runs instance `index` in another network.
    #[must_use]
    pub fn elsewhere(mut self, service: Service, index: usize, place: Elsewhere) -> Self {
        self.elsewhere.push(((service, index), place));
        self
    }

    /// Messages to phones go to [`LocalRolecall::sms`] instead of by mail.
    #[must_use]
    pub fn sms_gateway(mut self) -> Self {
        self.sms_gateway = true;
        self
    }

    /// Each is waited for as long, where a long log is to be read.
    #[must_use]
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.start_within = Some(limit);
        self
    }

    /// A further environment variable for all of them.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// One for instance `index` of a service; it goes before one for all.
    #[must_use]
    pub fn env_of(
        mut self,
        service: Service,
        index: usize,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        let variable = (name.into(), value.into());
        self.own_env.push(((service, index), variable));
        self
    }

    /// Starts the services and waits until each says it is ready.
    pub async fn start(self, stack: &Stack) -> Result<LocalRolecall, Error> {
        let programs = match &self.programs {
            Some(folder) => folder.clone(),
            None => own_folder()?,
        };
        let prefix = self.topic_prefix.clone().unwrap_or_else(|| "rolecall".to_owned());
        let folder = stack.data_dir().join(&prefix);
        let keys = generate_key_files(&folder.join("keys"))?;
        let pepper = generate_key(folder.join("keys/pepper.key"))?;
        let admin_password = password(&folder.join("admin-password"))?;
        let mail = mail_server(&folder)?;
        let sms = self.start_gateway(stack, &folder).await?;
        let messages = (&mail, sms.as_ref());
        let env = self.environment(stack, &prefix, (&keys, &pepper), &folder, messages);
        let place = Place {
            programs: &programs,
            prefix: &prefix,
            stack,
            env: &env,
        };
        migrate(&place).await?;
        // The first command service creates the log that the others wait for; they start at the same time.
        let first = async {
            match self.counts[Service::Command as usize] {
                0 => Ok(vec![]),
                _ => Ok(vec![self.instance(Service::Command, 0, &place).await?]),
            }
        };
        let [queries, projectors] =
            [Service::Query, Service::Projector].map(|service| self.instances(service, 0, &place));
        let (mut commands, queries, projectors) = tokio::try_join!(first, queries, projectors)?;
        commands.extend(self.instances(Service::Command, 1, &place).await?);
        Ok(LocalRolecall {
            instances: [commands, queries, projectors],
            keys,
            mail,
            sms,
            admin_password,
            topic_prefix: prefix,
            programs,
            certificates: stack.certificates().cloned(),
            env,
        })
    }

    /// All but the first `skipped`, at once.
    async fn instances(
        &self,
        service: Service,
        skipped: usize,
        place: &Place<'_>,
    ) -> Result<Vec<Instance>, Error> {
        let numbers = skipped..self.counts[service as usize];
        let starts = numbers.map(|index| self.instance(service, index, place));
        futures::future::try_join_all(starts).await
    }

    async fn instance(&self, service: Service, index: usize, place: &Place<'_>) -> Result<Instance, Error> {
        let own = self
            .own_ports
            .iter()
            .find(|(whose, _)| *whose == (service, index));
        let port = match (own, self.ports) {
            (Some((_, port)), _) => *port,
            (None, Some(ports)) if index == 0 => ports[service as usize],
            _ => local_stack::free_port()?,
        };
        let program = place.programs.join(service.name());
        if !program.exists() {
            return Err(Error::NotBuilt(program));
        }
        let name = match self.counts[service as usize] {
            1 => service.name().to_owned(),
            _ => format!("{}-{}", service.name(), index + 1),
        };
        let log = place.stack.log_of(&format!("{}-{name}", place.prefix));
        let own = self
            .own_env
            .iter()
            .filter(|(whose, _)| *whose == (service, index));
        let env = place.env.iter().chain(own.map(|(_, variable)| variable));
        let mut elsewhere = self.elsewhere.iter();
        let elsewhere = elsewhere.find(|(whose, _)| *whose == (service, index));
        let (host, launch) = match elsewhere.map(|(_, place)| (place.host, place.enter.as_slice())) {
            Some((host, [first, rest @ ..])) => (host, Launch::new(name, first, log).args(rest).arg(program)),
            Some((host, [])) => (host, Launch::new(name, program, log)),
            None => (Ipv4Addr::LOCALHOST, Launch::new(name, program, log)),
        };
        let address = SocketAddrV4::new(host, port);
        let scheme = if place.stack.certificates().is_some() {
            "https"
        } else {
            "http"
        };
        let launch = match self.start_within {
            Some(limit) => launch.start_within(limit),
            None => launch,
        };
        let grpc = match (service, self.grpc_port) {
            (Service::Query, Some(port)) if index == 0 => Some(port),
            (Service::Query, _) => Some(local_stack::free_port()?),
            (Service::Command | Service::Projector, _) => None,
        };
        let grpc = grpc.map(|port| SocketAddrV4::new(host, port));
        let launch = launch
            .trusting(place.stack.certificates())
            .env("ROLECALL_LISTEN", address.to_string())
            .envs(grpc.map(|address| ("ROLECALL_GRPC_LISTEN", address.to_string())))
            .envs(env.map(|(name, value)| (name, value)))
            .ready_at(format!("{scheme}://{address}/readyz"));
        let server = Server::start(launch).await?;
        Ok(Instance {
            server,
            address,
            grpc,
        })
    }

    async fn start_gateway(&self, stack: &Stack, folder: &Path) -> Result<Option<SmsGateway>, Error> {
        if !self.sms_gateway {
            return Ok(None);
        }
        let token = password(&folder.join(SMS_TOKEN))?;
        let started = SmsGateway::start(stack.certificates(), &token).await;
        started.map(Some).map_err(|cause| Error::Io {
            doing: "starting a gateway to phones".to_owned(),
            cause,
        })
    }

    fn environment(
        &self,
        stack: &Stack,
        prefix: &str,
        (keys, pepper): (&KeyFiles, &Path),
        folder: &Path,
        (mail, sms): (&MailServer, Option<&SmsGateway>),
    ) -> Vec<(String, String)> {
        let own = [
            ("ROLECALL_KAFKA", stack.kafka_bootstrap()),
            ("ROLECALL_TOPIC_PREFIX", prefix.to_owned()),
            ("ROLECALL_SCHEMA_REGISTRY_URL", stack.registry_url()),
            ("ROLECALL_SHARDS", stack.service_dsns().join(",")),
            // Everybody comes from one network here.
            ("ROLECALL_ATTEMPTS_PER_NETWORK", "1000000".to_owned()),
            ("ROLECALL_PEPPER_FILE", pepper.display().to_string()),
            ("ROLECALL_ADMIN_USERNAME", ADMIN_USERNAME.to_owned()),
            ("ROLECALL_SMTP_URL", mail.url()),
            (
                "ROLECALL_ADMIN_PASSWORD_FILE",
                folder.join("admin-password").display().to_string(),
            ),
        ];
        own.into_iter()
            .chain(transport(stack))
            .chain(to_phones(sms, stack, folder))
            .chain(keys.environment())
            .map(|(name, value)| (name.to_owned(), value))
            .chain(self.env.iter().cloned())
            .collect()
    }
}

/// By TLS with a stack that speaks it, and with each other; by plain text with one that does not.
fn transport(stack: &Stack) -> Vec<(&'static str, String)> {
    let Some(certificates) = stack.certificates() else {
        return PLAIN.map(|(name, value)| (name, value.to_owned())).to_vec();
    };
    let pair = certificates.server();
    let files = [
        ("ROLECALL_CA_FILE", certificates.authority()),
        ("ROLECALL_TLS_CERT_FILE", pair.certificate),
        ("ROLECALL_TLS_KEY_FILE", pair.key),
    ];
    files
        .map(|(name, path)| (name, path.display().to_string()))
        .to_vec()
}

/// Nobody has a phone here: codes go to the gateway, or else by mail to the digits at this domain.
fn to_phones(sms: Option<&SmsGateway>, stack: &Stack, folder: &Path) -> Vec<(&'static str, String)> {
    let Some(gateway) = sms else {
        return vec![("ROLECALL_SMS_MAIL_DOMAIN", SMS_DOMAIN.to_owned())];
    };
    let token = folder.join(SMS_TOKEN).display().to_string();
    let mut settings = vec![
        ("ROLECALL_SMS_WEBHOOK_URL", gateway.url()),
        ("ROLECALL_SMS_WEBHOOK_TOKEN_FILE", token),
    ];
    if let Some(certificates) = stack.certificates() {
        // The gateway is certified by one of the system's authorities: here that is the stack's.
        settings.push(("SSL_CERT_FILE", certificates.authority().display().to_string()));
    }
    settings
}

/// Delivers to nobody, and keeps every message in the folder.
fn mail_server(folder: &Path) -> Result<MailServer, Error> {
    MailServer::start(Some(folder.join("mail"))).map_err(|cause| Error::Io {
        doing: "starting a mail server".to_owned(),
        cause,
    })
}

/// Where and with what instances start.
struct Place<'a> {
    programs: &'a Path,
    prefix: &'a str,
    stack: &'a Stack,
    env: &'a [(String, String)],
}

/// Makes the tables, as their owner: no service may.
async fn migrate(place: &Place<'_>) -> Result<(), Error> {
    let program = place.programs.join(Service::Projector.name());
    if !program.exists() {
        return Err(Error::NotBuilt(program));
    }
    let migrating = tokio::process::Command::new(program)
        .arg("migrate")
        .envs(place.env.iter().map(|(name, value)| (name, value)))
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = migrating.await.map_err(|cause| Error::Io {
        doing: "running projector migrate".to_owned(),
        cause,
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Error::Migrating(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

/// Test programs lie one folder below the programs themselves.
fn own_folder() -> Result<PathBuf, Error> {
    let io = |cause| Error::Io {
        doing: "finding the running program".to_owned(),
        cause,
    };
    let program = std::env::current_exe().map_err(io)?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.to_owned())
}

/// Made once and kept, like the keys.
fn password(path: &Path) -> Result<String, Error> {
    let io = |cause| Error::Io {
        doing: format!("the secret in {}", path.display()),
        cause,
    };
    if !path.exists() {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let digits: u128 = rand::random();
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        write!(file, "{digits:032x}").map_err(io)?;
    }
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(io)
}
