-- The tables that capture writes, with the columns of requirement AUD; the sealer's come from its own schema.sql.
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
    payload_commit bytea
);
create table audit.event_payload (event_id uuid primary key, format smallint not null, body bytea not null);
