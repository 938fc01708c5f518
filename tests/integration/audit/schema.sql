-- The tables of the log. `audit.event` has the columns of requirement AUD; `xid` is what the sealer needs of it.
create schema audit;
create table audit.event (
    event_id uuid primary key,
    occurred_at timestamptz not null,
    event_class text not null,
    action text not null,
    outcome text not null,
    reason text,
    severity smallint not null default 1,
    actor_ref uuid not null,
    auth_method text,
    session_ref uuid,
    request_id uuid,
    origin text not null,
    object_type smallint,
    object_ref uuid,
    subject_ref uuid[],
    purpose text,
    policy_version smallint not null default 1,
    meta jsonb not null default '{}',
    payload_commit bytea,
    xid xid8 not null default pg_current_xact_id()
);
create index ix_event_xid on audit.event (xid, event_id);
create table audit.event_payload (event_id uuid primary key, format smallint not null, body bytea not null);
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
