-- Least privilege of the database roles. Roles are made by `kontor db init`; this file is idempotent.
--   kontor_owner    owns the schema, runs migrations, never serves
--   kontor_app      the application: data, but neither schema changes nor rewriting of the audit log
--   kontor_sealer   reads audit events and writes what the sealer owns
--   kontor_bi       reads views made for analysis and nothing else
--   kontor_monitor  reads statistics only
grant usage on schema kontor, identity, crm, audit, jobs to kontor_app;
grant select, insert, update, delete on all tables in schema identity, crm to kontor_app;
grant select, insert, update, delete on kontor.idempotency_key to kontor_app;
grant select on kontor.installation, kontor.schema_version to kontor_app;
grant usage on all sequences in schema identity, crm to kontor_app;
grant execute on function kontor.uuid7(), kontor.outdated() to kontor_app;

-- The change feed is written by triggers alone; the application may read it and drop what is past its retention.
revoke insert, update on crm.change from kontor_app;

-- AUD-2: payloads may be deleted, because erasure must; they are never rewritten. The rights on the tables of the log
-- itself stand beside it, in compliance/audit/log/grants.sql, which runs after this file.
grant select, insert, delete on audit.event_payload to kontor_app;
revoke update, truncate on audit.event_payload from kontor_app;

-- Requests that take two persons stay, whatever became of them, and a yes is never taken back.
revoke delete, truncate on identity.approval from kontor_app;
revoke update, delete, truncate on identity.approval_vote from kontor_app;
revoke delete, truncate on identity.emergency from kontor_app;
revoke update, delete, truncate on identity.role_version from kontor_app;

-- What audit administrators set, and how far the forwarder is.
grant select, insert, update, delete on audit.sink, audit.sink_state, audit.retention, audit.alert_rule,
    audit.saved_search to kontor_app;

-- Each leaf names the tenant.
grant usage on schema kontor to kontor_sealer;
grant select (tenant) on kontor.installation to kontor_sealer;

grant usage on schema kontor to kontor_monitor;
grant pg_monitor to kontor_monitor;
