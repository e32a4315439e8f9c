//! Real clusters, real signals. A killed launcher is this test program started once more (see [`play_a_part`]).

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

use super::*;

/// Set for a child: what it shall do, and in which folder.
const PART: &str = "ANNOMESH_TEST_PART";
const FOLDER: &str = "ANNOMESH_TEST_FOLDER";

/// A new empty folder that the server's account can enter; removed in the end, kept if the test fails.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("annomesh-test-{}-{number}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder.canonicalize().unwrap())
    }
}

impl std::ops::Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn binaries() -> Binaries {
    Binaries::find().expect(Binaries::HOW_TO_INSTALL)
}

async fn run(url: &str, statement: &str) {
    let mut connection = AsyncPgConnection::establish(url).await.unwrap();
    connection.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn is_alive(pid: u32) -> bool {
    // A process that nobody has reaped yet has ended for us.
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap().stdout;
    !state.trim_ascii().is_empty() && !state.starts_with(b"Z")
}

async fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts this program again to play a part, and waits for the line in which it says what it has.
fn start_part(part: &str, folder: &Path) -> (Child, String) {
    let module = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::play_a_part"), "--nocapture"])
        .env(PART, part)
        .env(FOLDER, folder)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The test harness may have begun the line with the test's name.
    let said = lines.find_map(|line| Some(line.split_once("I have ")?.1.to_owned()));
    // The harness dies of a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, said.expect("the child ended without a word"))
}

/// In the test run proper this does nothing. In a child it starts what it is told and waits to be killed.
#[tokio::test]
async fn play_a_part() {
    let (Some(part), Some(folder)) = (std::env::var_os(PART), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = PathBuf::from(folder);
    if part == OsStr::new("shared") {
        let cluster = SharedCluster::join(&folder, Duration::from_secs(2)).unwrap();
        let server = Postmaster::running_on(&cluster.folder().join("data")).unwrap();
        println!("I have {}", server.pid());
        tokio::time::sleep(Duration::from_millis(300)).await;
        return;
    }
    let options = match part.to_str() {
        Some("durable") => Options::durable(folder, binaries()),
        _ => Options::throwaway(folder, binaries()),
    };
    let cluster = Cluster::start(options).await.unwrap();
    println!("I have {}", cluster.process_id());
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn data_survives_stop_and_start() {
    let folder = Scratch::new("durable, with a comma");
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    run(&cluster.url("postgres"), "CREATE DATABASE \"my db\"").await;
    run(&cluster.url("my db"), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").await;
    cluster.stop().await.unwrap();

    let began = Instant::now();
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    println!("start of an existing folder: {:?}", began.elapsed());
    run(&cluster.url("my db"), "DO $$ BEGIN ASSERT (SELECT n FROM kept) = 7; END $$").await;
    let settings = "DO $$ BEGIN
        ASSERT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on';
        ASSERT current_setting('listen_addresses') = '' AND current_setting('max_connections') = '200';
        ASSERT current_setting('client_connection_check_interval') = '100ms';
        ASSERT current_setting('server_encoding') = 'UTF8';
        ASSERT (SELECT datcollate FROM pg_database WHERE datname = 'my db') = 'C';
    END $$";
    run(&cluster.url("my db"), settings).await;
    cluster.stop().await.unwrap();
    assert!(folder.join("data/PG_VERSION").exists());
}

#[tokio::test]
async fn the_url_is_one_that_the_url_crate_reads() {
    let text = url_of(Path::new("/tmp/a b/ä"), "projects");
    assert_eq!(text, "postgresql://annomesh@%2Ftmp%2Fa%20b%2F%C3%A4/projects");
    let mut url = url::Url::parse(&text).unwrap();
    url.set_path("/billing");
    assert_eq!(url.as_str(), "postgresql://annomesh@%2Ftmp%2Fa%20b%2F%C3%A4/billing");
}

#[tokio::test]
async fn nobody_else_can_reach_the_files() {
    let folder = Scratch::new("private");
    let _cluster = Cluster::start(Options::throwaway(&*folder, binaries())).await.unwrap();
    for (file, mode) in [("data", 0o700), ("socket", 0o700), ("postgres.log", 0o600)] {
        assert_eq!(std::fs::metadata(folder.join(file)).unwrap().mode() & 0o777, mode, "{file}");
    }
    assert_ne!(std::fs::metadata(folder.join("data")).unwrap().uid(), 0, "PostgreSQL never runs as root");
}

#[tokio::test]
async fn a_second_launcher_is_told_who_has_the_folder() {
    let folder = Scratch::new("second");
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    let error = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap_err().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    run(&cluster.url("postgres"), "SELECT 1").await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_outlived_its_killed_launcher_is_taken_over() {
    let folder = Scratch::new("adopt");
    let (mut launcher, server) = start_part("durable", &folder);
    launcher.kill().unwrap(); // SIGKILL
    launcher.wait().unwrap();

    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    assert_eq!(cluster.process_id().to_string(), server);
    run(&cluster.url("postgres"), "SELECT 1").await;
    let began = Instant::now();
    cluster.stop().await.unwrap();
    println!("stop of an adopted server: {:?}", began.elapsed());
    assert!(!is_alive(server.parse().unwrap()));
}

#[tokio::test]
async fn a_server_with_other_settings_is_restarted_not_taken_over() {
    let folder = Scratch::new("settings");
    let (mut launcher, server) = start_part("durable", &folder);
    launcher.kill().unwrap();
    launcher.wait().unwrap();

    let options = Options { max_connections: 50, ..Options::durable(&*folder, binaries()) };
    let cluster = Cluster::start(options).await.unwrap();
    assert_ne!(cluster.process_id().to_string(), server);
    run(&cluster.url("postgres"), "DO $$ BEGIN ASSERT current_setting('max_connections') = '50'; END $$")
        .await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn killed_server_and_launcher_are_no_obstacle() {
    let folder = Scratch::new("stale");
    let (mut launcher, server) = start_part("durable", &folder);
    launcher.kill().unwrap();
    Command::new("/bin/sh").args(["-c", &format!("kill -s KILL {server}")]).status().unwrap();
    launcher.wait().unwrap();
    // At once, while its children may still hold the shared memory.
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    cluster.stop().await.unwrap();

    // The id in the files belongs to a stranger by now: to this very process.
    let pid = std::process::id();
    let stale =
        format!("{pid}\n{}\n1\n5432\n{}\n\n", folder.join("data").display(), folder.join("socket").display());
    std::fs::write(folder.join("data/postmaster.pid"), stale).unwrap();
    std::fs::write(folder.join("socket/.s.PGSQL.5432.lock"), format!("{pid}\n")).unwrap();
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    run(&cluster.url("postgres"), "SELECT 1").await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_clients() {
    let folder = Scratch::new("stop");
    let cluster = Cluster::start(Options::throwaway(&*folder, binaries())).await.unwrap();
    let url = cluster.url("postgres");
    let mut busy = AsyncPgConnection::establish(&url).await.unwrap();
    let (began, slept, stopped) = tokio::join!(
        async { Instant::now() },
        async { busy.batch_execute("SELECT pg_sleep(60)").await },
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cluster.stop().await
        }
    );
    stopped.unwrap();
    slept.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_dropped_durable_cluster_shuts_down_and_can_be_started_at_once() {
    let folder = Scratch::new("dropped");
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    run(&cluster.url("postgres"), "CREATE TABLE kept ()").await;
    drop(cluster);
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    run(&cluster.url("postgres"), "TABLE kept").await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_throwaway_cluster_leaves_nothing() {
    let scratch = Scratch::new("gone");
    let folder = scratch.join("new");
    let cluster = Cluster::start(Options::throwaway(&*folder, binaries())).await.unwrap();
    let server = cluster.process_id();
    run(&cluster.url("postgres"), "DO $$ BEGIN ASSERT current_setting('fsync') = 'off'; END $$").await;
    drop(cluster);
    assert!(!is_alive(server) && !folder.exists());
}

#[tokio::test]
async fn the_next_throwaway_cluster_removes_those_of_killed_launchers() {
    let parent = Scratch::new("sweep");
    let (mut launcher, server) = start_part("throwaway", &parent.join("killed"));
    let alive = Cluster::start(Options::throwaway(parent.join("alive"), binaries())).await.unwrap();
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    assert!(is_alive(server.parse().unwrap()));

    let _next = Cluster::start(Options::throwaway(parent.join("next"), binaries())).await.unwrap();
    assert!(!is_alive(server.parse().unwrap()) && !parent.join("killed").exists());
    run(&alive.url("postgres"), "SELECT 1").await;
}

#[tokio::test]
async fn a_folder_is_never_used_for_the_other_kind() {
    let folder = Scratch::new("kinds");
    std::fs::write(folder.join("precious"), "").unwrap();
    let error = Cluster::start(Options::throwaway(&*folder, binaries())).await.unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert!(folder.join("precious").exists());

    let folder = Scratch::new("kinds");
    std::fs::write(folder.join(THROWAWAY), "").unwrap();
    let error = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap_err().to_string();
    assert!(error.contains("holds a throwaway cluster"), "{error}");
}

#[tokio::test]
async fn a_database_that_was_cut_short_is_made_anew() {
    let folder = Scratch::new("cut-short");
    let half = folder.join("data-new-4711");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    let cluster = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap();
    assert!(!half.exists());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let scratch = Scratch::new("long");
    let folder = scratch.join("x".repeat(120));
    let cluster = Cluster::start(Options::throwaway(&*folder, binaries())).await.unwrap();
    let socket = cluster.site.socket().to_owned();
    assert!(!socket.starts_with(&folder));
    run(&cluster.url("postgres"), "SELECT 1").await;
    cluster.stop().await.unwrap();
    assert!(!folder.exists() && !socket.exists());
}

#[tokio::test]
async fn an_error_quotes_the_log() {
    let folder = Scratch::new("broken");
    Cluster::start(Options::durable(&*folder, binaries())).await.unwrap().stop().await.unwrap();
    std::fs::write(folder.join("data/pg_hba.conf"), "nonsense\n").unwrap();
    let began = Instant::now();
    let error = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap_err();
    assert!(format!("{error:#}").contains("could not load pg_hba.conf"), "{error:#}");
    assert!(began.elapsed() < Duration::from_secs(5));

    std::fs::write(folder.join("data/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(Options::durable(&*folder, binaries())).await.unwrap_err();
    assert!(format!("{error:#}").contains("was made by PostgreSQL 9"), "{error:#}");
}

/// Only root has this problem; anybody else's server runs as the owner of the folder.
#[tokio::test]
async fn roots_cluster_moves_where_its_account_can_enter() {
    let scratch = Scratch::new("unreachable");
    let wanted = scratch.join("inner");
    std::fs::set_permissions(&*scratch, std::fs::Permissions::from_mode(0o700)).unwrap();
    let is_root = std::fs::metadata(&*scratch).unwrap().uid() == 0;
    let cluster = Cluster::start(Options::durable(&wanted, binaries())).await.unwrap();
    let folder = cluster.folder().to_owned();
    run(&cluster.url("postgres"), "SELECT 1").await;
    cluster.stop().await.unwrap();
    if is_root {
        assert!(folder.starts_with("/var/lib/annomesh"), "{}", folder.display());
        let note = std::fs::read_to_string(wanted.join("moved-to")).unwrap();
        assert_eq!(Path::new(note.trim()), folder);
    } else {
        assert_eq!(folder, wanted.canonicalize().unwrap());
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn processes_share_one_cluster_which_then_ends_by_itself() {
    let root = Scratch::new("shared");
    // All at once, as cargo-nextest starts them.
    let parts: Vec<_> = (0..6)
        .map(|_| {
            let root = root.to_owned();
            std::thread::spawn(move || start_part("shared", &root))
        })
        .collect();
    let mut servers = Vec::new();
    for part in parts {
        let (mut child, server) = part.join().unwrap();
        assert!(child.wait().unwrap().success());
        servers.push(server);
    }
    servers.dedup();
    assert_eq!(servers.len(), 1, "one server for all: {servers:?}");
    let server: u32 = servers[0].parse().unwrap();

    // It outlives them, and as long as it is used it stays for longer than its two seconds of grace.
    let cluster = SharedCluster::join(&root, Duration::from_secs(2)).unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(is_alive(server));
    run(&cluster.url("postgres"), "CREATE DATABASE shared_one").await;
    drop(cluster);
    let folder = root.join("cluster");
    eventually("the watchdog removes the cluster", Duration::from_secs(15), || {
        !is_alive(server) && !folder.exists()
    })
    .await;

    // And it can be had again.
    let cluster = SharedCluster::join(&root, Duration::from_secs(1)).unwrap();
    run(&cluster.url("postgres"), "CREATE DATABASE shared_one").await;
    drop(cluster);
    eventually("the second watchdog does so too", Duration::from_secs(15), || !folder.exists()).await;
}

#[tokio::test]
async fn a_killed_watchdog_is_replaced() {
    let root = Scratch::new("watchdog");
    let cluster = SharedCluster::join(&root, Duration::from_secs(1)).unwrap();
    let watchdog = std::fs::read_to_string(root.join("watchdog.lock")).unwrap();
    let kill = format!("kill -s KILL {}", watchdog.trim());
    assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    let watchdog = watchdog.trim().parse().unwrap();
    eventually("the watchdog dies", Duration::from_secs(5), || !is_alive(watchdog)).await;
    let second = SharedCluster::join(&root, Duration::from_secs(1)).unwrap();
    assert_eq!(cluster.url("postgres"), second.url("postgres"));
    drop((cluster, second));
    let folder = root.join("cluster");
    eventually("the new watchdog removes the cluster", Duration::from_secs(15), || !folder.exists()).await;
}
