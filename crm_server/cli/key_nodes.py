"""`kontor keys join`, `admit`, `forget-node`: machines that come and go. Each has a key ring of its own."""

from __future__ import annotations

import click

from crm_server.cli.key_tools import JSON, key_work, say

_JOIN_SECONDS = 600


@click.command()
@JSON
def join(as_json: bool) -> None:
    """Take the keys over from another node, on a new one: this machine seals them in its own key ring.

    It shows a code and waits ten minutes. Type the code on a node that has the keys: kontor keys admit NAME. Show the
    code to nobody else. Run this as the user that Kontor runs as, before it is started here.
    """
    from crm_server.kernel import db, handover
    from crm_server.kernel.keyring import node_of, open_ring
    from crm_server.settings import load
    from security.crypto.errors import CryptoError
    from security.crypto.handover import new_code, secret_of_code

    settings = load()
    node, code = node_of(settings), new_code()
    engine = db.create_app_engine(settings, pool_size=1)
    try:
        ring = open_ring(settings)
        with engine.connect() as connection:
            wanted = handover.missing(connection, ring)
        if not wanted:
            raise click.ClickException("This node has all keys already. Start Kontor.")
        click.echo(
            f"On a node that has the keys, within ten minutes:\n  kontor keys admit {node}\nCode: {code}",
            err=True,
        )
        secret = secret_of_code(code)
        done = handover.take_over(
            engine, ring, node, wanted, secret, held=handover.BY_CODE, patience=_JOIN_SECONDS
        )
    except CryptoError as error:
        raise click.ClickException(str(error)) from error
    finally:
        engine.dispose()
    if len(done) < len(wanted):
        raise click.ClickException("Nobody admitted this node in time. Nothing was changed; run it again.")
    say(
        as_json,
        {"node": node, "epochs": list(done)},
        f"{len(done)} epochs are sealed in this node's key ring.",
    )


@click.command()
@click.argument("node")
@click.option("--code", help="The code that the new node shows, for scripts; asked for if left out.")
@JSON
def admit(node: str, code: str | None, as_json: bool) -> None:
    """Hand the keys to the new node NODE, which shows a code: kontor keys join.

    From then on that machine reads everything that is sealed. Whoever types the code must have seen it on its screen.
    """
    from crm_server.kernel import handover
    from security.crypto.handover import secret_of_code

    with key_work() as work:
        typed = code or click.prompt("Code", hide_input=True, err=True)
        secret = secret_of_code(typed)
        done = handover.answer(
            work.engine, work.keys.ring, work.keys.node, work.keys.epoch_keys, code=(node, secret)
        )
    if not done:
        raise click.ClickException(f"No node of the name {node} asks. On that machine: kontor keys join")
    say(
        as_json, {"node": node, "epochs": [epoch for _node, epoch in done]}, f"{node} has {len(done)} epochs."
    )


@click.command("forget-node")
@click.argument("node")
@JSON
def forget_node(node: str, as_json: bool) -> None:
    """Remove NODE, which will never come back, from those that must attest."""
    from crm_server.domain.keys import destruction

    with key_work() as work:
        gone = destruction.forget_node(work, node)
    if not gone:
        raise click.ClickException("There is no such node. kontor keys status names them.")
    say(as_json, {"node": node}, f"{node} is forgotten.")
