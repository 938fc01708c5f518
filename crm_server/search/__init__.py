"""The in-memory index of sealed and searchable fields: a service of its own (`kontor search serve`), and its client.

What PostgreSQL can't do with sealed values is done here: find by part of a word, compare, sort. The service answers
ids of records, never values, and writes nothing to a disk. `crm_server.kernel.listing` asks it through `client`.

    folding    how texts are compared: letters, marks, Chinese and pinyin
    fields     what is indexed, derived from the data map
    store      one kind of record in an SQLite database in memory
    matching   conditions on the values of a record
    engine     all stores: match, keep, walk, rank, find, group
    reading    rows of PostgreSQL → values; loading the first load; feed what changes after it
    server     the process and its socket; client is the other end; protocol what they say
"""
