//! PostgreSQL clusters, each with the shard databases. `initdb` and the databases are made once and copied after that.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::{Certificates, Error, Launch, Probe, Result, files};

/// The superuser inside the database.
pub(crate) const USER: &str = "rolecall";
const OLDEST: u32 = 15;

/// The installed program.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    bin: PathBuf,
    version: u32,
    templates: PathBuf,
    /// The account it runs as: PostgreSQL refuses to run as root.
    account: Option<(u32, u32)>,
}

impl Postgres {
    /// The newest installed version that is new enough.
    pub fn find(cache: &Path) -> Result<Option<Self>> {
        let debian = files::list(Path::new("/usr/lib/postgresql")).unwrap_or_default();
        let in_path = files::find_program("initdb")
            .and_then(|it| fs::canonicalize(it).ok()?.parent().map(Path::to_owned));
        let folders = debian
            .into_iter()
            .map(|version| version.join("bin"))
            .chain(in_path);
        let versions = folders.filter_map(|bin| Some((version(&bin)?, bin)));
        let Some((version, bin)) = versions.filter(|(version, _)| *version >= OLDEST).max() else {
            return Ok(None);
        };
        Ok(Some(Self {
            bin,
            version,
            templates: cache.to_owned(),
            account: account()?,
        }))
    }

    pub fn has_template(&self, shards: usize) -> bool {
        self.template(shards).is_dir()
    }

    /// Makes a cluster with `shards` databases in the cache.
    pub fn write_template(&self, shards: usize) -> Result<()> {
        files::build_once(&self.template(shards), |partial| {
            let work = files::temp_dir("rolecall-postgres-", None)?;
            self.give(work.path())?;
            let data = work.path().join("data");
            let mut initdb = self.command("initdb");
            initdb.current_dir(work.path()).arg("-D").arg(&data);
            initdb.args([
                "--username",
                USER,
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]);
            initdb.args(["--auth-local=trust", "--auth-host=trust"]);
            files::run(&mut initdb)?;
            self.single_user(&data, "template1", EXTENSIONS)?;
            let databases = (0..shards).map(create_database);
            let statements: Vec<String> = statements(ROLES).map(str::to_owned).chain(databases).collect();
            self.single_user(&data, "postgres", &statements.join("\n"))?;
            files::append(&data.join("postgresql.conf"), SETTINGS)?;
            files::copy_tree(&data, &partial.join("data"))
        })
    }

