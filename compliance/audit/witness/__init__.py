"""A C2SP tlog-witness: cosigns a log's checkpoints for as long as the log only grows.

Runs on another department's host, needs no database and none of the events, and keeps one small file a log. With its
cosignatures a log that showed two people two histories would need the witness's key too.

    python -m compliance.audit.witness keygen --name witness.example --key witness.pem
    python -m compliance.audit.witness serve --config witness.json
"""
