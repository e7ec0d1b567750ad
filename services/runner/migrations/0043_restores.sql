-- When this database was filled from an export, and from which ledger on events are not in the file.
CREATE TABLE restores (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exported_at timestamptz NOT NULL,
    restored_at timestamptz NOT NULL DEFAULT now(),
    next_ledger bigint
);
