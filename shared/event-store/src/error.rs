//! What can go wrong below a decision.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// A failure of the store; a refused command is not one.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A client named a version that is not the stream's.
    #[error("the resource is at version {actual}, not {expected}")]
    Conflict { expected: i64, actual: i64 },
    /// The idempotency key was used for another request.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// An event is larger than [`contracts::EVENT_BYTES_MAX`].
    #[error("the event {event_type} has {bytes} bytes; at most {} are allowed", contracts::EVENT_BYTES_MAX)]
    TooLarge { event_type: String, bytes: usize },
    /// A unique rule was violated that its aggregate does not know.
    #[error("a unique rule was violated: {constraint}")]
    Unique { constraint: String },
    /// Two writers collided; trying again is right.
    #[error("two writers collided")]
    Collision(#[source] DieselError),
    /// The database cannot be reached, stops, or does not answer in time; trying again later is right.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database role could pass row-level security.
    #[error(
        "the database role {0} is a superuser, bypasses row-level security or owns the tables; use a plain role"
    )]
    PrivilegedRole(String),
    /// Stored data does not have the shape that the code expects.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// This process no longer holds the lease that it writes under.
    #[error("another process has taken over {0}")]
    Fenced(String),
    #[error("the database refused a statement")]
    Database(#[source] DieselError),
}

impl StoreError {
    /// Two writers collided in a way that PostgreSQL does not call an error of its own.
    pub fn collided() -> Self {
        Self::Collision(DieselError::RollbackTransaction)
    }

    /// Whether the same call may succeed if it is made again at once.
    pub fn is_collision(&self) -> bool {
        matches!(self, Self::Collision(_))
    }

    /// Whether the store as a whole fails, not this call: a consumer stops and waits instead of parking.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Collision(_) | Self::Fenced(_))
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        let (kind, details) = match &error {
            DieselError::DatabaseError(kind, details) => (kind, details),
            DieselError::BrokenTransactionManager => {
                return Self::Unavailable("the connection broke".to_owned());
            }
            _ => return Self::Database(error),
        };
        let text = details.message();
        match kind {
            Kind::UniqueViolation => {
                Self::Unique { constraint: details.constraint_name().unwrap_or_default().to_owned() }
            }
            Kind::SerializationFailure => Self::Collision(error),
            // The session is gone: before the statement was sent, or while it ran.
            Kind::ClosedConnection | Kind::UnableToSendCommand => Self::Unavailable(text.to_owned()),
            // The server has become a standby of another.
            Kind::ReadOnlyTransaction => Self::Unavailable(text.to_owned()),
            // Diesel keeps no SQLSTATE, so these are told by PostgreSQL's words; see `bootstrap::create`, which
            // sees to it that they are English.
            _ if text == "deadlock detected" => Self::Collision(error),
            _ if UNAVAILABLE.iter().any(|words| text.starts_with(words)) => {
                Self::Unavailable(text.to_owned())
            }
            _ => Self::Database(error),
        }
    }
}

/// How the server begins to say that it is at fault and not the statement: it stops, a time limit is over, or
/// it has run out of room.
const UNAVAILABLE: [&str; 5] = [
    "terminating connection",
    "the database system is",
    "canceling statement due to",
    "could not extend file",
    "out of shared memory",
];

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl<E: std::fmt::Display> From<deadpool::managed::PoolError<E>> for StoreError {
    fn from(error: deadpool::managed::PoolError<E>) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}
