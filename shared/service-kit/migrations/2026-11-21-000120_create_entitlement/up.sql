-- What each tenant may use, as billing says. In billing itself this is its own projection; elsewhere the
-- consumer `entitlements` feeds it.
CREATE TABLE entitlement (
    tenant_id uuid NOT NULL,
    key text NOT NULL,
    -- None for no limit.
    cap numeric CHECK (cap >= 0),
    hard boolean NOT NULL,
    allowed boolean NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
SELECT es_tenant_table('entitlement');
