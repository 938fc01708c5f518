-- Rights on the tables of the log (compliance/audit/models.py). Idempotent. The application appends events and reads;
-- it cannot choose `xid`, and it cannot touch what the sealer wrote (AUD-2).
revoke insert, update, delete, truncate on audit.event from kontor_app;
grant select on audit.event, audit.leaf, audit.log, audit.checkpoint to kontor_app;
grant insert (
    event_id, occurred_at, event_class, action, outcome, reason, severity, actor_ref, auth_method, session_ref,
    request_id, origin, object_type, object_ref, subject_ref, purpose, policy_version, meta, payload_commit
) on audit.event to kontor_app;
select audit.open_partitions();

grant execute on function audit.make_partitions(integer), audit.partitions(), audit.delete_pruned(uuid)
    to kontor_app;

grant usage on schema audit to kontor_sealer;
-- Events are inserted by the sealer only when it gives back what a restore lost, or explains a fork.
grant select, insert on audit.event to kontor_sealer;
grant select, insert on audit.leaf, audit.checkpoint to kontor_sealer;
grant select, insert, update on audit.log to kontor_sealer;
grant execute on function audit.file_subjects() to kontor_sealer;
-- It looks whether the synchronous standby has flushed.
grant pg_monitor to kontor_sealer;
