-- Roles and permissions: the same copy on every shard, so that a shard answers alone.
-- Closed by deleted_at and never removed: grants and audit rows go on naming them.
CREATE TABLE roles (
    id             uuid PRIMARY KEY,
    name           varchar NOT NULL,
    description    text,
    is_system_role boolean NOT NULL,
    -- Deferred: one batch may move a role below one that it defines later.
    parent_role_id uuid REFERENCES roles (id) DEFERRABLE INITIALLY DEFERRED,
    level          integer NOT NULL,
    created_at     timestamptz NOT NULL,
    -- Time of the last event that changed what the role gives: attachments and permissions too.
    updated_at     timestamptz NOT NULL,
    created_by     uuid,
    deleted_at     timestamptz
);
CREATE UNIQUE INDEX roles_living_name ON roles (name) WHERE deleted_at IS NULL;

CREATE TABLE permissions (
    id           uuid PRIMARY KEY,
    name         varchar NOT NULL,
    resource     varchar NOT NULL,
    action       varchar NOT NULL,
    description  text,
    category     varchar,
    is_dangerous boolean NOT NULL,
    created_at   timestamptz NOT NULL,
    deleted_at   timestamptz
);
CREATE UNIQUE INDEX permissions_living_name ON permissions (name) WHERE deleted_at IS NULL;
CREATE INDEX permissions_by_right ON permissions (resource, action) INCLUDE (name) WHERE deleted_at IS NULL;

CREATE TABLE role_permissions (
    -- Id of the event that attached it.
    id            uuid PRIMARY KEY,
    role_id       uuid NOT NULL REFERENCES roles (id),
    permission_id uuid NOT NULL REFERENCES permissions (id),
    granted_at    timestamptz NOT NULL,
    granted_by    uuid,
    UNIQUE (role_id, permission_id)
);
CREATE INDEX role_permissions_by_permission ON role_permissions (permission_id) INCLUDE (role_id);
