//! What must be on the machine: Debian packages, and jars in the cache folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;

use crate::jvm::Java;
use crate::kafka::Kafka;
use crate::postgres::Postgres;
use crate::registry::Registry;
use crate::{Error, Progress, Result, files};

/// Which servers are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub kafka: bool,
    pub registry: bool,
    /// With this number of shards in the template.
    pub postgres: Option<usize>,
    pub redis: bool,
}

/// The installed programs that were wanted.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub kafka: Option<Kafka>,
    pub registry: Option<Registry>,
    pub postgres: Option<Postgres>,
    pub redis: Option<PathBuf>,
}

/// Installs and fetches all that a stack with `shards` shards needs, without starting it.
pub async fn install(cache: Option<PathBuf>, shards: usize, progress: Progress) -> Result<()> {
    let wanted = Wanted {
        kafka: true,
        registry: true,
        postgres: Some(shards),
        redis: true,
    };
    let cache = cache.unwrap_or_else(default_cache);
    programs(&cache, wanted, &progress).await.map(drop)
}

/// `$XDG_CACHE_HOME/rolecall/stack` or `$HOME/.cache/rolecall/stack`.
pub(crate) fn default_cache() -> PathBuf {
    let folder = |variable| {
        std::env::var_os(variable)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("rolecall/stack")
}

/// Finds what is wanted, and installs what is missing.
pub(crate) async fn programs(cache: &Path, wanted: Wanted, progress: &Progress) -> Result<Programs> {
    let (cache, progress) = (cache.to_owned(), progress.clone());
    let (programs, lock) = tokio::task::spawn_blocking({
        let progress = progress.clone();
        move || {
            let lock = files::lock_cache(&cache)?;
            install_packages(&cache, wanted, &progress)?;
            let programs = Programs::find(&cache, wanted)?;
            programs.fetch(wanted, &progress)?;
            Ok::<_, Error>((programs, lock))
        }
    })
    .await??;
    if let Some(kafka) = programs.kafka.as_ref().filter(|it| !it.has_archive()) {
        let step = progress.step("kafka", "recording its classes for quick starts (once)");
        kafka.write_archive().await?;
        step.done("classes recorded");
    }
    if let Some(registry) = programs.registry.as_ref().filter(|it| !it.has_archive()) {
        let step = progress.step("registry", "recording its classes for quick starts (once)");
        registry.write_archive().await?;
        step.done("classes recorded");
    }
    drop(lock);
    Ok(programs)
}

impl Programs {
    fn find(cache: &Path, wanted: Wanted) -> Result<Self> {
        let redis = || files::find_program("redis-server");
        let java = || Java::find().ok_or_else(|| missing(&[JAVA]));
        Ok(Self {
            kafka: wanted
                .kafka
                .then(|| java().map(|java| Kafka::new(cache, java)))
                .transpose()?,
            registry: wanted
                .registry
                .then(|| java().map(|java| Registry::new(cache, java)))
                .transpose()?,
            postgres: match wanted.postgres {
                Some(_) => Some(Postgres::find(cache)?.ok_or_else(|| missing(&[POSTGRES]))?),
                None => None,
            },
            redis: wanted
                .redis
                .then(|| redis().ok_or_else(|| missing(&[REDIS])))
                .transpose()?,
        })
    }

    fn fetch(&self, wanted: Wanted, progress: &Progress) -> Result<()> {
        if let Some(kafka) = self.kafka.as_ref().filter(|it| !it.is_fetched()) {
            let step = progress.step("kafka", "fetching jars (once)");
            kafka.fetch()?;
            step.done("jars fetched");
        }
        if let Some(registry) = self.registry.as_ref().filter(|it| !it.is_fetched()) {
            let step = progress.step("registry", "fetching jars (once)");
            registry.fetch()?;
            step.done("jars fetched");
        }
        if let (Some(postgres), Some(shards)) = (&self.postgres, wanted.postgres)
            && !postgres.has_template(shards)
        {
            let step = progress.step("postgres", "preparing the databases (once)");
            postgres.write_template(shards)?;
            step.done("databases prepared");
        }
        Ok(())
    }
}

const JAVA: Package = Package {
    name: "default-jre-headless",
    what: "Java 17 or newer",
};
const MAVEN: Package = Package {
    name: "maven",
    what: "Maven (mvn)",
};
const POSTGRES: Package = Package {
    name: "postgresql",
    what: "PostgreSQL 15 or newer",
};
const REDIS: Package = Package {
    name: "redis-server",
    what: "Redis (redis-server)",
};

#[derive(Debug, Clone, Copy)]
struct Package {
    name: &'static str,
    what: &'static str,
}

/// Installs missing Debian packages as root; anyone else is told what to run.
fn install_packages(cache: &Path, wanted: Wanted, progress: &Progress) -> Result<()> {
    let packages = missing_packages(cache, wanted)?;
    if packages.is_empty() {
        return Ok(());
    }
    if !geteuid().is_root() || files::find_program("apt-get").is_none() {
        return Err(missing(&packages));
    }
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    let step = progress.step("packages", &format!("installing {}", names.join(", ")));
    files::run(apt_get().arg("update"))?;
    files::run(
        apt_get()
            .args(["install", "-y", "--no-install-recommends"])
            .args(&names),
    )?;
    step.done("installed");
    let still = missing_packages(cache, wanted)?;
    if still.is_empty() {
        Ok(())
    } else {
        Err(missing(&still))
    }
}

/// Installs one more Debian package, if this machine and account can; a test that wants it may do without.
pub async fn install_package(name: &'static str) -> Result<()> {
    tokio::task::spawn_blocking(move || {
        if !geteuid().is_root() || files::find_program("apt-get").is_none() {
            return Err(missing(&[Package { name, what: name }]));
        }
        let install = || files::run(apt_get().args(["install", "-y", "--no-install-recommends", name]));
        if install().is_err() {
            files::run(apt_get().arg("update"))?;
            install()?;
        }
        Ok(())
    })
    .await?
}

fn missing_packages(cache: &Path, wanted: Wanted) -> Result<Vec<Package>> {
    let mut packages = vec![];
    if wanted.kafka || wanted.registry {
        match Java::find() {
            None => {
                packages.push(JAVA);
                packages.extend((!has_maven()).then_some(MAVEN));
            }
            Some(java) => {
                let fetched = (!wanted.kafka || Kafka::new(cache, java.clone()).is_fetched())
                    && (!wanted.registry || Registry::new(cache, java).is_fetched());
                packages.extend((!fetched && !has_maven()).then_some(MAVEN));
            }
        }
    }
    packages.extend((wanted.postgres.is_some() && Postgres::find(cache)?.is_none()).then_some(POSTGRES));
    packages.extend((wanted.redis && files::find_program("redis-server").is_none()).then_some(REDIS));
    Ok(packages)
}

fn has_maven() -> bool {
    files::find_program("mvn").is_some()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.env("RUNLEVEL", "1"); // Debian starts no service of its own then: we need the programs only
    command
}

fn missing(packages: &[Package]) -> Error {
    let what: Vec<&str> = packages.iter().map(|package| package.what).collect();
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    Error::Missing {
        what: what.join(", "),
        command: format!("sudo apt-get install -y {}", names.join(" ")),
    }
}
