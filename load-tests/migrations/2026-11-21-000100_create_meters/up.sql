-- What the benchmark's projection writes: one row a stream.
CREATE TABLE meters (
    tenant_id uuid NOT NULL,
    id bigint NOT NULL,
    version bigint NOT NULL,
    total bigint NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
SELECT es_tenant_table('meters');
