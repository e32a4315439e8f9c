-- The read model of the tests' own aggregate. One index bears a name that PostgreSQL would not choose, one
-- table is readable to the kernel, as identity's sessions are.
CREATE TABLE accounts (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    name text NOT NULL,
    balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    -- How many events were applied: one applied twice or left out shows.
    changes bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
);
CREATE INDEX accounts_by_wealth ON accounts (tenant_id, balance DESC, id) WHERE balance > 0;
SELECT es_tenant_table('accounts'), es_kernel_table('accounts', 'SELECT');

CREATE TABLE notes (
    tenant_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    account_id bigint NOT NULL,
    version bigint NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON notes (tenant_id, account_id, version);
SELECT es_tenant_table('notes');

-- What a consumer writes: one row for each event that it took in, in the order in which it did.
CREATE TABLE seen (
    tenant_id uuid NOT NULL,
    consumer text NOT NULL,
    subject text NOT NULL,
    version bigint NOT NULL,
    n bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (tenant_id, consumer, subject, version)
);
SELECT es_tenant_table('seen');
