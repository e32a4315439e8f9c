//! Passwords: argon2id behind a bounded queue, and the rules for new ones.

use std::sync::{Arc, LazyLock};

use actix_web::http::StatusCode;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use service_kit::Refusal;
use tokio::sync::{AcquireError, Semaphore};

mod rules;

pub use rules::{About, problems};

/// The longest password, in bytes: nobody makes this service hash a book.
pub const BYTES_MAX: usize = 1024;

/// How many callers may wait for one hashing core; more are turned away at once.
const QUEUE_PER_CORE: usize = 32;

/// The process's hashing: each hash takes 19 MiB and a core, whatever the service around it is asked.
struct Desk {
    /// The waiting and the served.
    places: Arc<Semaphore>,
    cores: Arc<Semaphore>,
}

static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Desk::new(cores, cores * QUEUE_PER_CORE)
});

/// The hash of a password that nobody has: who does not exist takes as long to refuse as who does.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| hash_now("nobody knows this one").ok());

/// Makes what the first check would otherwise have to make, and be slower than the others.
///
/// # Errors
/// 429 when too many are waiting.
pub async fn warm_up() -> Result<(), Refusal> {
    verify(String::new(), None).await.map(|_| ())
}

/// Hashes a new password.
///
/// # Errors
/// 429 when too many are waiting.
pub async fn hash(password: String) -> Result<String, Refusal> {
    let hashed = DESK.serve(move || hash_now(&password)).await?;
    hashed.map_err(|error| {
        tracing::error!(%error, "a password cannot be hashed");
        Refusal::unavailable("The password could not be stored.")
    })
}

/// Whether a password is the one that was hashed; as slow without a hash as with one.
///
/// # Errors
/// 429 when too many are waiting.
pub async fn verify(password: String, hash: Option<String>) -> Result<bool, Refusal> {
    if password.len() > BYTES_MAX {
        return Ok(false);
    }
    DESK.serve(move || match &hash {
        Some(hash) => verify_now(&password, hash),
        None => {
            if let Some(nobodys) = &*NOBODYS {
                verify_now(&password, nobodys);
            }
            false
        }
    })
    .await
}

impl Desk {
    fn new(cores: usize, queue: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(cores + queue)), cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Runs `work` on a thread of its own when a core is free.
    async fn serve<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let closed = |_: AcquireError| Refusal::unavailable("The service stops.");
        let Ok(place) = self.places.clone().try_acquire_owned() else { return Err(throttled()) };
        let core = self.cores.clone().acquire_owned().await.map_err(closed)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller who hangs up does not free a core that is still busy.
            let _held = (place, core);
            work()
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "hashing a password failed");
            Refusal::unavailable("The password could not be checked.")
        })
    }
}

fn throttled() -> Refusal {
    let detail = "Request was throttled. Expected available in 1 second.";
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "throttled", detail);
    refusal.retry_after = Some(1);
    refusal
}

/// OWASP's argon2id: m=19456, t=2, p=1, which are the crate's defaults.
fn hash_now(password: &str) -> password_hash::Result<String> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes())?;
    Ok(hash.to_string())
}

fn verify_now(password: &str, hash: &str) -> bool {
    match PasswordHash::new(hash) {
        Ok(parsed) => Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok(),
        Err(error) => {
            tracing::error!(%error, "a stored password hash cannot be read");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_parameters_that_we_promise() {
        let stored = hash("correct horse".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!verify("correct horsf".into(), Some(stored.clone())).await.unwrap());
        assert!(!verify("x".repeat(BYTES_MAX + 1), Some(stored)).await.unwrap());
        assert!(!verify("nobody knows this one".into(), None).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_finds_the_queue_full_is_turned_away_at_once() {
        let desk = Arc::new(Desk::new(1, 1));
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let hold = std::sync::Mutex::new(hold);
        let served = async { desk.serve(move || hold.lock().unwrap().recv().is_ok()).await.unwrap() };
        let waiting = async { desk.serve(|| true).await.unwrap() };
        let late = async {
            tokio::task::yield_now().await;
            let refused = desk.serve(|| true).await.unwrap_err();
            release.send(()).unwrap();
            refused
        };
        let (first, second, refused) = tokio::join!(served, waiting, late);
        assert!(first && second);
        assert_eq!((refused.status.as_u16(), refused.retry_after), (429, Some(1)));
        assert!(desk.serve(|| true).await.unwrap());
    }
}