    /// Runs a statement a line in the server's single-user mode: no server to wait for, and no flush for each
    /// database.
    fn single_user(&self, data: &Path, database: &str, script: &str) -> Result<()> {
        let mut single = self.command("postgres");
        single
            .current_dir(data)
            .args(["--single", "-c", "fsync=off", "-D"])
            .arg(data)
            .arg(database);
        let mut child = single
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("run postgres --single"))?;
        if let Some(mut input) = child.stdin.take() {
            writeln!(input, "{script}").map_err(Error::io("write to postgres --single"))?;
        }
        let output = child
            .wait_with_output()
            .map_err(Error::io("wait for postgres --single"))?;
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() && !printed.contains("ERROR") {
            return Ok(());
        }
        Err(Error::Tool {
            program: "postgres --single".to_owned(),
            status: output.status,
            output: printed,
        })
    }

    /// Copies the template unless the folder holds a cluster, and says how to start it.
    pub fn prepare(&self, cluster: &Cluster, shards: usize, data: &Path, log: &Path) -> Result<Launch> {
        let data = self.accessible(data)?;
        if !data.join("PG_VERSION").is_file() {
            let partial = data.with_extension("partial");
            files::remove_dir(&partial)?;
            files::copy_tree(&self.template(shards).join("data"), &partial)?;
            self.give(&partial)?;
            files::rename(&partial, &data)?;
        }
        self.launch(cluster, &data, log)
    }

    /// Copies a running cluster unless the folder holds one already, and says how to start it as its hot standby.
    pub fn prepare_replica(
        &self,
        of: &Cluster,
        replica: &Cluster,
        data: &Path,
        log: &Path,
    ) -> Result<Launch> {
        let data = self.accessible(data)?;
        if !data.join("PG_VERSION").is_file() {
            files::create_dir(&data)?;
            files::set_mode(&data, 0o700)?;
            self.give(&data)?;
            let mut copy = self.command("pg_basebackup");
            copy.current_dir(&data).arg("--pgdata").arg(&data);
            copy.arg("--host").arg(&of.socket_dir);
            copy.args(["--port", &of.port.to_string(), "--username", USER]);
            copy.args([
                "--write-recovery-conf",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--no-sync",
            ]);
            files::run(&mut copy)?;
        }
        self.launch(replica, &data, log)
    }

    fn launch(&self, cluster: &Cluster, data: &Path, log: &Path) -> Result<Launch> {
        self.give(&cluster.socket_dir)?;
        files::set_mode(&cluster.socket_dir, 0o755)?;
        self.set_access(cluster, data)?;
        let ssl = if cluster.tls.is_some() { "on" } else { "off" };
        Ok(Launch::new(cluster.name.clone(), self.bin.join("postgres"), log)
            .arg("-D")
            .arg(data)
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("ssl={ssl}"), "-c"])
            .arg(format!(
                "unix_socket_directories={}",
                cluster.socket_dir.display()
            ))
            .args(["-p", &cluster.port.to_string()])
            .user(self.account)
            .stop_signal(Signal::SIGINT) // "fast": ends sessions instead of waiting for them
            .transient(&[
                "pre-existing shared memory block",
                "lock file \"postmaster.pid\" already exists",
            ])
            .probe(Probe::Postgres {
                socket: cluster.socket(),
                user: USER,
            }))
    }

    /// Who may come in, and by what, in the files where the server looks for it.
    fn set_access(&self, cluster: &Cluster, data: &Path) -> Result<()> {
        let mut written = vec![data.join("pg_hba.conf")];
        let by_tcp = match &cluster.tls {
            Some(certificates) => {
                let (pair, files) = (
                    certificates.server(),
                    [data.join("server.crt"), data.join("server.key")],
                );
                files::write(&files[0], &files::read(&pair.certificate)?)?;
                files::write_secret(&files[1], &files::read(&pair.key)?)?;
                written.extend(files);
                "hostssl"
            }
            None => "host",
        };
        let access = format!(
            "local all all trust\nlocal replication all trust\n{by_tcp} all all 127.0.0.1/32 trust\n"
        );
        files::write(&written[0], &access)?;
        written.iter().try_for_each(|file| self.give(file))
    }

    fn template(&self, shards: usize) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        (ROLES, EXTENSIONS, SETTINGS).hash(&mut hasher);
        let (version, content) = (self.version, hasher.finish());
        self.templates
            .join(format!("postgres-{version}-with-{shards}-shards-{content:016x}"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes the server's account the owner, where it isn't ours.
    fn give(&self, path: &Path) -> Result<()> {
        match self.account {
            Some((uid, gid)) => files::run(
                Command::new("chown")
                    .arg("-R")
                    .arg(format!("{uid}:{gid}"))
                    .arg(path),
            )
            .map(drop),
            None => Ok(()),
        }
    }

    /// The server's account may be unable to pass through the folders above, such as `/root`. Then the data lives
    /// elsewhere, and a link shows where.
    fn accessible(&self, data: &Path) -> Result<PathBuf> {
        let all_open = data
            .ancestors()
            .skip(1)
            .all(|dir| fs::metadata(dir).is_ok_and(|it| it.mode() & 0o001 != 0));
        if self.account.is_none() || all_open {
            return Ok(data.to_owned());
        }
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        let parent = PathBuf::from(format!("/var/lib/rolecall-local-stack/{:016x}", hasher.finish()));
        files::create_dir(&parent)?;
        let elsewhere = parent.join("data");
        if !data.exists() {
            files::remove_dir(&elsewhere)?; // left by a folder of this name that was removed
            if data.is_symlink() {
                files::remove_file(data)?;
            }
            symlink(&elsewhere, data).map_err(Error::io(format!("link {}", data.display())))?;
        }
        Ok(elsewhere)
    }
}

/// One running cluster, as clients see it.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub name: String,
    pub port: u16,
    pub socket_dir: PathBuf,
    /// What it speaks TLS with, and nothing else by TCP.
    pub tls: Option<Certificates>,
}

