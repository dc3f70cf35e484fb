-- Who holds a role, in the order of pages; each ledger by itself, since each is read at a moment of its own.
DROP INDEX user_roles_by_role;
CREATE INDEX user_roles_by_role ON user_roles (role_id, ledger, user_id) WHERE is_active;
