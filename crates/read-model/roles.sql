-- The roles of a PostgreSQL cluster that holds shards: once, by a superuser, before the first start. Passwords are
-- yours to set. One statement a line.

-- Owns the databases and makes their tables (`projector migrate`). Reads no person's rows.
CREATE ROLE rolecall_owner LOGIN;
-- Writes everybody's rows, and by COPY, which row-level security refuses.
CREATE ROLE rolecall_projector LOGIN BYPASSRLS;
CREATE ROLE rolecall_command LOGIN;
CREATE ROLE rolecall_query LOGIN;
-- For people and their tools: sees the rows of the user that `SET rolecall.user_id` names.
CREATE ROLE rolecall_reader LOGIN;
-- For `rolecall-shards`: fills, compares and empties copies of ledgers, and rebuilds them in databases of its own.
CREATE ROLE rolecall_operator LOGIN BYPASSRLS CREATEDB;
GRANT rolecall_projector, rolecall_command TO rolecall_operator;