impl Cluster {
    /// Through the Unix socket: no TCP stack between. Without "&", so a shell may read it unquoted.
    pub fn dsn(&self, user: Option<&str>, shard: usize) -> String {
        let folder = self.socket_dir.display().to_string().replace('/', "%2F");
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("postgres://{user}{folder}:{}/{}", self.port, database(shard))
    }

    /// As services reach it, each as its own role: by TLS where there is any, and through the socket otherwise.
    pub fn service_dsn(&self, shard: usize) -> String {
        match self.tls {
            Some(_) => format!("postgres://127.0.0.1:{}/{}", self.port, database(shard)),
            None => self.dsn(None, shard),
        }
    }

    fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }
}

pub(crate) fn database(shard: usize) -> String {
    format!("rolecall_shard_{shard:02}")
}

fn create_database(shard: usize) -> String {
    let database = database(shard);
    format!("CREATE DATABASE {database} OWNER rolecall_owner STRATEGY FILE_COPY")
}

/// Of a script with one a line.
fn statements(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
}

/// `postgres (PostgreSQL) 15.13 (Debian ...)`
fn version(bin: &Path) -> Option<u32> {
    if !bin.join("initdb").is_file() {
        return None;
    }
    let printed = files::run(Command::new(bin.join("postgres")).arg("--version")).ok()?;
    let number = printed
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

fn account() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    match User::from_name("postgres")
        .map_err(|errno| Error::io("look up the account postgres")(errno.into()))?
    {
        Some(user) => Ok(Some((user.uid.as_raw(), user.gid.as_raw()))),
        None => Err(Error::Missing {
            what: "the account postgres (the server refuses to run as root)".to_owned(),
            command: "useradd --system postgres".to_owned(),
        }),
    }
}

/// As for any cluster that holds shards.
const ROLES: &str = include_str!("../../read-model/roles.sql");

/// In each database; in a schema of their own, so that the tables' can be dropped.
const EXTENSIONS: &str = "CREATE SCHEMA monitoring
CREATE EXTENSION pg_stat_statements SCHEMA monitoring";

/// Durable as in production; in the file, not on the command line, so a test can change them.
const SETTINGS: &str = "
# Rolecall's local stack
shared_buffers = 256MB
max_connections = 300
wal_level = replica
fsync = on
synchronous_commit = on
max_wal_size = 2GB
jit = off
shared_preload_libraries = 'pg_stat_statements'
timezone = 'UTC'
log_timezone = 'UTC'
";

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::postgres::PgConnectOptions;

    #[test]
    fn the_dsn_goes_through_the_socket() {
        let cluster = Cluster {
            name: "postgres".to_owned(),
            port: 20_001,
            socket_dir: "/tmp/rcX".into(),
            tls: None,
        };
        let options: PgConnectOptions = cluster.dsn(Some(USER), 3).parse().unwrap();
        assert_eq!(
            options.get_socket().map(PathBuf::as_path),
            Some(Path::new("/tmp/rcX"))
        );
        assert_eq!((options.get_port(), options.get_username()), (20_001, "rolecall"));
        assert_eq!(options.get_database(), Some("rolecall_shard_03"));
        assert!(!cluster.dsn(None, 3).contains('@'));
    }
}
