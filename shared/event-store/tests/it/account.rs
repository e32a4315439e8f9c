//! The aggregate that the tests act on, with its read model and its contract events.

use contracts::ContractEvent;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{
    Aggregate, Applied, Change, DomainError, Outgoing, Projection, Refused, Registration, Registry, Sql, Tx,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub balance: i64,
    pub notes: i64,
    pub open: bool,
}

#[derive(Clone, Debug)]
pub enum AccountCommand {
    Open(String),
    Deposit(i64),
    /// As many deposits of 1.
    DepositEach(usize),
    Rename(String),
    Note(String),
    /// A small private event that becomes a contract event of so many bytes.
    Inflate(usize),
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum AccountEvent {
    Opened {
        name: String,
    },
    Deposited {
        amount: i64,
    },
    Renamed {
        name: String,
    },
    /// Private: nothing leaves the service.
    Noted {
        text: String,
    },
    Inflated {
        bytes: usize,
    },
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("the name is taken")]
    NameTaken,
    #[error("the account exists already")]
    Exists,
    #[error("there is no such account")]
    NotOpen,
    #[error("a deposit must be positive")]
    BadAmount,
}

impl DomainError for AccountError {
    fn code(&self) -> &'static str {
        match self {
            Self::NameTaken => "name_taken",
            Self::Exists => "exists",
            Self::NotOpen => "not_open",
            Self::BadAmount => "bad_amount",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NameTaken | Self::Exists => Refused::Conflict,
            Self::NotOpen => Refused::NotFound,
            Self::BadAmount => Refused::Invalid,
        }
    }
}

impl Aggregate for Account {
    const KIND: &'static str = "account";

    type Command = AccountCommand;
    type Event = AccountEvent;
    type Error = AccountError;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        use AccountCommand::{Close, Deposit, DepositEach, Inflate, Note, Open, Rename};
        match command {
            Open(_) if self.open => Err(AccountError::Exists),
            Open(name) => Ok(vec![AccountEvent::Opened { name }]),
            _ if !self.open => Err(AccountError::NotOpen),
            Deposit(amount) if amount <= 0 => Err(AccountError::BadAmount),
            Deposit(amount) => Ok(vec![AccountEvent::Deposited { amount }]),
            DepositEach(count) => Ok(vec![AccountEvent::Deposited { amount: 1 }; count]),
            Rename(name) if name == self.name => Ok(vec![]),
            Rename(name) => Ok(vec![AccountEvent::Renamed { name }]),
            Note(text) => Ok(vec![AccountEvent::Noted { text }]),
            Inflate(bytes) => Ok(vec![AccountEvent::Inflated { bytes }]),
            Close => Ok(vec![AccountEvent::Closed]),
        }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { name } => {
                *self = Self { name: name.clone(), open: true, ..Self::default() };
            }
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Renamed { name } => self.name.clone_from(name),
            AccountEvent::Noted { .. } => self.notes += 1,
            AccountEvent::Inflated { .. } => {}
            AccountEvent::Closed => self.open = false,
        }
    }

    fn taken(constraint: &str) -> Option<AccountError> {
        (constraint == "accounts_tenant_id_name_key").then_some(AccountError::NameTaken)
    }
}

macro_rules! contract_event {
    ($name:ident, $type:literal, $($field:ident: $field_type:ty),*) => {
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        pub struct $name { $(pub $field: $field_type),* }

        impl ContractEvent for $name {
            const SERVICE: &'static str = super::world::SERVICE;
            const KIND: &'static str = "account";
            const TYPE: &'static str = concat!("eventstoretest.", $type, ".v1");
        }
    };
}
contract_event!(AccountOpened, "account_opened", name: String);
contract_event!(AccountCredited, "account_credited", amount: i64, balance: i64);
contract_event!(NameFreed, "name_freed", name: String);
contract_event!(NameTaken, "name_taken", name: String);
contract_event!(AccountInflated, "account_inflated", air: String);
contract_event!(AccountClosed, "account_closed", name: String);

