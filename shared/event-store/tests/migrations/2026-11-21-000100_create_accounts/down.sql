DROP TABLE seen, notes, accounts;
