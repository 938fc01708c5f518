"""The words for why a connection to another machine failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance.datamap.text import _
from security.network import Cause

if TYPE_CHECKING:
    from compliance.datamap.text import Text

CONNECTION: dict[str, Text] = {
    Cause.REFUSED: _("Nothing answers at this address and port."),
    Cause.TIMED_OUT: _("No answer came in time."),
    Cause.UNKNOWN_NAME: _("The name of the host is not known."),
    Cause.UNREACHABLE: _("The network leads to no such host."),
    Cause.UNTRUSTED: _(
        "Its certificate comes from an authority that isn't trusted. Check which authority is named here."
    ),
    Cause.EXPIRED: _("Its certificate has expired."),
    Cause.NOT_YET_VALID: _("Its certificate isn't valid yet. Is a clock wrong?"),
    Cause.WRONG_NAME: _("Its certificate is for another name. Reach it by a name in the certificate."),
    Cause.CERTIFICATE: _("Its certificate can't be accepted."),
    Cause.REFUSES_US: _("It doesn't accept our certificate."),
    Cause.ASKS_FOR_OURS: _("It asks for a certificate of ours, and none is set here."),
    Cause.NO_TLS: _("No secure connection came about. Does this port speak TLS?"),
    Cause.CLOSED: _("It closed the connection."),
    Cause.OTHER: _("The connection failed."),
}