/// A note leaves nothing, a renaming leaves two, everything else one.
fn publish(change: &Change<'_, Account>) -> Vec<Outgoing> {
    match change.event {
        AccountEvent::Opened { name } => vec![Outgoing::new(&AccountOpened { name: name.clone() }, None)],
        AccountEvent::Deposited { amount } => {
            vec![Outgoing::new(&AccountCredited { amount: *amount, balance: change.after.balance }, Some(7))]
        }
        AccountEvent::Renamed { name } => vec![
            Outgoing::new(&NameFreed { name: change.before.name.clone() }, None),
            Outgoing::new(&NameTaken { name: name.clone() }, None),
        ],
        AccountEvent::Noted { .. } => vec![],
        AccountEvent::Inflated { bytes } => {
            let air = "x".repeat(bytes - r#"{"air":""}"#.len());
            vec![Outgoing::new(&AccountInflated { air }, None)]
        }
        AccountEvent::Closed => {
            vec![Outgoing::new(&AccountClosed { name: change.before.name.clone() }, None)]
        }
    }
}

fn project_account<'a>(tx: &'a mut Tx, change: &'a Change<'a, Account>) -> Applied<'a> {
    Box::pin(async move {
        let on_row = |text: &'static str| {
            Sql::fixed(text)
                .bind::<SqlUuid>(change.tenant.0)
                .bind::<BigInt>(change.id)
                .bind::<BigInt>(change.version)
        };
        let statement = match change.event {
            AccountEvent::Opened { name } => {
                on_row("INSERT INTO accounts (tenant_id, id, changes, name) VALUES ($1, $2, $3, $4)")
                    .bind::<Text>(name.clone())
            }
            AccountEvent::Deposited { amount } => on_row(
                "UPDATE accounts SET changes = changes + 1, balance = balance + $4 \
                        WHERE tenant_id = $1 AND id = $2 AND changes = $3 - 1",
            )
            .bind::<BigInt>(*amount),
            AccountEvent::Renamed { name } => on_row(
                "UPDATE accounts SET changes = changes + 1, name = $4 \
                        WHERE tenant_id = $1 AND id = $2 AND changes = $3 - 1",
            )
            .bind::<Text>(name.clone()),
            AccountEvent::Noted { .. } | AccountEvent::Inflated { .. } => on_row(
                "UPDATE accounts SET changes = changes + 1 \
                        WHERE tenant_id = $1 AND id = $2 AND changes = $3 - 1",
            ),
            AccountEvent::Closed => {
                on_row("DELETE FROM accounts WHERE tenant_id = $1 AND id = $2 AND changes = $3 - 1")
            }
        };
        let rows = statement.execute(&mut **tx).await?;
        assert_eq!(rows, 1, "version {} of account {} found its row otherwise", change.version, change.id);
        Ok(())
    })
}

fn project_note<'a>(tx: &'a mut Tx, change: &'a Change<'a, Account>) -> Applied<'a> {
    Box::pin(async move {
        if let AccountEvent::Noted { text } = change.event {
            Sql::fixed("INSERT INTO notes (tenant_id, account_id, version, text) VALUES ($1, $2, $3, $4)")
                .bind::<SqlUuid>(change.tenant.0)
                .bind::<BigInt>(change.id)
                .bind::<BigInt>(change.version)
                .bind::<Text>(text.clone())
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    })
}

/// A projection for each table.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(Registration::<Account> {
        publish,
        projections: vec![
            Projection { name: "accounts", tables: &["accounts"], apply: project_account },
            Projection { name: "notes", tables: &["notes"], apply: project_note },
        ],
    });
    registry
}

/// One projection for both tables, which names them in another order than it writes to them.
pub fn registry_with_one_projection() -> Registry {
    let mut registry = Registry::default();
    registry.register(Registration::<Account> {
        publish,
        projections: vec![Projection {
            name: "both",
            tables: &["notes", "accounts"],
            apply: |tx, change| {
                Box::pin(async move {
                    project_account(tx, change).await?;
                    project_note(tx, change).await
                })
            },
        }],
    });
    registry
}
