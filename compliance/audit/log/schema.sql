-- What the sealer adds to the tables of the audit log. Run once, by a migration, as the owner of the schema.
--
-- `xid` is the transaction that wrote the event. The sealer finds by it what was committed since its last round. The
-- application gets no right to set it (grants.sql), so an event cannot hide from the sealer.
alter table audit.event add column xid xid8 not null default pg_current_xact_id();
create index ix_event_xid on audit.event (xid, event_id);

-- One row a log; one log is open. A log that could not be continued is closed and has a successor.
create table audit.log (
    number integer primary key,
    origin text not null unique,
    size bigint not null check (size >= 0),
    root bytea not null check (octet_length(root) = 32),
    cursor jsonb,
    opened_at timestamptz not null default now(),
    closed_at timestamptz
);
create unique index uq_log_open on audit.log ((true)) where closed_at is null;

-- Which event is which leaf. Without foreign keys: an event that was removed must leave its hash behind.
create table audit.leaf (
    log integer not null,
    index bigint not null check (index >= 0),
    event_id uuid not null unique,
    leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
    primary key (log, index)
);

create table audit.checkpoint (
    log integer not null,
    size bigint not null,
    note text not null,
    primary key (log, size)
);
