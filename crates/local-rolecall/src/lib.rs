//! Rolecall's own three services as child processes on the local stack: for the demo, `just up`,
//! the benches and the tests that go end to end.
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
//! To add a service: give it a launch like those in `start` and an accessor.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use local_stack::{Launch, Server, Stack};
use service_kit::keys::{KeyError, KeyFiles, generate_key_files};

/// The first administrator's user name here.
pub const ADMIN_USERNAME: &str = "admin";

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
    #[error("the program {0} is not built: run cargo build first")]
    NotBuilt(PathBuf),
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    programs: Option<PathBuf>,
    topic_prefix: Option<String>,
    ports: Option<[u16; 3]>,
    env: Vec<(String, String)>,
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

    /// Fixed ports of command service, query service and projector; free ones by default.
    #[must_use]
    pub fn ports(mut self, command: u16, query: u16, projector: u16) -> Self {
        self.ports = Some([command, query, projector]);
        self
    }

    /// A further environment variable for all three.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
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
        let admin_password = password(&folder.join("admin-password"))?;
        let ports = match self.ports {
            Some(ports) => ports,
            None => [free_port()?, free_port()?, free_port()?],
        };
        let env = self.environment(stack, &prefix, &keys, &folder);
        let launch = |name: &str, port: u16| -> Result<Launch, Error> {
            let program = programs.join(name);
            if !program.exists() {
                return Err(Error::NotBuilt(program));
            }
            let log = stack.log_of(&format!("{prefix}-{name}"));
            Ok(Launch::new(name, program, log)
                .envs(env.iter().map(|(name, value)| (name, value)))
                .env("ROLECALL_LISTEN", format!("127.0.0.1:{port}"))
                .ready_at(format!("http://127.0.0.1:{port}/readyz")))
        };
        // The command service creates the log that the others wait for; they start at the same time.
        let (command, query, projector) = tokio::try_join!(
            Server::start(launch("command-service", ports[0])?),
            Server::start(launch("query-service", ports[1])?),
            Server::start(launch("projector", ports[2])?),
        )?;
        Ok(LocalRolecall {
            command,
            query,
            projector,
            ports,
            keys,
            admin_password,
            topic_prefix: prefix,
            programs,
            env,
        })
    }

    fn environment(
        &self,
        stack: &Stack,
        prefix: &str,
        keys: &KeyFiles,
        folder: &Path,
    ) -> Vec<(String, String)> {
        let own = [
            ("ROLECALL_KAFKA", stack.kafka_bootstrap()),
            ("ROLECALL_TOPIC_PREFIX", prefix.to_owned()),
            ("ROLECALL_SCHEMA_REGISTRY_URL", stack.registry_url()),
            ("ROLECALL_SHARDS", stack.shard_dsns().join(",")),
            // Everybody comes from one network here.
            ("ROLECALL_ATTEMPTS_PER_NETWORK", "1000000".to_owned()),
            ("ROLECALL_ADMIN_USERNAME", ADMIN_USERNAME.to_owned()),
            (
                "ROLECALL_ADMIN_PASSWORD_FILE",
                folder.join("admin-password").display().to_string(),
            ),
        ];
        own.into_iter()
            .chain(keys.environment())
            .map(|(name, value)| (name.to_owned(), value))
            .chain(self.env.iter().cloned())
            .collect()
    }
}

/// The running services. Dropping it kills them.
pub struct LocalRolecall {
    command: Server,
    query: Server,
    projector: Server,
    ports: [u16; 3],
    keys: KeyFiles,
    admin_password: String,
    topic_prefix: String,
    programs: PathBuf,
    env: Vec<(String, String)>,
}

impl LocalRolecall {
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub fn command(&self) -> &Server {
        &self.command
    }

    pub fn query(&self) -> &Server {
        &self.query
    }

    pub fn projector(&self) -> &Server {
        &self.projector
    }

    pub fn command_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    pub fn projector_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[2])
    }

    pub fn keys(&self) -> &KeyFiles {
        &self.keys
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
        self.command.stop().await?;
        tokio::try_join!(self.query.stop(), self.projector.stop())?;
        Ok(())
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
        doing: format!("the administrator's password in {}", path.display()),
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

/// Whether nobody listens on this port.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// This port if nobody has it, else a free one.
pub fn port_or_free(port: u16) -> Result<u16, Error> {
    if is_free(port) { Ok(port) } else { free_port() }
}

/// Below the range from which the kernel gives ports to outgoing connections.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

fn free_port() -> Result<u16, Error> {
    for _ in 0..200 {
        let port = rand::random_range(PORTS);
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Error::NoFreePort)
}
