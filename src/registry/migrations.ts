/**
 * The registry's schema as steps. A step that has been released is never edited: a change is a new step. PRAGMA user_version counts those
 * that were taken.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE functions (
    name TEXT PRIMARY KEY,
    created_at TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE versions (
    function_name TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    manifest TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- order in which versions last became live, over the whole registry
    sequence INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (function_name, version)
  ) STRICT;

  CREATE TABLE aliases (
    function_name TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    version TEXT NOT NULL,
    -- JSON array of the versions it pointed to before, oldest first: what a rollback goes back to
    history TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (function_name, alias),
    FOREIGN KEY (function_name, version) REFERENCES versions (function_name, version) ON DELETE CASCADE
  ) STRICT;
  `,
  `
  CREATE TABLE secrets (
    function_name TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- nonce, ciphertext and tag: src/registry/secrets.ts
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (function_name, name)
  ) STRICT;
  `,
  `
  CREATE TABLE credentials (
    -- NULL: a token, which manages flashd; else a key, which calls this function
    function_name TEXT REFERENCES functions (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- SHA-256
    hash BLOB NOT NULL,
    created_at TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX credentials_by_name ON credentials (coalesce(function_name, ''), name);
  `,
];
