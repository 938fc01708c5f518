from schemathesis.config import *

from tests.integration.api.test_schemathesis import fuzz, only


def test_fuzz(wsgi, login):
    c = login("Manager", "System administrator")
    inc = "/api/v1/(contacts|opportunities|accounts)/(.*timeline|views|custom-fields|.*hierarchy|.*decision)|/board|/cards|/price$|/merge|/bin/"
    for ph in (only(coverage=CoveragePhaseConfig()), only(fuzzing=FuzzingPhaseConfig())):
        found, calls = fuzz(wsgi, c, inc, ph, 40)
        print(calls, len(found))
        open("/tmp/domeng/found.txt", "a").write("\n".join(found))
