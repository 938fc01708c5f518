"""What turns an ordinary machine into a trial of Kontor: a private PostgreSQL, a certificate, supervised
processes.

`kontor up` and the tests use it. A production site runs PostgreSQL, proxies and systemd units instead, and
nothing of this.
"""
