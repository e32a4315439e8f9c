DROP TABLE signing_keys, sessions, accounts, tenants;
