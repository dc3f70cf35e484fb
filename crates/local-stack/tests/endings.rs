//! However its owner ends, nothing of a stack is left: no process and no data.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use local_stack::Stack;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Set for the process that is to end.
const ROLE: &str = "ROLECALL_TEST_OWNER";

#[test]
fn ctrl_c_stops_the_servers_and_removes_their_data() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_local-stack"));
    program.args(["run", "--kafka-nodes", "0", "--postgres-clusters", "0"]);
    let (mut owner, data) = start(program);
    let servers = children_of(owner.id());
    assert!(servers.len() >= 2, "registry and Redis: {servers:?}");
    kill(Pid::from_raw(owner.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(owner.wait().unwrap().success());
    assert_nothing_left(&servers, &data);
}

/// Runs itself as the owner that panics.
#[tokio::test]
async fn a_panic_stops_the_servers_and_removes_their_data() {
    if std::env::var_os(ROLE).is_some() {
        return panic_with_a_stack().await;
    }
    let mut itself = Command::new(std::env::current_exe().unwrap());
    let name = "a_panic_stops_the_servers_and_removes_their_data";
    itself.args(["--exact", name, "--nocapture"]).env(ROLE, "1");
    itself.stdin(Stdio::piped()).stderr(Stdio::null());
    let (mut owner, data) = start(itself);
    let servers = children_of(owner.id());
    assert_eq!(servers.len(), 1, "Redis: {servers:?}");
    drop(owner.stdin.take());
    assert!(!owner.wait().unwrap().success());
    assert_nothing_left(&servers, &data);
}

/// Panics once its standard input is closed.
async fn panic_with_a_stack() {
    let builder = Stack::builder()
        .kafka_nodes(0)
        .postgres_clusters(0)
        .registry(false);
    let stack = builder.start().await.unwrap();
    println!("\nDATA_DIR={}", stack.data_dir().display());
    std::io::stdin().lines().for_each(drop);
    panic!("with {stack:?}");
}

/// Returns once the program has named its data folder, when all its servers are up.
fn start(mut program: Command) -> (Child, String) {
    let mut owner = program.stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(owner.stdout.take().unwrap()).lines();
    let mut said = said.map(Result::unwrap);
    let data = said.find_map(|line| line.strip_prefix("DATA_DIR=").map(str::to_owned));
    // The rest must find a reader.
    std::thread::spawn(move || said.for_each(drop));
    (owner, data.unwrap())
}

fn children_of(owner: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|&pid| state_and_parent(pid).is_some_and(|(_, parent)| parent == owner))
        .collect()
}

fn assert_nothing_left(servers: &[u32], data: &str) {
    for &pid in servers {
        // A zombie has ended; its parent has not asked yet.
        let state = state_and_parent(pid).map(|(state, _)| state);
        assert!(
            matches!(state.as_deref(), None | Some("Z")),
            "process {pid} is left"
        );
    }
    assert!(!Path::new(data).exists(), "{data} is left");
}

/// `/proc/<pid>/stat` is `pid (name) state ppid ...`, and the name may hold anything.
fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut words = after_name.split_whitespace();
    let state = words.next()?.to_owned();
    Some((state, words.next()?.parse().ok()?))
}
